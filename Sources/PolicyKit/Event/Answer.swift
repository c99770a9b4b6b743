/// What a plugin answers: a verdict, and the reply that goes with it.
///
/// Without a reply, or where its code or status is `nil`, the client gets the hook's own
/// (`protocol/`, table of hooks).
public struct Answer: Sendable, Equatable {
    /// What was decided.
    public let verdict: Verdict
    /// The reply for the client, `nil` for the hook's own.
    public let reply: PolicyReply?

    /// An answer with `reply`.
    public init(_ verdict: Verdict, _ reply: PolicyReply? = nil) {
        self.verdict = verdict
        self.reply = reply
    }

    /// No opinion: the next plugin is asked, then the next pool.
    public static let declined = Self(.declined)
    /// Yes, and no other plugin is asked.
    public static let ok = Self(.ok)
    /// No, for good, with the hook's own reply.
    public static let deny = Self(.deny)
    /// Not now, with the hook's own reply.
    public static let denysoft = Self(.denysoft)
    /// No, for good, and the connection closes.
    public static let denyDisconnect = Self(.deny_disconnect)
    /// Not now, and the connection closes.
    public static let denysoftDisconnect = Self(.denysoft_disconnect)

    /// Yes, and no other plugin is asked.
    ///
    /// The text's lines are separated by LF, as in the
    /// other functions.
    public static func ok(_ text: String, code: Int? = nil, status: String? = nil) -> Self {
        Self(.ok, PolicyReply(code: code, status: status, lines: text))
    }

    /// No, for good.
    public static func deny(_ text: String, code: Int? = nil, status: String? = nil) -> Self {
        Self(.deny, PolicyReply(code: code, status: status, lines: text))
    }

    /// Not now.
    public static func denysoft(_ text: String, code: Int? = nil, status: String? = nil) -> Self {
        Self(.denysoft, PolicyReply(code: code, status: status, lines: text))
    }

    /// No, for good, and the connection closes.
    public static func denyDisconnect(
        _ text: String,
        code: Int? = nil,
        status: String? = nil
    ) -> Self {
        Self(.deny_disconnect, PolicyReply(code: code, status: status, lines: text))
    }

    /// Not now, and the connection closes.
    public static func denysoftDisconnect(
        _ text: String,
        code: Int? = nil,
        status: String? = nil
    ) -> Self {
        Self(.denysoft_disconnect, PolicyReply(code: code, status: status, lines: text))
    }

    /// Send exactly this reply, and ask no other plugin.
    public static func done(_ reply: PolicyReply) -> Self {
        Self(.done, reply)
    }

    /// Send exactly this reply, and ask no other plugin.
    public static func done(_ code: Int, _ status: String?, _ text: String) -> Self {
        Self(.done, PolicyReply(code: code, status: status, lines: text))
    }
}

extension PolicyReply {
    /// A reply whose lines are separated by LF in `lines`; empty lines are dropped.
    package init(code: Int?, status: String?, lines: String) {
        self.init(
            code: code,
            status: status,
            text: lines.split(separator: "\n").map { String($0) }
        )
    }
}
