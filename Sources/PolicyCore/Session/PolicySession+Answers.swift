import PolicyProtocol
package import SMTPCore

// MARK: - Being answered

extension PolicySession {
    /// All pools have spoken, or none had to.
    mutating func decided(
        _ decision: PolicyDecision,
        at hook: Hook,
        _ now: UInt64,
        _ actions: inout [Action]
    ) {
        let delayMS = max(decision.delayMS, self.leastDelayMS(of: decision, at: hook))
        guard delayMS > 0 else { return self.apply(decision, at: hook, now, &actions) }
        actions.append(.hold(milliseconds: delayMS))
        self.decision = decision
        self.phase = .held(hook)
    }

    /// A failed login is answered late, so that a client can guess few passwords a minute.
    private func leastDelayMS(of decision: PolicyDecision, at hook: Hook) -> Int64 {
        guard hook == .auth else { return 0 }
        return switch decision.outcome {
        case .verdict(.ok, _), .verdict(.done, _), .failed, .spoolFailed: 0
        case .verdict, .undecided: self.failedLoginDelayMS
        }
    }

    /// The reply was held back for as long as a worker wanted.
    package mutating func delayPassed(now: UInt64, _ actions: inout [Action]) {
        guard case .held(let hook) = self.phase else { return }
        self.apply(self.decision, at: hook, now, &actions)
    }

    private mutating func apply(
        _ decision: PolicyDecision,
        at hook: Hook,
        _ now: UInt64,
        _ actions: inout [Action]
    ) {
        if hook.isOfMessage {
            guard let outcome = self.messageHookDecided(decision, at: hook, &actions) else {
                return self.askMessageHook(hook.nextOfMessage, now, &actions)
            }
            return self.answer(outcome, decision, at: hook, &actions)
        }
        if hook == .auth, decision.isDone, let challenge = self.exchange?.challenge {
            let outcome = SMTPOutcome.challenged(SMTPReply.challenge(challenge))
            return self.answer(outcome, decision, at: hook, &actions)
        }
        let outcome = SMTPEventMapping.outcome(
            of: decision,
            at: hook,
            in: self.smtp,
            allowsUTF8: self.allowsUTF8
        )
        self.settle(outcome, at: hook, &actions)
        self.answer(outcome, decision, at: hook, &actions)
    }

    /// A refusal of the frontend's own, without asking a pool.
    mutating func refuse(_ reply: SMTPReply, at hook: Hook, _ actions: inout [Action]) {
        let outcome = SMTPOutcome.refused(reply)
        self.settle(outcome, at: hook, &actions)
        self.answer(outcome, .undecided, at: hook, &actions)
    }

    /// What the answer to a command does to the session, before its reply goes out.
    private mutating func settle(
        _ outcome: SMTPOutcome,
        at hook: Hook,
        _ actions: inout [Action]
    ) {
        let isGranted = outcome.isGrant
        switch self.proposal {
        case .none: break
        case .hello(let before):
            if isGranted { self.facts.forgetForwarded() } else { self.facts.hello = before }
        case .sender(let sender):
            self.transaction?.isGranted = isGranted
            // A worker may have replaced the sender already: what MAIL said beside the address stays.
            if !isGranted || !(self.transaction?.hasSender ?? false) {
                self.transaction?.sender = sender
            } else {
                self.transaction?.sender?.parameters = sender.parameters
            }
        case .login(let credentials, _):
            guard isGranted else { break }
            self.facts.login = LoginFacts(
                mechanism: credentials.mechanism.rawValue,
                user: credentials.user,
                wasRelay: self.facts.isRelay
            )
            self.facts.isRelay = true
        case .recipient: self.transaction?.candidateAnswered(isGranted: isGranted)
        }
        if hook == .data, isGranted {
            self.content = .arriving
            actions.append(.beginMessage)
        }
    }

    /// A call of its own would copy the decision.
    @inline(__always)
    private mutating func answer(
        _ outcome: SMTPOutcome,
        _ decision: PolicyDecision,
        at hook: Hook,
        _ actions: inout [Action]
    ) {
        if let reply = outcome.refusal, !decision.isSilent(at: hook) {
            var recipient: [UInt8]?
            if case .recipient(let octets) = self.proposal { recipient = octets }
            actions.append(
                .refused(
                    Refusal(hook: hook, decision: decision, reply: reply, recipient: recipient)
                )
            )
        }
        self.replyOfEach = nil
        if case .answeredEach(let replies) = outcome { self.tellRefusals(replies, &actions) }
        self.proposal = .none
        self.decision = decision
        self.phase = .answered(hook, isRefusal: !outcome.isGrant)
        let recipients = self.transaction?.countedRecipients ?? 0
        actions.append(.answer(outcome, at: hook, recipients: recipients))
    }

