/// What a plugin that would refuse is to do: the universal arguments `reject` and `reject_type`.
public struct Refusal: Sendable, Equatable {
    /// The argument `reject`.
    public enum Mode: Sendable {
        /// `reject 0`: log `fail, tolerated` and decline.
        case tolerate
        /// `reject 1`: refuse.
        case reject
        /// `reject naughty`: flag the session and decline.
        case naughty
    }

    /// Whether to refuse at all.
    public var mode: Mode
    /// How.
    public var type: RefusalType

    /// What the operator wants of a refusal.
    public init(_ mode: Mode = .reject, _ type: RefusalType = .perm) {
        self.mode = mode
        self.type = type
    }
}

/// The argument `reject_type`.
public enum RefusalType: String, Sendable, CaseIterable {
    /// `perm`, `hard`: deny.
    case perm
    /// `temp`, `soft`: denysoft.
    case temp
    /// deny, and the connection closes.
    case disconnect
    /// denysoft, and the connection closes.
    case tempDisconnect = "temp_disconnect"

    /// The verdict of this type.
    public var verdict: Verdict {
        switch self {
        case .perm: .deny
        case .temp: .denysoft
        case .disconnect: .deny_disconnect
        case .tempDisconnect: .denysoft_disconnect
        }
    }

    /// Whether the client should not try again.
    public var isPermanent: Bool {
        switch self {
        case .perm, .disconnect: true
        case .temp, .tempDisconnect: false
        }
    }

    /// The type for a word of `reject_type`, in any case; `nil` if there is no such type.
    init?(word: String) {
        switch word.lowercased() {
        case "perm", "hard": self = .perm
        case "temp", "soft": self = .temp
        case "disconnect": self = .disconnect
        case "temp_disconnect": self = .tempDisconnect
        default: return nil
        }
    }

    /// The answer of this type.
    ///
    /// - Parameters:
    ///   - text: The reply's lines, separated by LF. It may come from a file, a message or another
    ///     server: it is fitted as ``PolicyReply/init(code:status:fitting:)`` does.
    ///   - detail: The enhanced status code without its class.
    ///   - code: The reply code; used only if its class fits.
    /// - Returns: A refusal.
    package func answer(_ text: String, detail: String?, code: Int?) -> Answer {
        let replyClass = self.isPermanent ? 5 : 4
        return Answer(
            self.verdict,
            PolicyReply(
                code: code.flatMap { $0 / 100 == replyClass ? $0 : nil },
                status: detail.map { "\(replyClass).\($0)" },
                text: PolicyReply.fitted(text.utf8.split(separator: UInt8(ascii: "\n")))
            )
        )
    }
}
