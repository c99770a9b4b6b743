// swift-format-ignore-file
// Stand-in for PolicyProtocol's codec; goes with Provisional.swift.
import NIOCore

struct WelcomeFacts { var frontend: String, connection: String, concurrency: Int, spool: String }
enum IncomingMessage {
    case welcome(WelcomeFacts), reject(code: String, message: String, retry: Duration), event(WirePicture), notify(WirePicture)
    case cancel(Int64), ping(Int64), pong, drain, bye(code: String, message: String)
}
struct WirePicture: EventPicture, Sendable {
    var id: Int64, hook: Hook, key: String, attempt: Int, deadline: Duration
    var json: JSONValue
    func session() throws -> SessionSnapshot {
        let s = self.json["session"] ?? .null
        let c = s["client"] ?? .null
        var snapshot = SessionSnapshot(id: s["id"]?.text ?? "", startedMilliseconds: s["started_ms"]?.number ?? 0,
            client: .init(ip: c["ip"]?.text ?? "", port: Int(c["port"]?.number ?? 0), name: c["name"]?.text.map { Bytes($0) }),
            hello: s["hello"].flatMap { h in h == .null ? nil : .init(verb: h["verb"]?.text ?? "", name: h["name"]?.bytes ?? "") },
            relay: s["relay"] == .bool(true), earlyTalker: s["early_talker"] == .bool(true))
        snapshot.counters.transactions = Int(s["counters"]?["transactions"]?.number ?? 0)
        return snapshot
    }
    func transaction() throws -> TransactionSnapshot? {
        guard let t = self.json["transaction"] else { return nil }
        return TransactionSnapshot(id: t["id"]?.text ?? "", sender: Sender(t["sender"] ?? .null), recipientCount: Int(t["recipient_count"]?.number ?? 0),
            message: t["message"].map { MessageReference(path: $0["path"]?.text ?? "", size: $0["size"]?.number ?? 0, bodyOffset: $0["body_offset"]?.number ?? 0) })
    }
    func recipients() throws -> [Recipient] { try self.list("recipients").map { Recipient($0) } }
    func headers() throws -> [HeaderField] { try self.list("headers").map { HeaderField(id: $0["id"]?.number ?? 0, name: $0["name"]?.bytes ?? "", value: $0["value"]?.bytes ?? "") } }
    private func list(_ name: String) throws -> [JSONValue] {
        guard case .array(let a)? = self.json["transaction"]?[name] else { throw PluginError("the event has no \(name)") }
        return a
    }
    func trace() throws -> [TraceEntry] { [] }
    func notes(_ scope: NoteScope) throws -> [String: JSONValue] {
        guard case .object(let o)? = self.json["notes"]?[scope == .session ? "session" : "transaction"] else { return [:] }
        return o
    }
    func sender() throws -> Sender { Sender(try self.argument("sender")) }
    func recipient() throws -> Recipient { Recipient(try self.argument("recipient")) }
    func octets(_ argument: String) throws -> Bytes { try self.argument(argument).bytes }
    func value(_ argument: String) throws -> JSONValue? { self.json["args"]?[argument] }
    private func argument(_ name: String) throws -> JSONValue {
        guard let v = self.json["args"]?[name] else { throw PluginError("the event has no argument \(name)") }
        return v
    }
}
extension Sender { init(_ j: JSONValue) { self.init(address: j["address"]?.bytes ?? "", local: j["local"]?.bytes ?? "", domain: j["domain"]?.bytes ?? "") } }
extension Recipient { init(_ j: JSONValue) { self.init(id: j["id"]?.number ?? 0, address: j["address"]?.bytes ?? "", local: j["local"]?.bytes ?? "", domain: j["domain"]?.bytes ?? "") } }
extension JSONValue {
    var text: String? { if case .string(let s) = self { s } else { nil } }
    var number: Int64? { if case .int(let n) = self { n } else { nil } }
    var bytes: Bytes { Bytes(self.text ?? "") }
}

