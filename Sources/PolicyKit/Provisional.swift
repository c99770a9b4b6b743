// Stand-ins until PolicyProtocol has these; then this file goes.
// swift-format-ignore-file

public struct Bytes: Sendable, Hashable, ExpressibleByStringLiteral {
    public var octets: [UInt8]
    public init(octets: [UInt8]) { self.octets = octets }
    public init(_ string: String) { self.octets = Array(string.utf8) }
    public init(stringLiteral value: String) { self.init(value) }
    public var string: String? { String(validating: self.octets, as: UTF8.self) }
}
public enum JSONValue: Sendable, Equatable {
    case null, bool(Bool), int(Int64), double(Double), string(String), array([JSONValue]), object([String: JSONValue])
    public subscript(key: String) -> JSONValue? { if case .object(let o) = self { o[key] } else { nil } }
    package static func mergePatch(from: JSONValue?, to: JSONValue?) -> JSONValue { to ?? .null }
}
public struct Sender: Sendable, Equatable {
    public var address: Bytes, local: Bytes, domain: Bytes
    public var params: [(Bytes, Bytes?)] { [] }
    public var isNull: Bool { self.address.octets.isEmpty }
    static let empty = Sender(address: "", local: "", domain: "")
}
public struct Recipient: Sendable, Equatable {
    public var id: Int64, address: Bytes, local: Bytes, domain: Bytes
    static let empty = Recipient(id: 0, address: "", local: "", domain: "")
}
public struct HeaderField: Sendable, Equatable { public var id: Int64, name: Bytes, value: Bytes; package init(id: Int64, name: Bytes, value: Bytes) { self.id = id; self.name = name; self.value = value } }
public struct MessageReference: Sendable, Equatable {
    public var path: String, size: Int64, bodyOffset: Int64
    package init(path: String, size: Int64, bodyOffset: Int64) { self.path = path; self.size = size; self.bodyOffset = bodyOffset }
    static let empty = MessageReference(path: "", size: 0, bodyOffset: 0)
}
public struct TraceEntry: Sendable, Equatable { public var plugin: String, verdict: Verdict, microseconds: Int64 }
public struct SessionSnapshot: Sendable, Equatable {
    public struct Client: Sendable, Equatable { public var ip: String, port: Int, name: Bytes?; package init(ip: String, port: Int, name: Bytes?) { self.ip = ip; self.port = port; self.name = name } }
    public struct Hello: Sendable, Equatable { public var verb: String, name: Bytes; package var isExtended: Bool { verb == "EHLO" }; package init(verb: String, name: Bytes) { self.verb = verb; self.name = name } }
    public struct Counters: Sendable, Equatable { public var transactions = 0 }
    public var counters = Counters()
    public var id: String, startedMilliseconds: Int64, client: Client, hello: Hello?, relay: Bool, earlyTalker: Bool
    package init(id: String, startedMilliseconds: Int64, client: Client, hello: Hello?, relay: Bool, earlyTalker: Bool) { self.id = id; self.startedMilliseconds = startedMilliseconds; self.client = client; self.hello = hello; self.relay = relay; self.earlyTalker = earlyTalker }
    static let empty = SessionSnapshot(id: "", startedMilliseconds: 0, client: Client(ip: "", port: 0, name: nil), hello: nil, relay: false, earlyTalker: false)
}
public struct TransactionSnapshot: Sendable, Equatable {
    public var id: String, sender: Sender, recipientCount: Int, message: MessageReference?
    package init(id: String, sender: Sender, recipientCount: Int, message: MessageReference?) { self.id = id; self.sender = sender; self.recipientCount = recipientCount; self.message = message }
    static let empty = TransactionSnapshot(id: "", sender: .empty, recipientCount: 0, message: nil)
}
public struct PolicyReply: Sendable, Equatable {
    public var code: Int?, status: String?, text: [String]
    public init(code: Int? = nil, status: String? = nil, text: [String]) { self.code = code; self.status = status; self.text = text }
}
package enum PolicyAction: Sendable, Equatable {
    case addHeader(name: Bytes, value: Bytes, atTop: Bool), setHeader(id: Int64, value: Bytes), deleteHeader(id: Int64), deleteHeaders(name: Bytes)
    case addRecipient(address: Bytes), removeRecipient(id: Int64), replaceRecipient(id: Int64, address: Bytes), replaceSender(address: Bytes)
    case replaceMessage(path: String), setRelay(Bool), setClientName(Bytes), delayReply(milliseconds: Int64)
}
