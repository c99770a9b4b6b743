import JSON
import PolicyProtocol

// The parts of an event as values: protocol/README.md, Events.

extension WireObject {
    /// A member of type Bytes; `nil` if there is none or it is null.
    func bytes(_ key: StaticString) throws -> Bytes? {
        try self.octets(key).map { Bytes(octets: $0) }
    }

    func requiredBytes(_ key: StaticString) throws -> Bytes {
        guard let bytes = try self.bytes(key) else { throw MissingMember(key: key) }
        return bytes
    }
}

extension SessionSnapshot {
    init(_ session: WireObject) throws {
        let client = try session.requiredObject("client")
        self.init(
            id: try session.requiredString("id"),
            startedMilliseconds: try session.int("started_ms"),
            client: Client(
                ip: try client.requiredString("ip"),
                port: try client.count("port"),
                name: try client.bytes("name")
            ),
            hello: try session.object("hello").map {
                Hello(verb: try $0.requiredString("verb"), name: try $0.requiredBytes("name"))
            },
            relay: try session.bool("relay"),
            earlyTalker: try session.bool("early_talker")
        )
        self.listener = try session.requiredString("listener")
        self.server = try Endpoint(try session.requiredObject("server"))
        self.proxy = try session.object("proxy").map { try Endpoint($0) }
        self.tls = try session.object("tls").map {
            TLS(
                version: try $0.requiredString("version"),
                cipher: try $0.string("cipher"),
                sni: try $0.string("sni")
            )
        }
        self.authentication = try session.object("auth").map {
            Authentication(
                mechanism: try $0.requiredString("mechanism"),
                user: try $0.requiredBytes("user")
            )
        }
        self.counters = try Counters(try session.requiredObject("counters"))
    }
}

extension SessionSnapshot.Endpoint {
    fileprivate init(_ endpoint: WireObject) throws {
        self.init(ip: try endpoint.requiredString("ip"), port: try endpoint.count("port"))
    }
}

extension SessionSnapshot.Counters {
    fileprivate init(_ counters: WireObject) throws {
        self.init()
        self.commands = try counters.count("commands")
        self.errors = try counters.count("errors")
        self.unrecognized = try counters.count("unrecognized")
        self.transactions = try counters.count("transactions")
        self.rcptOK = try counters.count("rcpt_ok")
        self.rcptDenied = try counters.count("rcpt_denied")
    }
}

extension TransactionSnapshot {
    init(_ transaction: WireObject) throws {
        self.init(
            id: try transaction.requiredString("id"),
            sender: try transaction.object("sender").map { Sender(try WireAddress($0)) } ?? .empty,
            recipientCount: try transaction.count("recipient_count"),
            message: try transaction.object("message").map {
                MessageReference(
                    path: try $0.requiredString("path"),
                    size: try $0.int("size"),
                    bodyOffset: try $0.int("body_offset")
                )
            }
        )
    }
}

/// What sender and recipient have in common.
struct WireAddress {
    let address: Bytes
    let local: Bytes
    let domain: Bytes
    let params: [ESMTPParameter]

    init(_ address: WireObject) throws {
        self.address = try address.requiredBytes("address")
        self.local = try address.requiredBytes("local")
        self.domain = try address.bytes("domain") ?? ""
        self.params = try address.requiredList("params").map { try ESMTPParameter($0) }
    }
}

extension ESMTPParameter {
    fileprivate init(_ pair: JSONItemText) throws {
        let parts = Array(try pair.list())
        guard parts.count == 2 else {
            throw PluginError("the event's member params is of another type")
        }
        self.init(
            keyword: try parts[0].string(),
            value: parts[1].isNull ? nil : Bytes(octets: try parts[1].bytes())
        )
    }
}

extension Sender {
    init(_ parts: WireAddress) {
        self.init(
            address: parts.address,
            local: parts.local,
            domain: parts.domain,
            params: parts.params
        )
    }
}

extension Recipient {
    init(id: Int64, _ parts: WireAddress) {
        self.init(
            id: id,
            address: parts.address,
            local: parts.local,
            domain: parts.domain,
            params: parts.params
        )
    }

    init(_ recipient: WireObject) throws {
        self.init(id: try recipient.int("id"), try WireAddress(recipient))
    }
}

extension TraceEntry {
    init(_ entry: JSONValue) {
        self.init(
            plugin: entry["plugin"].flatMap { String(json: $0) },
            verdict: entry["verdict"].flatMap { String(json: $0) }.flatMap {
                Verdict(rawValue: $0)
            },
            microseconds: entry["us"].flatMap { Int(json: $0) }.map { Int64($0) } ?? 0
        )
        self.key = entry["key"].flatMap { String(json: $0) }
        self.hook = entry["hook"].flatMap { String(json: $0) }.flatMap { Hook(rawValue: $0) }
        self.pool = entry["pool"].flatMap { String(json: $0) }
        self.worker = entry["worker"].flatMap { String(json: $0) }
        self.failure = entry["failure"].flatMap { String(json: $0) }
        self.policy = entry["policy"].flatMap { String(json: $0) }
        self.reply = entry["reply"].flatMap { PolicyReply(json: $0) }
    }
}
