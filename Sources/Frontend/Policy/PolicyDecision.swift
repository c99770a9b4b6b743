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
        var worker: WorkerLabel?
        var plugin: String?
    }

    /// Whether any pool was asked at all.
    var wasAsked = true

    /// Nobody was to be asked.
    static let undecided = PolicyDecision(outcome: .undecided, wasAsked: false)
}

/// A worker as logs name it, `name#connection`, and as protocol messages do, `name`.
struct WorkerLabel: Equatable, CustomStringConvertible {
    /// `worker.name` of its hello; empty before that.
    let name: String
    let connection: UInt64

    var description: String { "\(self.name)#\(self.connection)" }
}
