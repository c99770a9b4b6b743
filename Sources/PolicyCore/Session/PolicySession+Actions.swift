package import PolicyProtocol
package import SMTPCore

// MARK: - Actions

extension PolicySession {
    /// What the caller does next.
    package enum Action: Equatable {
        /// Ask the pool at this place of the route, then tell `judge` and `poolDone`.
        case submit(pool: Int, hook: Hook)
        /// Show the question to the shadows of that pool.
        case showShadows(pool: Int, hook: Hook)
        /// The pool is done with what its shadows were shown; `nil`: the client left.
        indirect case shadowsDone(PoolOutcome?)
        /// Take the question back from that pool: nothing waits for the answer any more.
        case cancel(pool: Int)
        /// Have all of the message in a file that workers of that pool can read, then tell
        /// `messageStored`.
        case storeMessage(pool: Int)
        /// Take over the file that a worker of that pool left, then tell `replacementTaken`.
        ///
        /// `owner` is the uid of the worker.
        case takeReplacement(path: String, pool: Int, owner: UInt32)
        /// A worker's file was not taken, or its verdict cannot be applied to it: for the pool and the
        /// log.
        indirect case replacementRefused(ReplacementRefusal)
        /// The message could not be kept: for the log.
        indirect case messageLost(pool: Int, hook: Hook, SpoolFailure)
        /// A pool that could not answer is passed over: for the log.
        case skipped(pool: Int, hook: Hook, reason: String)
        /// Tell `delayPassed` after so long.
        case hold(milliseconds: Int64)
        /// DATA was granted: a message begins.
        case beginMessage
        /// Tell the SMTP session what came of the question at the hook, and how many recipients count
        /// with that; then tell `replied`.
        case answer(SMTPOutcome, at: Hook, recipients: Int)
        /// A question was answered with a refusal: for the log.
        indirect case refused(Refusal)
        /// A command that SMTP does not know was answered with this reply: for the log.
        case commandUnknown(SMTPReply)
        /// Tell every observer of the hook; `args` is the encoded object.
        case notify(Hook, args: [UInt8])
        /// The transaction is over: drop its message, and tell `forgetTransaction`.
        indirect case transactionOver(TransactionEnd)
        /// The session is over: for the log.
        case sessionOver(SessionEnd, durationMS: Int64)
    }

    /// Why a worker's file is not the message now.
    package struct ReplacementRefusal: Equatable {
        package let pool: Int
        package let hook: Hook
        package let worker: WorkerLabel
        package let plugin: String?
        /// The file, as the worker named it.
        package let path: String
        package let violation: ProtocolViolation
        /// The event's `id` on the worker's connection.
        package let eventID: Int64
    }

    /// A question that was answered with a refusal.
    package struct Refusal: Equatable {
        package let hook: Hook
        package let decision: PolicyDecision
        package let reply: SMTPReply
        /// What RCPT asked about, as the client wrote it; `nil` at other hooks.
        package let recipient: [UInt8]?
    }

    /// A transaction as it was when it ended, and how that came.
    package struct TransactionEnd: Equatable {
        package let id: String
        package let sender: [UInt8]
        /// Those granted or added.
        package let recipients: [EnvelopeRecipient]
        /// The recipient that RCPT asks about; `nil` when it does not.
        package let candidate: EnvelopeRecipient?
        /// `rset`, `hello`, `done` (the message was answered), `refused` (MAIL was), or a
        /// ``SessionEnd``.
        package let reason: String
        /// Which worker took the message; `nil` if it was not accepted.
        package let decider: PolicyDecision.Decider?
        /// What the client was told; `nil` if it left.
        package let reply: SMTPReply?
        /// Whether DATA was granted.
        package let hadMessage: Bool
    }
}
