import JSON
import PolicyProtocol
import SMTPCore

// MARK: - Transactions

extension PolicyConversation {
    /// Begins the transaction that MAIL asks for; it counts once MAIL is granted.
    func transactionProposed(isSMTPUTF8: Bool) {
        self.transactionCount += 1
        self.transaction = MailTransaction(
            id: "\(self.facts.id).\(self.transactionCount)",
            isSMTPUTF8: isSMTPUTF8
        )
        self.notes.resetTransaction()
    }

    /// MAIL was refused: the transaction never was, and nobody is told that it ended.
    func transactionRefused(reply: SMTPReply) {
        self.logTransaction("refused", decider: nil, reply: reply)
        self.transaction = nil
        self.notes.resetTransaction()
    }

    /// The transaction is over; tells those who want to know, once.
    ///
    /// `decider` is who took the message; `nil` if nobody did. `end` is the reason in the log, where
    /// that says more.
    func transactionEnded(
        reason: String,
        decider: PolicyDecision.Decider?,
        reply: SMTPReply?,
        end: SessionEnd? = nil
    ) {
        guard self.transaction != nil else { return }
        if decider != nil, let id = self.transaction?.id, let reply,
            self.server.isObserved(.queue_post)
        {
            self.notify(.queue_post) { EventArguments.queued(id: id, reply: reply, into: &$0) }
        }
        if self.server.isObserved(.reset_transaction) {
            self.notify(.reset_transaction) { EventArguments.reason(reason, into: &$0) }
        }
        self.logTransaction(end?.rawValue ?? reason, decider: decider, reply: reply)
        self.message?.discard()
        self.message = nil
        self.isMessageComplete = false
        self.transaction = nil
        self.notes.resetTransaction()
    }

    private func logTransaction(
        _ reason: String,
        decider: PolicyDecision.Decider?,
        reply: SMTPReply?
    ) {
        guard let transaction = self.transaction else { return }
        self.summary.transactionEnded(
            transaction,
            SessionSummary.TransactionEnd(
                reason: reason,
                decider: decider,
                reply: reply,
                octets: self.message == nil ? nil : self.handler?.messageOctets
            ),
            facts: self.facts,
            logger: self.server.logger
        )
    }

    /// A question was answered with a refusal.
    ///
    /// `recipient` is what RCPT asked about; `nil` at other hooks.
    func refused(at hook: Hook, _ decision: PolicyDecision, reply: SMTPReply, recipient: [UInt8]?) {
        self.summary.refused(
            at: hook,
            decision,
            reply: reply,
            recipient: recipient,
            in: self.transaction?.id,
            facts: self.facts,
            log: (self.server.logger, self.server.nowMS)
        )
    }

    /// SMTP itself refused a command; `line` is what the client sent.
    func commandRefused(_ reply: SMTPReply, line: some Collection<UInt8>) {
        self.summary.refused(
            reply,
            line: line,
            in: self.transaction?.id,
            facts: self.facts,
            log: (self.server.logger, self.server.nowMS)
        )
    }

    /// The session is over, whatever way it went.
    func sessionEnded(_ end: SessionEnd, counters: AbuseMeter) {
        self.cancelQuestion()
        let reply = self.summary.closingReply
        self.transactionEnded(reason: "disconnect", decider: nil, reply: reply, end: end)
        let duration = self.server.nowMS - self.openedMS
        if self.server.isObserved(.disconnect) {
            self.notify(.disconnect) {
                EventArguments.disconnect(reason: end.rawValue, durationMS: duration, into: &$0)
            }
        }
        self.summary.sessionEnded(
            self.facts,
            end: end,
            durationMS: duration,
            counters: counters,
            logger: self.server.logger
        )
    }

    // MARK: - Telling

    /// Tells every observer of `hook`; nobody waits.
    func notify(_ hook: Hook, args: (inout JSONWriter) -> Void) {
        var writer = JSONWriter()
        writer.beginObject()
        args(&writer)
        writer.endObject()
        for pool in self.route {
            pool.notify(hook, from: self, args: writer.octets)
            for shadow in pool.shadows { shadow.notify(hook, from: self, args: writer.octets) }
        }
    }

    /// Tells observers of `deny` and `ok` how a question ended.
    func notifyDecision(
        _ hook: Hook,
        _ decision: PolicyDecision,
        isRefusal: Bool,
        reply: SMTPReply?
    ) {
        let notification: Hook = isRefusal ? .deny : .ok
        guard decision.wasAsked, self.server.isObserved(notification) else { return }
        var verdict: Verdict = isRefusal ? .denysoft : .declined
        if case .verdict(let said, _) = decision.outcome { verdict = said }
        self.notify(notification) {
            EventArguments.decided(
                hook,
                question: self.arguments.octets,
                verdict: verdict,
                decision: decision,
                reply: reply,
                trace: self.questionTrace.text,
                into: &$0
            )
        }
    }
}
