package import JSON

extension PolicyVerdict {
    /// Most actions in one verdict.
    package static let maximumActions = 256
    /// Most lines of a reply.
    package static let maximumReplyLines = 20
    /// Largest patch of one scope of notes, in octets of compact JSON.
    package static let maximumNotesOctets = 65_536
    /// Most entries of `trace`.
    static let maximumTraceEntries = 256
    /// Most octets of a reply's line.
    package static let maximumReplyLineOctets = 500
    /// Most octets of a challenge: its line of base64 has at most 12,288 (RFC 4954 §4).
    package static let maximumChallengeOctets = 8_192
    /// Most octets that a worker may want back with the answer to its challenge.
    package static let maximumStateOctets = 4_096
    /// The last message of a client that is asked about.
    package static let maximumLoginSteps = 8

    /// Reads a verdict whose `id` is good.
    ///
    /// `wantsTrace` false checks the trace and leaves it out.
    ///
    /// - Throws: ``ProtocolViolation``: the verdict is invalid as a whole.
    package init(
        id: Int64,
        _ message: JSONObjectText,
        wantsTrace: Bool = true
    ) throws(ProtocolViolation) {
        guard let verdict = message["verdict"].flatMap(Verdict.init(spelled:)) else {
            let word = try Self.reading(.unknown_verdict) { () throws(JSONError) in
                try message.string("verdict")
            }
            throw ProtocolViolation(
                .unknown_verdict,
                word.map { "verdict: \(String($0.prefix(32)).debugDescription)" } ?? "verdict: none"
            )
        }
        self.init(id: id, verdict: verdict)
        if let word = message["hook"], !word.isNull {
            guard let hook = Hook(spelled: word) else {
                throw ProtocolViolation(.hook_not_reached, "hook: no hook's name")
            }
            self.hook = hook
        }
        self.plugin = try Self.reading(.plugin_malformed) { () throws(JSONError) in
            try message.string("plugin")
        }
        if let plugin = self.plugin, !ShortText.isShort(plugin) {
            throw ProtocolViolation(.plugin_malformed, "plugin: more than 128 characters")
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
        if let trace = message["trace"], !trace.isNull {
            self.trace = try Self.trace(trace, isKept: wantsTrace)
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

    static func reply(_ value: JSONValue) throws(ProtocolViolation) -> PolicyReply? {
        guard value != .null else { return nil }
        guard case .object(let members) = value else {
            throw ProtocolViolation(.reply_malformed, "reply: no object")
        }
        var code: Int?
        switch members["code"] ?? .null {
        case .null: break
        case .int(let number): code = Int(clamping: number)
        default: throw ProtocolViolation(.reply_malformed, "reply.code: no integer")
        }
        var status: String?
        switch members["status"] ?? .null {
        case .null: break
        case .string(let text): status = text
        default: throw ProtocolViolation(.reply_malformed, "reply.status: no string")
        }
        var lines: [String]?
        switch members["text"] ?? .null {
        case .null: break
        case .array(let values):
            lines = try values.map { value throws(ProtocolViolation) in
                guard case .string(let line) = value else {
                    throw ProtocolViolation(.reply_malformed, "reply.text: no list of strings")
                }
                return line
            }
        default: throw ProtocolViolation(.reply_malformed, "reply.text: no list of strings")
        }
        return PolicyReply(code: code, status: status, lines: lines)
    }

    private mutating func readNotes(_ value: JSONValue) throws(ProtocolViolation) {
        guard value != .null else { return }
        guard case .object(let members) = value else {
            throw ProtocolViolation(.notes_malformed, "notes: no object")
        }
        self.sessionNotes = try Self.patch(members["session"], "session")
        self.transactionNotes = try Self.patch(members["transaction"], "transaction")
    }

    private static func patch(
        _ value: JSONValue?,
        _ scope: StaticString
    ) throws(ProtocolViolation) -> JSONValue? {
        switch value {
        case nil: return nil
        case .object(let members)?: return members.isEmpty ? nil : value
        default: throw ProtocolViolation(.notes_malformed, "notes.\(scope): no object")
        }
    }

    private static func trace(
        _ value: JSONItemText,
        isKept: Bool
    ) throws(ProtocolViolation) -> [PluginAnswer] {
        guard let entries = try? value.list() else {
            throw ProtocolViolation(.trace_malformed, "trace: no list")
        }
        var trace: [PluginAnswer] = []
        var count = 0
        for entry in entries {
            count += 1
            guard count <= self.maximumTraceEntries else {
                throw ProtocolViolation(
                    .trace_malformed,
                    "trace: more than \(self.maximumTraceEntries) entries"
                )
            }
            guard let entry = try? entry.object(), let plugin = entry["plugin"],
                ShortText.isShort(plugin),
                let verdict = entry["verdict"].flatMap(Verdict.init(spelled:)),
                let us = try? entry["us"]?.int(), us >= 0
            else {
                throw ProtocolViolation(
                    .trace_malformed,
                    "trace[\(count - 1)]: no object with plugin, verdict and us"
                )
            }
            guard isKept, let name = try? plugin.string() else { continue }
            trace.append(PluginAnswer(plugin: name, verdict: verdict, microseconds: us))
        }
        return trace
    }
}

extension Verdict {
    /// The word of protocol/.
    package var word: StaticString {
        switch self {
        case .declined: "declined"
        case .ok: "ok"
        case .deny: "deny"
        case .denysoft: "denysoft"
        case .deny_disconnect: "deny_disconnect"
        case .denysoft_disconnect: "denysoft_disconnect"
        case .done: "done"
        }
    }

    /// By the word of protocol/; `nil` for anything else.
    init?(spelled item: JSONItemText) {
        guard let verdict = Self.allCases.first(where: { item.equals($0.word) }) else { return nil }
        self = verdict
    }
}

/// The short texts of the schema: names, versions, for people and logs.
enum ShortText {
    static let maximumCharacters = 128

    static func isShort(_ text: String) -> Bool {
        text.utf8.count <= self.maximumCharacters
            || text.unicodeScalars.count <= self.maximumCharacters
    }

    /// Whether the value is such a text; one that is short as it is spelled is not looked at again.
    static func isShort(_ item: JSONItemText) -> Bool {
        guard item.isString else { return false }
        if item.raw.count <= self.maximumCharacters + 2 { return true }
        return (try? item.string()).map(self.isShort) ?? false
    }
}

/// The words that workers make up themselves: codes and reasons, in snake_case.
enum CodeWord {
    /// `[a-z][a-z0-9_]{0,63}`.
    static func isWord(_ text: String) -> Bool {
        guard (1...64).contains(text.utf8.count), let first = text.utf8.first else { return false }
        return (0x61...0x7A).contains(first)
            && text.utf8.allSatisfy { octet in
                switch octet {
                case 0x61...0x7A, 0x30...0x39, UInt8(ascii: "_"): true
                default: false
                }
            }
    }
}