    /// The message was answered recipient by recipient: for the log.
    ///
    /// Apart from `answer`, which is small without it.
    @inline(never)
    private mutating func tellRefusals(_ replies: [SMTPReply], _ actions: inout [Action]) {
        self.replyOfEach = replies.first { $0.code.isPositive } ?? replies.first
        for refusal in self.transaction?.refusals ?? [] {
            let decision = PolicyDecision(
                outcome: .verdict(refusal.verdict, refusal.worded),
                decider: refusal.decider ?? PolicyDecision.Decider()
            )
            actions.append(
                .refused(
                    Refusal(
                        hook: refusal.hook,
                        decision: decision,
                        reply: refusal.reply,
                        recipient: refusal.recipient
                    )
                )
            )
        }
    }

    /// SMTP has the outcome and does this with it.
    package mutating func replied(by action: SMTPAction, _ actions: inout [Action]) {
        guard case .answered(let hook, let isRefusal) = self.phase else { return }
        self.phase = .idle
        let decision = self.decision
        // A challenge decides nothing: no observer is told, and what it says is in no trace.
        if hook == .auth, decision.isDone { return }
        if decision.isSilent(at: hook), case .reply(let reply) = action {
            actions.append(.commandUnknown(reply))
        }
        let reply = self.replyOfEach ?? action.sentReply
        if let reply, !decision.isUndecided, decision.wasAsked, self.demand.isTraceWanted {
            self.trace.decided(reply)
            self.questionTrace.decided(reply)
        }
        self.notifyDecision(hook, decision, isRefusal: isRefusal, reply: reply, &actions)
        if hook == .mail, isRefusal {
            self.endTransaction("refused", decider: nil, reply: reply, &actions)
        } else if case .resetThenReply(let first) = action {
            let reply = reply ?? first
            let isTaken = hook.isOfMessage && !isRefusal && reply.code.isPositive
            self.endTransaction(
                hook == .helo || hook == .ehlo ? "hello" : "done",
                decider: isTaken ? decision.decider : nil,
                reply: reply,
                &actions
            )
        }
    }

    /// SMTP ended the transaction by itself: RSET, or a message that is refused without asking.
    package mutating func transactionReset(_ reply: SMTPReply, _ actions: inout [Action]) {
        let reason = reply.code.isPositive ? "rset" : "done"
        self.endTransaction(reason, decider: nil, reply: reply, &actions)
    }

    /// The client is gone or the frontend stops: nothing waits for the answer any more.
    package mutating func cancelQuestion(_ actions: inout [Action]) {
        switch self.phase {
        case .asking(let question), .judged(let question, _), .replacing(let question, _, _):
            if case .asking = self.phase { actions.append(.cancel(pool: question.pool)) }
            if !self.route[question.pool].shadows.isEmpty { actions.append(.shadowsDone(nil)) }
        case .idle, .storing, .held, .answered: break
        }
        self.phase = .idle
        self.proposal = .none
    }
}

extension SMTPOutcome {
    /// Whether it grants, to one recipient at least.
    var isGrant: Bool {
        switch self {
        case .granted: true
        case .answeredEach(let replies): replies.contains { $0.code.isPositive }
        case .refused, .refusedThenClose, .challenged: false
        }
    }

    /// The reply that refuses; `nil` for a grant.
    package var refusal: SMTPReply? {
        switch self {
        case .granted, .challenged: nil
        case .refused(let reply), .refusedThenClose(let reply): reply
        // Each recipient's refusal is told for itself.
        case .answeredEach: nil
        }
    }
}

extension SMTPAction {
    /// The reply that goes out with this action; `nil` if none does.
    package var sentReply: SMTPReply? {
        switch self {
        case .reply(let reply), .resetThenReply(let reply), .replyThenClose(let reply),
            .startTLS(let reply):
            reply
        case .needOctets, .contentAppended, .proceed, .ask, .awaitAnswer, .clientNamed, .forwarded,
            .dropStale, .closed:
            nil
        }
    }
}
