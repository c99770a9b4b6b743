package import PolicyProtocol

/// What all pools together said to one question.
package struct PolicyDecision: Equatable {
    package enum Outcome: Equatable {
        /// Every plugin declined, or no pool was asked.
        case undecided
        /// A pool decided: not `declined`.
        case verdict(Verdict, PolicyReply?)
        /// A pool could not answer, and its failure policy is not to skip.
        case failed(FailurePolicy, reason: String)
        /// The message could not be written for the workers to read.
        case spoolFailed(SpoolFailure)
    }

    package var outcome: Outcome
    /// Which worker decided; all `nil` when none did.
    package var decider = Decider()
    /// How long the reply is to be held back.
    package var delayMS: Int64 = 0
    /// Whether any pool was asked at all.
    package var wasAsked = true

    /// Which worker and plugin decided, for the log, the trace and the notifications.
    package struct Decider: Equatable {
        package var pool: String?
        package var worker: WorkerLabel?
        package var plugin: String?
    }

    /// No pool had to be asked.
    package static let undecided = PolicyDecision(outcome: .undecided, wasAsked: false)

    /// `done`: the reply stands, and nothing follows.
    var isDone: Bool { if case .verdict(.done, _) = self.outcome { true } else { false } }

    /// No pool decided anything.
    var isUndecided: Bool { if case .undecided = self.outcome { true } else { false } }

    /// A refusal that is SMTP's own, not a decision: 500 for an unknown command.
    func isSilent(at hook: Hook) -> Bool { self.isUndecided && hook == .unrecognized_command }
}

/// A worker as logs name it, `name#connection`, and as protocol messages do, `name`.
package struct WorkerLabel: Equatable, Sendable, CustomStringConvertible {
    /// `worker.name` of its hello; empty before that.
    package let name: String
    package let connection: UInt64

    package init(name: String, connection: UInt64) {
        self.name = name
        self.connection = connection
    }

    package var description: String { "\(self.name)#\(self.connection)" }
}

/// What one pool said to one question.
package enum PoolOutcome: Equatable {
    case answered(PolicyVerdict, worker: WorkerLabel)
    /// `worker` is `nil` when the question reached none.
    case failed(reason: String, worker: WorkerLabel?)
    /// No worker of the pool wants to be asked after all.
    case passedOver
}

/// The spool could not take or give a message.
package struct SpoolFailure: Error, Equatable, CustomStringConvertible {
    /// There is no room: ENOSPC or EDQUOT.
    package let isDiskFull: Bool
    /// The system call, the file and the error, for the log.
    package let description: String

    package init(isDiskFull: Bool, description: String) {
        self.isDiskFull = isDiskFull
        self.description = description
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// How a session ended: the reasons of the `disconnect` notification.
package enum SessionEnd: String, Sendable {
    case quit
    case client_gone
    case timeout
    /// A verdict or a failure policy closed it.
    case refused
    case shutdown
    /// The client made too many errors, or reached a limit.
    case error
}
