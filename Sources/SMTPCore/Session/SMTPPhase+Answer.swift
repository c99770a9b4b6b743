// MARK: - Policy answered

extension SMTPPhase {
    /// What an answer means for the session; the counters are its own to move.
    enum AnswerAction: Equatable {
        /// A command was granted; the reply is policy's, or else the standard one.
        case granted(OpenQuestion, SMTPReply?, endsTransaction: Bool)
        /// A command was refused.
        case refused(OpenQuestion, SMTPReply, endsTransaction: Bool)
        /// The session is over.
        case close(SMTPReply)
        case proceed
        case askMessage(SMTPMessageFacts)
        /// The message was answered: the transaction is over.
        case messageAnswered(SMTPReply)
        case dropStale
    }

    /// Applies what policy decided.
    ///
    /// The configuration says how content is read, should this be the grant of DATA.
    mutating func answered(
        _ outcome: SMTPOutcome,
        configuration: SMTPConfiguration
    ) -> AnswerAction {
        switch consume self {
        case .asking(let question, let stage):
            let answer = question.answered(outcome, at: stage)
            switch answer.next {
            case .ready(let stage):
                self = .ready(stage)
                return answer.action

            case .receiving(let transaction):
                self = .receiving(Reception(transaction, configuration))
                return answer.action

            case .closed:
                self = .closed
                return answer.action
            }

        case .askingOnContent(.headersEnd(let isComplete), var reception):
            switch outcome.settled {
            case .granted where isComplete:
                let facts = reception.facts
                self = .askingOnContent(.message, reception)
                return .askMessage(facts)

            case .granted:
                self = .receiving(reception)
                return .proceed

            case .refused(let reply) where isComplete:
                self = .ready(.greeted)
                return .messageAnswered(reply)

            case .refused(let reply):
                reception.refusal = reply
                self = .receiving(reception)
                return .proceed

            case .refusedThenClose(let reply):
                self = .closed
                return .close(reply)
            }

        case .askingOnContent(.message, _):
            switch outcome.settled {
            case .granted(let reply):
                self = .ready(.greeted)
                return .messageAnswered(reply ?? StandardReplies.messageAccepted)

            case .refused(let reply):
                self = .ready(.greeted)
                return .messageAnswered(reply)

            case .refusedThenClose(let reply):
                self = .closed
                return .close(reply)
            }

        case .unopened:
            self = .unopened
            return .dropStale

        case .ready(let stage):
            self = .ready(stage)
            return .dropStale

        case .receiving(let reception):
            self = .receiving(reception)
            return .dropStale

        case .closed:
            self = .closed
            return .dropStale
        }
    }
}

// MARK: - What the answer to a command leads to

extension SMTPPhase.OpenQuestion {
    /// Where a command leads, without the content that it may begin.
    enum Next: Equatable {
        case ready(SMTPPhase.Stage)
        case receiving(SMTPTransaction)
        case closed
    }

    typealias Answer = (next: Next, action: SMTPPhase.AnswerAction)

    func answered(_ outcome: SMTPOutcome, at stage: SMTPPhase.Stage) -> Answer {
        switch outcome.settled {
        case .granted(let reply): self.granted(reply, at: stage)
        case .refused(let reply): self.refused(reply, at: stage)
        case .refusedThenClose(let reply): (.closed, .close(reply))
        }
    }

    private func granted(_ reply: SMTPReply?, at stage: SMTPPhase.Stage) -> Answer {
        switch self {
        case .helo, .ehlo:
            let endsTransaction = stage.isInTransaction
            return (.ready(.greeted), .granted(self, reply, endsTransaction: endsTransaction))

        case .mail(let isSMTPUTF8):
            let transaction = SMTPTransaction(isSMTPUTF8: isSMTPUTF8)
            return (
                .ready(.inTransaction(transaction)), .granted(self, reply, endsTransaction: false)
            )

        case .rcpt:
            return (.ready(stage.recipientGranted), .granted(self, reply, endsTransaction: false))

        case .data:
            // DATA is asked about inside a transaction only; without one there is nothing to read.
            guard case .inTransaction(let transaction) = stage else {
                return (.closed, .close(StandardReplies.internalError))
            }
            return (.receiving(transaction), .granted(self, reply, endsTransaction: false))

        case .quit:
            return (.closed, .close(reply ?? StandardReplies.closing))

        case .connect, .vrfy, .help, .noop, .unrecognized:
            return (.ready(stage), .granted(self, reply, endsTransaction: false))
        }
    }

    private func refused(_ reply: SMTPReply, at stage: SMTPPhase.Stage) -> Answer {
        switch self {
        case .connect, .quit, .data(hasEarlyContent: true):
            // The octets that follow a refused DATA are content: they must not run as commands.
            return (.closed, .close(reply))

        case .data(hasEarlyContent: false):
            return (.ready(.greeted), .refused(self, reply, endsTransaction: true))

        case .rcpt:
            return (.ready(stage.recipientRefused), .refused(self, reply, endsTransaction: false))

        case .helo, .ehlo, .mail, .vrfy, .help, .noop, .unrecognized:
            return (.ready(stage), .refused(self, reply, endsTransaction: false))
        }
    }
}

extension SMTPPhase.Stage {
    fileprivate var recipientGranted: Self {
        guard case .inTransaction(var transaction) = self else { return self }
        transaction.recipients += 1
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
        case .granted, .refused, .refusedThenClose: self
        }
    }
}
