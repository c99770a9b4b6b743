public import JSON

/// What the client is told.
public struct PolicyReply: Sendable, Hashable {
    /// The reply code; `nil` for the hook's own.
    public var code: Int?
    /// The enhanced status code, as in `5.7.1`; `nil` for the hook's own.
    public var status: String?
    /// The lines, without code and status; none for the hook's own text.
    public var text: [String]
    /// How many lines a verdict had that was read, if not as many as ``text`` has: a reader drops
    /// those that are empty.
    private var linesRead: Int?

    /// A reply; what is `nil` is the hook's own.
    public init(code: Int? = nil, status: String? = nil, text: [String]) {
        self.code = code
        self.status = status
        self.text = text
    }

    /// A reply that was read: `lines` with those that are empty, `nil` if there was no `text` at all.
    init(code: Int?, status: String?, lines: [String]?) {
        self.init(code: code, status: status, text: lines?.filter { !$0.isEmpty } ?? [])
        if self.lineCount != lines?.count { self.linesRead = lines?.count }
    }

    /// How many lines it was written with, the empty ones counted; `nil` if it has the hook's own text.
    var lineCount: Int? { self.linesRead ?? (self.text.isEmpty ? nil : self.text.count) }

    /// The lines to write, those that were empty behind the others; `nil` for the hook's own text.
    var lines: [String]? {
        guard let count = self.lineCount else { return nil }
        guard count > self.text.count else { return self.text }
        return self.text + Array(repeating: "", count: count - self.text.count)
    }
}

// As it stands in what happened before: the trace, and the arguments of hooks that only tell.
extension PolicyReply {
    /// The value in `json`, `nil` if it is not of this type.
    public init?(json: JSONValue) {
        guard case .object(let members) = json else { return nil }
        self.init(text: [])
        if case .int(let code)? = members["code"] { self.code = Int(clamping: code) }
        if case .string(let status)? = members["status"] { self.status = status }
        guard case .array(let lines)? = members["text"] else { return }
        for case .string(let line) in lines { self.text.append(line) }
    }

    /// The value as it travels.
    public var json: JSONValue {
        var members: [String: JSONValue] = ["text": .array(self.text.map { .string($0) })]
        members["code"] = self.code.map { .int(Int64($0)) }
        members["status"] = self.status.map { .string($0) }
        return .object(members)
    }
}
