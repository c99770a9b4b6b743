// MARK: - Policy answered

extension SMTPPhase {
    /// What an answer means for the session; the counters are its own to move.
    enum AnswerAction: Equatable {
        /// A command was granted; the reply is policy's, or else the standard one.
        case granted(CommandQuestion, SMTPReply?, endsTransaction: Bool)
        /// A command was refused.
        case refused(CommandQuestion, SMTPReply, endsTransaction: Bool)
        /// Policy wants one more line of the client's.
        case challenged(SMTPReply)
        /// The session is over.
        case close(SMTPReply)
        case proceed
        case askMessage
        /// The message was answered: the transaction is over.
        case messageAnswered(SMTPReply)
        /// The same, with a reply for each RCPT that was granted; the session may be over after them.
        case messageAnsweredEach([SMTPReply], closes: Bool)
        case dropStale
    }

    /// Applies what policy decided; `recipients` count with it.
    mutating func answered(_ outcome: SMTPOutcome, recipients: Int) -> AnswerAction {
        switch consume self {
        case .asking(.command(let question, let stage)):
            let answer = question.answered(outcome, at: stage)
            switch answer.next {
            case .commands(let stage):
                self = .listening(.commands(stage.withRecipients(recipients)))
            case .line(let stage): self = .listening(.line(stage))
            case .content(let reception): self = .listening(.content(reception))
            case .dropping(let drop): self = .listening(.dropping(drop))
            case .closed: self = .closed
            }
            return answer.action

        case .asking(.content(let question, let reception)):
            let answer = question.answered(outcome, in: reception)
            switch answer.next {
            case .commands: self = .listening(.commands(.greeted))
            case .content(let reception): self = .listening(.content(reception))
            case .message: self = .asking(.content(.message, reception))
            case .closed: self = .closed
            }
            return answer.action

        case .listening(let input):
            self = .listening(input)
            return .dropStale

        case .unopened:
            self = .unopened
            return .dropStale

        case .closed:
            self = .closed
            return .dropStale
        }
    }
}

// MARK: - What the answer to a command leads to

extension SMTPPhase.CommandQuestion {
    /// Where a command leads, without the content that it may begin.
    enum Next: Equatable {
        case commands(SMTPPhase.Stage)
        /// The dialogue that the command began goes on.
        case line(SMTPPhase.Stage)
        case content(SMTPPhase.Reception)
        /// The chunk behind the command is dropped, and refused after that.
        case dropping(SMTPPhase.Drop)
        case closed
    }

    typealias Action = SMTPPhase.AnswerAction
    typealias Answer = (next: Next, action: Action)

    func answered(_ outcome: SMTPOutcome, at stage: SMTPPhase.Stage) -> Answer {
        switch outcome.settled {
        case .granted(let reply): self.granted(reply, at: stage)
        case .refused(let reply): self.refused(reply, at: stage)
        case .refusedThenClose(let reply): (.closed, .close(reply))
        case .challenged(let reply) where self == .auth: (.line(stage), .challenged(reply))
        case .answeredEach, .challenged: (.closed, .close(StandardReplies.internalError))
        }
    }

    private func granted(_ reply: SMTPReply?, at stage: SMTPPhase.Stage) -> Answer {
        switch self {
        case .helo, .ehlo:
            let action = Action.granted(self, reply, endsTransaction: stage.isInTransaction)
            return (.commands(.greeted), action)

        case .mail(let transaction):
            let action = Action.granted(self, reply, endsTransaction: false)
            return (.commands(.inTransaction(transaction)), action)

        case .data, .bdat:
            // DATA is asked about inside a transaction only; without one there is nothing to read.
            guard case .inTransaction(let transaction) = stage else {
                return (.closed, .close(StandardReplies.internalError))
            }
            let reception = SMTPPhase.Reception(transaction, isChunked: self == .bdat)
            return (.content(reception), .granted(self, reply, endsTransaction: false))

        case .quit:
            return (.closed, .close(reply ?? StandardReplies.closing))

        case .rcpt:
            let action = Action.granted(self, reply, endsTransaction: false)
            return (.commands(stage.recipientGranted), action)

        case .connect, .auth, .vrfy, .help, .noop, .unrecognized:
            return (.commands(stage), .granted(self, reply, endsTransaction: false))
        }
    }

