import NIOCore
package import PolicyKit

/// Asks another mail server at each step of a transaction, and gives the client its replies.
///
/// See the folder's README for arguments and replies.
package struct QueueSMTPProxy: MailHook, RcptHook, QueueHook, ResetTransactionHook, DisconnectHook {
    package static let name = "queue/smtp-proxy"

    private let hops: NextHops
    private let transactions: ProxyTransactions
    private let route: [ServerAddress]
    private let time: Duration
    /// What the hop accepts is accepted, and no other plugin is asked.
    private let hopDecides: Bool

    package init(configuration: PluginConfiguration) throws {
        self.route = try [ServerAddress](hopsOf: configuration)
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .seconds(1)...(.seconds(600))),
            default: .seconds(60)
        )
        self.hopDecides = configuration.argument(
            "accept",
            as: .choice(["ask": false, "hop": true]),
            default: false
        )
        let hold = configuration.argument(
            "hold",
            as: .duration(in: .seconds(1)...(.seconds(3600))),
            default: .seconds(60)
        )
        let settings = NextHops.Settings(configuration, tls: .may)
        self.hops = NextHops(configuration, .smtp, settings)
        self.transactions = ProxyTransactions(
            loop: configuration.shared.eventLoop,
            limit: settings.limits.connections,
            time: TimeAmount(hold)
        )
    }

    package func subscription(at hook: Hook) -> Subscription? {
        switch hook {
        case .rcpt: Subscription([.recipients])
        case .queue:
            Subscription([.wholeMessage, .recipients], extensions: [.futureRelease, .priority])

        default: Subscription()
        }
    }

    package func stop() async {
        self.transactions.stop()
        await self.hops.stopped()
    }

    package func mail(_ event: MailEvent) async throws -> Answer {
        let question = try Question(event, event.sender, [], self.time)
        let outcome = try await self.asked(question) { dialogue in
            self.transactions.keep(dialogue, question.session, question.id)
            return dialogue.mailReply
        }
        switch outcome {
        case .answer(let reply?): return self.accepted(reply, [250])
        case .answer(nil): return .declined
        case .failed(let answer): return answer
        }
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        let sender = event.transaction.sender
        let question = try Question(event, sender, event.recipients, self.time)
        // Its own envelope checks the recipient's octets.
        let asked = try SMTPEnvelope(sender, [event.recipient], size: nil, event.transaction)
        let recipient = event.recipient.address.octets
        let outcome = try await self.asked(question) { dialogue in
            let reply = try await dialogue.ask(
                recipient,
                notification: asked.recipientNotifications[recipient] ?? [],
                until: question.deadline
            )
            // After 421 the connection closes by itself.
            if reply.code != 421 {
                self.transactions.keep(dialogue, question.session, question.id)
            }
            return reply
        }
        switch outcome {
        case .answer(let reply) where reply.isPositive: return self.accepted(reply, [250, 251])
        case .answer(let reply):
            event.info("fail, \(reply.code)")
            return NextHopAnswer.refusal(reply)

        case .failed(let answer): return answer
        }
    }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        let message = try event.message
        let question = try Question(event, event.transaction.sender, event.recipients, self.time)
        let outcome = try await self.asked(question) { dialogue in
            let refused = dialogue.refused(of: question.envelope)
            let some = refused.count < question.envelope.recipients.count
            guard refused.isEmpty || some && question.envelope.hearsEach else {
                dialogue.release()
                return (refused, SMTPNextHop.Opening<NextHopTransaction>?.none)
            }
            return (refused, try await dialogue.contentWanted(message, until: question.deadline))
        }
        switch outcome {
        case .failed(let answer): return answer
        case .answer((let refused, nil)): return NextHopAnswer.refusal(of: refused)
        case .answer((_, .ended(let delivery)?)):
            return NextHopAnswer.answer(.refusal(delivery))

        case .answer((let refused, .ready(let transaction)?)):
            return try await self.send(message, transaction, question, refused, event)
        }
    }

    package func resetTransaction(_ event: ResetTransactionEvent) async throws {
        self.transactions.end(event.session.id, event.transaction.id)
    }

    package func disconnect(_ event: DisconnectEvent) async throws {
        self.transactions.endSession(event.session.id)
    }

    /// Sends the content, once.
    private func send(
        _ message: Message,
        _ transaction: NextHopTransaction,
        _ question: Question,
        _ refused: [NextHopRefusal],
        _ event: QueueEvent
    ) async throws -> Answer {
        let outcome: NextHopOutcome
        do {
            outcome = try await transaction.send(message, until: question.deadline)
        } catch let error as SMTPForwardError {
            try Task.checkCancellation()
            // The hop may have the message: it is not sent again.
            self.hops.failed(transaction.address, error)
            event.error("\(transaction.address): \(error)")
            return NextHopAnswer.answer(.error(error))
        }
        guard case .accepted(let reply, _, _) = outcome else {
            event.info("fail, \(transaction.address) refused the content")
            return NextHopAnswer.answer(.refusal(.attempted(outcome)))
        }
        let recipients = event.recipients
        for refusal in refused {
            for recipient in recipients where recipient.address.octets == refusal.recipient {
                event.refuseRecipient(recipient, NextHopAnswer.refusal(refusal.reply))
            }
        }
        event.info("\(transaction.address): \(reply.code)")
        return NextHopAnswer.acceptance(reply)
    }

    private func accepted(_ reply: SMTPServerReply, _ codes: Set<Int>) -> Answer {
        self.hopDecides ? NextHopAnswer.acceptance(reply, codes: codes) : .declined
    }
}