struct WireDecoder {
    private var partial: [UInt8] = []
    mutating func receive(_ octets: UnsafeRawBufferPointer, _ body: (IncomingMessage) -> Void) throws {
        self.partial += octets
        while let end = self.partial.firstIndex(of: 0x0A) {
            let line = Array(self.partial[..<end])
            self.partial.removeSubrange(...end)
            body(try Self.decode(line))
        }
    }
    static func decode(_ line: [UInt8]) throws -> IncomingMessage {
        var parser = Parser(octets: line)
        let j = try parser.value()
        switch j["type"]?.text {
        case "welcome": return .welcome(WelcomeFacts(frontend: j["frontend"]?["id"]?.text ?? "", connection: j["connection"]?.text ?? "", concurrency: Int(j["concurrency"]?.number ?? 1), spool: j["spool"]?.text ?? ""))
        case "reject": return .reject(code: j["code"]?.text ?? "", message: j["message"]?.text ?? "", retry: .milliseconds(j["retry_ms"]?.number ?? 0))
        case "event", "notify":
            guard let hook = Hook(rawValue: j["hook"]?.text ?? "") else { throw PluginError("hook") }
            let p = WirePicture(id: j["id"]?.number ?? 0, hook: hook, key: j["key"]?.text ?? "", attempt: Int(j["attempt"]?.number ?? 1), deadline: .milliseconds(j["deadline_ms"]?.number ?? 60_000), json: j)
            return j["type"]?.text == "event" ? .event(p) : .notify(p)
        case "cancel": return .cancel(j["id"]?.number ?? 0)
        case "ping": return .ping(j["n"]?.number ?? 0)
        case "pong": return .pong
        case "drain": return .drain
        case "bye": return .bye(code: j["code"]?.text ?? "", message: j["message"]?.text ?? "")
        default: throw PluginError("unknown_type")
        }
    }
}

private struct Parser {
    let octets: [UInt8]
    var i = 0
    init(octets: [UInt8]) { self.octets = octets }
    var peek: UInt8 { self.i < self.octets.count ? self.octets[self.i] : 0 }
    mutating func skip() { while [0x20, 0x09, 0x0D].contains(self.peek) { self.i += 1 } }
    mutating func expect(_ c: String) throws { self.skip(); for o in c.utf8 { guard self.peek == o else { throw PluginError("expected \(c)") }; self.i += 1 } }
    mutating func value() throws -> JSONValue {
        self.skip()
        switch self.peek {
        case UInt8(ascii: "{"):
            self.i += 1
            var o: [String: JSONValue] = [:]
            self.skip()
            if self.peek == UInt8(ascii: "}") { self.i += 1; return .object(o) }
            while true {
                self.skip()
                let k = try self.string()
                try self.expect(":")
                o[k] = try self.value()
                self.skip()
                if self.peek == UInt8(ascii: ",") { self.i += 1; continue }
                try self.expect("}")
                return .object(o)
            }
        case UInt8(ascii: "["):
            self.i += 1
            var a: [JSONValue] = []
            self.skip()
            if self.peek == UInt8(ascii: "]") { self.i += 1; return .array(a) }
            while true {
                a.append(try self.value())
                self.skip()
                if self.peek == UInt8(ascii: ",") { self.i += 1; continue }
                try self.expect("]")
                return .array(a)
            }
        case UInt8(ascii: "\""): return .string(try self.string())
        case UInt8(ascii: "t"): try self.expect("true"); return .bool(true)
        case UInt8(ascii: "f"): try self.expect("false"); return .bool(false)
        case UInt8(ascii: "n"): try self.expect("null"); return .null
        default:
            let start = self.i
            while "+-.eE0123456789".utf8.contains(self.peek) { self.i += 1 }
            let s = String(decoding: self.octets[start..<self.i], as: UTF8.self)
            if let n = Int64(s) { return .int(n) }
            if let d = Double(s) { return .double(d) }
            throw PluginError("bad value")
        }
    }
    mutating func string() throws -> String {
        try self.expect("\"")
        var out: [UInt8] = []
        while self.i < self.octets.count {
            let c = self.octets[self.i]
            self.i += 1
            if c == UInt8(ascii: "\"") { return String(decoding: out, as: UTF8.self) }
            if c != UInt8(ascii: "\\") { out.append(c); continue }
            let e = self.peek
            self.i += 1
            switch e {
            case UInt8(ascii: "n"): out.append(0x0A)
            case UInt8(ascii: "r"): out.append(0x0D)
            case UInt8(ascii: "t"): out.append(0x09)
            case UInt8(ascii: "b"): out.append(0x08)
            case UInt8(ascii: "f"): out.append(0x0C)
            case UInt8(ascii: "u"):
                guard self.i + 4 <= self.octets.count, let v = UInt32(String(decoding: self.octets[self.i..<(self.i + 4)], as: UTF8.self), radix: 16) else { throw PluginError("bad escape") }
                self.i += 4
                out += Array(String(Unicode.Scalar(v) ?? "?").utf8)
            default: out.append(e)
            }
        }
        throw PluginError("unterminated string")
    }
}

