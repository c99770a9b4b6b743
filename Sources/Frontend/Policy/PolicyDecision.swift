import Configuration
import PolicyProtocol

/// What all pools together said to one question.
struct PolicyDecision {
    enum Outcome {
        /// Every plugin declined, or nobody was asked.
        case undecided
        /// Somebody decided: not `declined`.
        case verdict(Verdict, PolicyReply?)
        /// A pool that could not answer, and whose policy is not to skip.
        case failed(FrontendConfiguration.FailurePolicy, reason: String)
        /// The message could not be written for the workers to read.
        case spoolFailed(SystemError)
    }

    var outcome: Outcome
    /// Who decided; all `nil` when nobody did.
    var decider = Decider()
    /// How long the reply is to be held back.
    var delayMS: Int64 = 0

    /// Who said it, for the log, the trace and the notifications.
    struct Decider {
        var pool: String?
        var worker: String?
        var plugin: String?
    }

    static let undecided = PolicyDecision(outcome: .undecided)
}