extension QueueSMTPProxy {
    /// What a question of the frontend says of the transaction.
    private struct Question {
        /// The session's id.
        let session: String
        /// The transaction's id.
        let id: String
        /// With the recipients that were granted so far.
        let envelope: SMTPEnvelope
        let deadline: NIODeadline
        /// Writes a line into the worker's log.
        let logFailure: (ServerAddress, SMTPForwardError) -> Void

        init<Stage: TransactionStage>(
            _ event: HookEvent<Stage>,
            _ sender: Sender,
            _ recipients: [Recipient],
            _ time: Duration
        ) throws {
            self.session = event.session.id
            self.id = event.transaction.id
            let size = sender.params.first { $0.keyword == "SIZE" }?.value?.string
            self.envelope = try SMTPEnvelope(
                sender,
                recipients,
                size: size.flatMap { Int64($0) },
                event.transaction
            )
            self.deadline = event.deadline(within: time)
            let logger = event.logger
            self.logFailure = { address, error in
                logger.warning(
                    "a next hop failed",
                    metadata: ["hop": "\(address)", "error": "\(error)"]
                )
            }
        }
    }

    private enum Outcome<Value> {
        case answer(Value)
        /// There is no hop to ask, or it refuses the sender.
        case failed(Answer)
    }

    /// Asks a hop that knows the transaction so far.
    ///
    /// If the connection that was kept has ended meanwhile, or this worker has none, the transaction is begun
    /// anew and `body` asks there: before the content nothing is doubled by that. `body` keeps what is to be
    /// kept.
    private func asked<Value>(
        _ question: Question,
        _ body: (inout NextHopDialogue) async throws -> Value
    ) async throws -> Outcome<Value> {
        let kept = self.transactions.enter(question.session, question.id)
        defer { self.transactions.leave() }
        if var dialogue = kept {
            if dialogue.serves(question.envelope) {
                do {
                    try await dialogue.catchUp(question.envelope, until: question.deadline)
                    return .answer(try await body(&dialogue))
                } catch let error as SMTPForwardError {
                    try Task.checkCancellation()
                    guard error.code == .closed else {
                        return self.failed(dialogue, error, question)
                    }
                }
            } else {
                dialogue.release()
            }
        }
        self.transactions.makeRoom()
        var passedOver: [NextHops.PassedOver] = []
        let opened = try await self.hops.begin(
            self.route,
            question.envelope.withoutRecipients,
            until: question.deadline,
            &passedOver
        )
        for (address, error) in passedOver { question.logFailure(address, error) }
        switch opened {
        case .failed(let address, let reason):
            if case .error(let error) = reason { question.logFailure(address, error) }
            return .failed(NextHopAnswer.answer(reason))

        case .ready(var dialogue):
            do {
                try await dialogue.catchUp(question.envelope, until: question.deadline)
                return .answer(try await body(&dialogue))
            } catch let error as SMTPForwardError {
                try Task.checkCancellation()
                return self.failed(dialogue, error, question)
            }
        }
    }

    private func failed<Value>(
        _ dialogue: NextHopDialogue,
        _ error: SMTPForwardError,
        _ question: Question
    ) -> Outcome<Value> {
        self.hops.failed(dialogue.address, error)
        question.logFailure(dialogue.address, error)
        return .failed(NextHopAnswer.answer(.error(error)))
    }
}

extension NextHopDialogue {
    /// Tells the hop of those recipients that it has not heard of.
    fileprivate mutating func catchUp(
        _ envelope: SMTPEnvelope,
        until deadline: NIODeadline
    ) async throws {
        for recipient in envelope.recipients where self.replies[recipient] == nil {
            let reply = try await self.ask(
                recipient,
                notification: envelope.recipientNotifications[recipient] ?? [],
                until: deadline
            )
            guard reply.code != 421 else { throw SMTPForwardError(.closed, "421 to RCPT") }
        }
    }

    /// The recipients of `envelope` that the hop refused.
    fileprivate func refused(of envelope: SMTPEnvelope) -> [NextHopRefusal] {
        envelope.recipients.compactMap { recipient in
            self.replies[recipient].flatMap { reply in
                reply.isPositive ? nil : NextHopRefusal(recipient: recipient, reply: reply)
            }
        }
    }
}

extension SMTPEnvelope {
    fileprivate var withoutRecipients: Self {
        var envelope = self
        envelope.recipients = []
        envelope.recipientNotifications = [:]
        return envelope
    }
}