struct WireEncoder {
    private var output = ByteBuffer()
    private mutating func write(_ members: [String: JSONValue]) {
        self.output.writeString(JSONValue.object(members).encoded)
        self.output.writeInteger(UInt8(0x0A))
    }
    mutating func writeHello(_ service: WorkerService) {
        var hooks: [String: JSONValue] = [:]
        for hook in Hook.allCases {
            guard let chain = service.chains[hook] else { continue }
            var h: [String: JSONValue] = ["needs": .array(chain.needs.names.map { .string($0) })]
            if chain.isObserver { h["observe"] = .bool(true) } else { h["idempotent"] = .bool(chain.isIdempotent) }
            hooks[hook.rawValue] = .object(h)
        }
        self.write(["type": .string("hello"), "protocol": .array([.int(1), .int(1)]), "pool": .string(service.pool), "worker": .object(["name": .string(service.identity.name), "instance": .string(service.identity.instance), "version": .string(service.identity.version), "sdk": .string(service.identity.sdk), "pid": .int(Int64(service.identity.pid))]), "concurrency": .int(Int64(service.concurrency)), "max_frame": .int(1_048_576), "plugins": .array(service.pluginNames.map { .string($0) }), "hooks": .object(hooks)])
    }
    mutating func writeVerdict(_ id: Int64, _ hook: Hook, _ answer: Answer, _ plugin: String?, _ context: HookContext) -> String? {
        var m: [String: JSONValue] = ["type": .string("verdict"), "id": .int(id), "verdict": .string(answer.verdict.rawValue)]
        m["plugin"] = plugin.map { .string($0) }
        m["reply"] = answer.reply?.json
        var notes: [String: JSONValue] = [:]
        if !context.sessionPatch.isEmpty { notes["session"] = .object(context.sessionPatch) }
        if !context.transactionPatch.isEmpty { notes["transaction"] = .object(context.transactionPatch) }
        if !notes.isEmpty { m["notes"] = .object(notes) }
        if !context.actions.isEmpty { m["actions"] = .array(context.actions.map { .string("\($0)") }) }
        m["trace"] = .array(context.ownTrace.map { .object(["plugin": .string($0.plugin), "verdict": .string($0.verdict.rawValue), "us": .int($0.microseconds)]) })
        self.write(m)
        return nil
    }
    mutating func writeError(_ id: Int64, _ code: ErrorCode, started: Bool, plugin: String?, _ message: String) {
        self.write(["type": .string("error"), "id": .int(id), "code": .string(code.rawValue), "started": .bool(started), "plugin": plugin.map { .string($0) } ?? .null, "message": .string(message)])
    }
    mutating func writePong(_ number: Int64) { self.write(["type": .string("pong"), "n": .int(number)]) }
    mutating func writeDrain(reason: String) { self.write(["type": .string("drain"), "reason": .string(reason)]) }
    mutating func writeBye(_ code: String, _ message: String) { self.write(["type": .string("bye"), "code": .string(code), "message": .string(message)]) }
    mutating func takeOutput(_ allocator: ByteBufferAllocator) -> ByteBuffer? {
        guard self.output.readableBytes > 0 else { return nil }
        defer { self.output = ByteBuffer() }
        return self.output
    }
}

extension JSONValue {
    var encoded: String {
        switch self {
        case .null: "null"
        case .bool(let b): b ? "true" : "false"
        case .int(let n): "\(n)"
        case .double(let d): "\(d)"
        case .string(let s): "\"" + s.unicodeScalars.map { $0 == "\"" ? "\\\"" : $0 == "\\" ? "\\\\" : $0.value < 0x20 ? "\\u" + String(String($0.value + 0x10000, radix: 16).dropFirst()) : String($0) }.joined() + "\""
        case .array(let a): "[" + a.map(\.encoded).joined(separator: ",") + "]"
        case .object(let o): "{" + o.sorted { $0.key < $1.key }.map { JSONValue.string($0.key).encoded + ":" + $0.value.encoded }.joined(separator: ",") + "}"
        }
    }
}
extension Needs {
    var names: [String] {
        [(Needs.recipients, "recipients"), (.headers, "headers"), (.message, "message"), (.trace, "trace")].filter { self.contains($0.0) }.map(\.1)
    }
}
