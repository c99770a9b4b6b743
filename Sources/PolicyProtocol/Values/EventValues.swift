import JSON

// How the parts of an event are read (protocol/events.md).

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
                sni: try $0.string("sni"),
                clientCertificate: try $0.object("client_certificate").map {
                    try ClientCertificate($0)
                }
            )
        }
        self.authentication = try session.object("auth").map {
            Authentication(
                mechanism: try $0.requiredString("mechanism"),
                user: try $0.requiredBytes("user")
            )
        }
        self.counters = try Counters(try session.requiredObject("counters"))
        self.forwarded = try session.object("xforward").map { try Forwarded($0) }
    }
}

extension SessionSnapshot.ClientCertificate {
    fileprivate init(_ certificate: WireObject) throws {
        self.init(
            isVerified: try certificate.bool("verified"),
            subject: try certificate.string("subject"),
            issuer: try certificate.string("issuer"),
            fingerprint: try certificate.requiredString("fingerprint"),
            keyFingerprint: try certificate.string("key_fingerprint")
        )
    }
}

extension SessionSnapshot.Forwarded {
    fileprivate init(_ forwarded: WireObject) throws {
        self.init()
        self.name = try forwarded.bytes("name")
        self.address = try forwarded.bytes("addr")
        self.port = try forwarded.bytes("port")
        self.proto = try forwarded.bytes("proto")
        self.hello = try forwarded.bytes("helo")
        self.identity = try forwarded.bytes("ident")
        self.source = try forwarded.bytes("source")
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
        if try counters.value("auth_failed") != nil {
            self.authFailed = try counters.count("auth_failed")
        }
    }
}

extension TransactionSnapshot {
    init(_ transaction: WireObject) throws {
        self.init(
            id: try transaction.requiredString("id"),
            sender: try transaction.object("sender").map { Sender(try AddressParts($0)) } ?? .empty,
            recipientCount: try transaction.count("recipient_count"),
            message: try transaction.object("message").map {
                MessageReference(
                    path: try $0.requiredString("path"),
                    size: try $0.int("size"),
                    bodyOffset: try $0.int("body_offset")
                )
            }
        )
        self.repliesEach = try transaction.value("replies_each") == .bool(true)
        self.holdUntilMilliseconds = try transaction.intIfAny("hold_until_ms")
    }
}

extension ESMTPParameter {
    init(_ pair: JSONItemText) throws {
        let parts = Array(try pair.list())
        guard parts.count == 2 else { throw MissingMember(key: "params") }
        self.init(
            keyword: try parts[0].string(),
            value: parts[1].isNull ? nil : Bytes(octets: try parts[1].bytes())
        )
    }
}

extension HeaderField {
    init(_ field: WireObject) throws {
        self.init(
            id: try field.int("id"),
            name: try field.requiredBytes("name"),
            space: try field.bytes("space") ?? "",
            value: try field.requiredBytes("value")
        )
    }
}

extension TraceEntry {
    /// What is missing or of another type is `nil`, for a trace has grown from version to version.
    init(_ entry: JSONValue) {
        func text(_ member: String) -> String? {
            if case .string(let text)? = entry[member] { text } else { nil }
        }
        let microseconds: Int64 = if case .int(let us)? = entry["us"] { us } else { 0 }
        self.init(
            plugin: text("plugin"),
            verdict: text("verdict").flatMap { Verdict(rawValue: $0) },
            microseconds: microseconds
        )
        self.key = text("key")
        self.hook = text("hook").flatMap { Hook(rawValue: $0) }
        self.pool = text("pool")
        self.worker = text("worker")
        self.failure = text("failure")
        self.policy = text("policy")
        self.reply = entry["reply"].flatMap { PolicyReply(json: $0) }
    }
}
