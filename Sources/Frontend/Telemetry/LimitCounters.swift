import JSON
import PolicyCore
import SMTPCore

/// What limits refused and ended since the start, and what became of TLS handshakes and logins.
///
/// A loop counts its own sessions; the sum of two is `+=`.
struct LimitCounters: Sendable {
    /// What ended a session, other than its client and policy.
    enum Ending: Int, CaseIterable {
        case command, envelope, data, dataRate, commandRate
        case timeout
        case errors, unrecognized, noops, withoutMessage, refusedRecipients, commands, messages
        case failedLogins
        case otherProtocol
        case smuggling

        /// As `status` says it: the key of `[limits]`, where there is one.
        var key: StaticString {
            switch self {
            case .command: "command_budget_ms"
            case .envelope: "envelope_budget_ms"
            case .data: "data_budget_ms"
            case .dataRate: "data_minimum_rate"
            case .commandRate: "max_commands_per_second"
            case .timeout: "timeout"
            case .errors: "max_errors"
            case .unrecognized: "max_unrecognized"
            case .noops: "max_noop"
            case .withoutMessage: "max_commands_without_message"
            case .refusedRecipients: "max_refused_recipients"
            case .commands: "max_commands_per_session"
            case .messages: "max_transactions"
            case .failedLogins: "max_auth_failures"
            case .otherProtocol: "other_protocol"
            case .smuggling: "smuggling"
            }
        }
    }

    private var refused = [UInt64](repeating: 0, count: ConnectionLimits.Refusal.allCases.count)
    private var ended = [UInt64](repeating: 0, count: Ending.allCases.count)
    /// Handshakes that were completed.
    private(set) var handshakesDone: UInt64 = 0
    /// Handshakes that failed, were given up by the client, or took too long.
    private(set) var handshakesFailed: UInt64 = 0
    /// Logins that were refused for good.
    private(set) var loginsFailed: UInt64 = 0

    // MARK: - Counting

    mutating func sessionRefused(_ refusal: ConnectionLimits.Refusal) {
        self.refused[refusal.rawValue] &+= 1
    }

    mutating func sessionEnded(by ending: Ending) { self.ended[ending.rawValue] &+= 1 }

    mutating func handshakeDone() { self.handshakesDone &+= 1 }

    mutating func handshakeFailed() { self.handshakesFailed &+= 1 }

    mutating func loginFailed() { self.loginsFailed &+= 1 }

    static func += (sum: inout Self, other: Self) {
        for index in sum.refused.indices { sum.refused[index] &+= other.refused[index] }
        for index in sum.ended.indices { sum.ended[index] &+= other.ended[index] }
        sum.handshakesDone &+= other.handshakesDone
        sum.handshakesFailed &+= other.handshakesFailed
        sum.loginsFailed &+= other.loginsFailed
    }

    // MARK: - Names

    typealias Named = [(key: StaticString, count: UInt64)]

    /// As `status` says it: the members of its object, each with those of its own.
    var named: [(key: StaticString, counts: Named)] {
        [
            (
                "refused",
                ConnectionLimits.Refusal.allCases.map { ($0.key, self.refused[$0.rawValue]) }
            ),
            ("ended", Ending.allCases.map { ($0.key, self.ended[$0.rawValue]) }),
            (
                "handshakes",
                [("done", self.handshakesDone), ("failed", self.handshakesFailed)]
            ),
            ("logins", [("failed", self.loginsFailed)]),
        ]
    }
}

extension LimitCounters.Ending {
    /// What ended a session: the budget that its client went past, or the reply after which it was closed.
    ///
    /// `nil`: its client, policy or a stop ended it.
    init?(excess: ClientBudgets.Excess?, closingReply: SMTPReply?, end: SessionEnd) {
        if let excess {
            self = Self(excess)
        } else if end == .timeout {
            self = .timeout
        } else if let reply = closingReply, let ending = Self(closingReply: reply) {
            self = ending
        } else {
            return nil
        }
    }

    private init(_ excess: ClientBudgets.Excess) {
        switch excess {
        case .command: self = .command
        case .envelope: self = .envelope
        case .data: self = .data
        case .dataRate: self = .dataRate
        case .commandRate: self = .commandRate
        }
    }

    private init?(closingReply reply: SMTPReply) {
        switch reply {
        case StandardReplies.tooManyErrors: self = .errors
        case StandardReplies.tooManyUnrecognized: self = .unrecognized
        case StandardReplies.tooManyNoops: self = .noops
        case StandardReplies.tooManyWithoutMessage: self = .withoutMessage
        case StandardReplies.tooManyRefusedRecipients: self = .refusedRecipients
        case StandardReplies.tooManyCommands: self = .commands
        case StandardReplies.tooManyTransactions: self = .messages
        case StandardReplies.tooManyFailedLogins: self = .failedLogins
        case StandardReplies.otherProtocol: self = .otherProtocol
        case StandardReplies.contentBeforeReply, StandardReplies.octetsBehindStartTLS:
            self = .smuggling
        default:
            guard reply.cause == .bareNewline else { return nil }
            self = .smuggling
        }
    }
}

extension SMTPSessionHandler {
    /// The session is over: counts what ended it.
    func countEnd() {
        let end = self.end ?? .client_gone
        if self.handshake != nil, end != .shutdown {
            self.server.limitCounters.handshakeFailed()
        }
        let ending = LimitCounters.Ending(
            excess: self.summary.excess,
            closingReply: self.summary.closingReply,
            end: end
        )
        if let ending { self.server.limitCounters.sessionEnded(by: ending) }
    }
}
