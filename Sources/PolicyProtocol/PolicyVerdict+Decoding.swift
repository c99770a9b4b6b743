package import JSON

extension PolicyVerdict {
    /// Most actions in one verdict.
    package static let maximumActions = 256
    /// Most lines of a reply.
    static let maximumReplyLines = 20
    /// Most octets of a reply's line.
    static let maximumReplyLineOctets = 500

    /// Reads a verdict whose `id` is good.
    ///
    /// - Throws: ``ProtocolViolation``: the verdict is invalid as a whole.
    package init(id: Int64, _ message: JSONObjectText) throws(ProtocolViolation) {
        let word = try Self.reading(.unknown_verdict) { () throws(JSONError) in try message.string("verdict") }
        guard let word, let verdict = Verdict(rawValue: word) else {
            throw ProtocolViolation(.unknown_verdict, word ?? "no verdict")
        }
        self.init(id: id, verdict: verdict)
        self.plugin = try Self.reading(.plugin_malformed) { () throws(JSONError) in
            try message.string("plugin")
        }
        if message.contains("reply") {
            self.reply = try Self.reply(Self.value(message, "reply", .reply_malformed))
        }
        if message.contains("notes") {
            try self.readNotes(Self.value(message, "notes", .notes_malformed))
        }
        if message.contains("actions") {
            self.actions = try Self.actions(Self.value(message, "actions", .actions_malformed))
        }
        if message.contains("trace") {
            self.trace = try Self.trace(Self.value(message, "trace", .trace_malformed))
        }
    }

    private static func reading<Value>(
        _ code: ViolationCode,
        _ body: () throws(JSONError) -> Value
    ) throws(ProtocolViolation) -> Value {
        do { return try body() } catch { throw ProtocolViolation(code, error.description) }
    }

    private static func value(
        _ message: JSONObjectText,
        _ key: StaticString,
        _ code: ViolationCode
    ) throws(ProtocolViolation) -> JSONValue {
        try self.reading(code) { () throws(JSONError) in try message.value(key) } ?? .null
    }

    // MARK: - Parts

    private static func reply(_ value: JSONValue) throws(ProtocolViolation) -> PolicyReply? {
        guard value != .null else { return nil }
        guard case .object(let members) = value else { throw ProtocolViolation(.reply_malformed) }
        var reply = PolicyReply(text: [])
        switch members["code"] ?? .null {
        case .null: break
        case .int(let code): reply.code = Int(clamping: code)
        default: throw ProtocolViolation(.reply_malformed, "code is no integer")
        }
        switch members["status"] ?? .null {
        case .null: break
        case .string(let status): reply.status = status
        default: throw ProtocolViolation(.reply_malformed, "status is no string")
        }
        switch members["text"] ?? .null {
        case .null: break
        case .array(let lines):
            guard !lines.isEmpty else { throw ProtocolViolation(.reply_text, "no line") }
            guard lines.count <= self.maximumReplyLines else {
                throw ProtocolViolation(.reply_text, "\(lines.count) lines")
            }
            for line in lines {
                guard case .string(let text) = line else { throw ProtocolViolation(.reply_malformed, "text") }
                if !text.isEmpty { reply.text.append(text) }
            }
        default: throw ProtocolViolation(.reply_malformed, "text is no list")
        }
        return reply
    }

    private mutating func readNotes(_ value: JSONValue) throws(ProtocolViolation) {
        guard value != .null else { return }
        guard case .object(let members) = value else { throw ProtocolViolation(.notes_malformed) }
        self.sessionNotes = try Self.patch(members["session"])
        self.transactionNotes = try Self.patch(members["transaction"])
    }

    private static func patch(_ value: JSONValue?) throws(ProtocolViolation) -> JSONValue? {
        switch value {
        case nil: return nil
        case .object(let members)?: return members.isEmpty ? nil : value
        default: throw ProtocolViolation(.notes_malformed, "a scope is no object")
        }
    }

    private static func trace(_ value: JSONValue) throws(ProtocolViolation) -> [TraceEntry] {
        guard value != .null else { return [] }
        guard case .array(let entries) = value else { throw ProtocolViolation(.trace_malformed) }
        var trace: [TraceEntry] = []
        for entry in entries {
            guard case .string(let plugin)? = entry["plugin"], case .string(let verdict)? = entry["verdict"]
            else { throw ProtocolViolation(.trace_malformed) }
            var us: Int64 = 0
            if case .int(let value)? = entry["us"] { us = value }
            trace.append(TraceEntry(plugin: plugin, verdict: verdict, microseconds: us))
        }
        return trace
    }
}