    private func refused(_ reply: SMTPReply, at stage: SMTPPhase.Stage) -> Answer {
        switch self {
        case .connect, .quit, .data(hasEarlyContent: true):
            // The octets that follow a refused DATA are content: they must not run as commands.
            return (.closed, .close(reply))

        case .data(hasEarlyContent: false):
            return (.commands(.greeted), .refused(self, reply, endsTransaction: true))

        case .bdat:
            return (.dropping(SMTPPhase.Drop(reply, at: stage)), .proceed)

        case .rcpt:
            let action = Action.refused(self, reply, endsTransaction: false)
            return (.commands(stage.recipientRefused), action)

        case .helo, .ehlo, .auth, .mail, .vrfy, .help, .noop, .unrecognized:
            return (.commands(stage), .refused(self, reply, endsTransaction: false))
        }
    }
}

// MARK: - What the answer to a question on content leads to

extension SMTPPhase.ContentQuestion {
    enum Next {
        /// The transaction is over.
        case commands
        case content(SMTPPhase.Reception)
        /// The message is asked about next.
        case message
        case closed
    }

    typealias Answer = (next: Next, action: SMTPPhase.AnswerAction)

    func answered(_ outcome: SMTPOutcome, in reception: SMTPPhase.Reception) -> Answer {
        switch self {
        case .headersEnd(let isComplete):
            Self.headerAnswered(outcome.settled, isComplete: isComplete, reception)
        case .message:
            Self.messageAnswered(outcome.settled, reception.transaction)
        }
    }

    private static func headerAnswered(
        _ outcome: SMTPOutcome,
        isComplete: Bool,
        _ reception: SMTPPhase.Reception
    ) -> Answer {
        switch outcome {
        case .granted:
            return isComplete ? (.message, .askMessage) : (.content(reception), .proceed)
        case .refused(let reply):
            guard !isComplete else { return Self.messageAnswered(outcome, reception.transaction) }
            var reception = reception
            reception.refusal = reply
            return (.content(reception), .proceed)
        case .refusedThenClose(let reply):
            return (.closed, .close(reply))
        case .answeredEach, .challenged:
            return (.closed, .close(StandardReplies.internalError))
        }
    }

    private static func messageAnswered(
        _ outcome: SMTPOutcome,
        _ transaction: SMTPTransaction
    ) -> Answer {
        let count = transaction.replies
        let one: SMTPReply
        switch outcome {
        case .granted(let reply): one = reply ?? StandardReplies.messageAccepted
        case .refused(let reply): one = reply
        case .refusedThenClose(let reply):
            guard count > 1 else { return (.closed, .close(reply)) }
            let replies = Array(repeating: reply, count: count)
            return (.commands, .messageAnsweredEach(replies, closes: true))
        case .answeredEach(let replies):
            let all = transaction.isPRDR ? StandardReplies.individually(replies) : replies
            return (.commands, .messageAnsweredEach(all, closes: false))
        case .challenged:
            return (.closed, .close(StandardReplies.internalError))
        }
        guard count > 1 else { return (.commands, .messageAnswered(one)) }
        let replies = Array(repeating: one, count: count)
        return (.commands, .messageAnsweredEach(replies, closes: false))
    }
}

extension SMTPPhase.Stage {
    fileprivate func withRecipients(_ count: Int) -> Self {
        guard case .inTransaction(var transaction) = self else { return self }
        transaction.recipients = count
        return .inTransaction(transaction)
    }

    fileprivate var recipientGranted: Self {
        guard case .inTransaction(var transaction) = self else { return self }
        transaction.grants += 1
        return .inTransaction(transaction)
    }

    fileprivate var recipientRefused: Self {
        guard case .inTransaction(var transaction) = self else { return self }
        transaction.hasRefusedRecipients = true
        return .inTransaction(transaction)
    }
}

extension SMTPOutcome {
    /// The outcome with its reply taken at its word: a negative reply is no grant, 421 closes.
    var settled: Self {
        switch self {
        case .granted(let reply?) where reply.code.closes: .refusedThenClose(reply)
        case .granted(let reply?) where !reply.code.isPositive: .refused(reply)
        case .refused(let reply) where reply.code.closes: .refusedThenClose(reply)
        case .granted, .refused, .refusedThenClose, .answeredEach, .challenged: self
        }
    }
}
