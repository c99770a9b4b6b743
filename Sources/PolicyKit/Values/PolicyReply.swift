/// What the client is told.
public struct PolicyReply: Sendable, Hashable {
    /// The reply code; `nil` for the hook's own.
    public var code: Int?
    /// The enhanced status code, as in `5.7.1`; `nil` for the hook's own.
    public var status: String?
    /// The lines, without code and status; none for the hook's own text.
    public var text: [String]

    /// A reply; what is `nil` is the hook's own.
    public init(code: Int? = nil, status: String? = nil, text: [String]) {
        self.code = code
        self.status = status
        self.text = text
    }
}
