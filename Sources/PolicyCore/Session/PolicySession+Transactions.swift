import JSON
import PolicyProtocol
package import SMTPCore

// MARK: - The message

extension PolicySession {
    /// The header section is complete: its octets without the empty line, where the body begins, and
    /// the octets of the message so far.
    package mutating func headerRead(_ octets: [UInt8], bodyOffset: Int, size: Int) {
        self.transaction?.headerRead(octets)
        self.transaction?.bodyOffset = bodyOffset
        self.transaction?.size = size
    }

    /// The message is complete.
    ///
    /// - Parameters:
    ///   - size: Its octets.
    ///   - date: The time as RFC 5322 §3.3 writes it.
    ///   - failure: Why it could not be written while it arrived; `nil` if it was, or is in memory.
    package mutating func messageRead(size: Int, date: [UInt8], failure: SpoolFailure?) {
        self.transaction?.size = size
        self.spoolFailure = failure
        self.content = .complete
        self.receivedText = nil
        self.date = date
    }
}

// MARK: - Transactions

extension PolicySession {
    /// Begins the transaction that MAIL asks for; it counts once MAIL is granted.
    mutating func transactionProposed(_ parameters: MailParameters, nowMS: Int64) {
        self.transactionCount += 1
        self.transaction = MailTransaction(
            id: "\(self.facts.id).\(self.transactionCount)",
            parameters,
            isHeardEach: self.smtp.isLMTP || parameters.isPRDR,
            nowMS: nowMS
        )
    }

    /// The transaction is over: observers are told once, and the log.
    ///
    /// A transaction whose MAIL was refused, or not answered yet, never began: observers are not told
    /// that it ended.
    mutating func endTransaction(
        _ reason: String,
        decider: PolicyDecision.Decider?,
        reply: SMTPReply?,
        observed observedReason: String? = nil,
        _ actions: inout [Action]
    ) {
        guard !self.isTransactionOver, let id = self.transaction?.id else { return }
        self.isTransactionOver = true
        let isGranted = self.transaction?.isGranted ?? false
        // A message that `done` answered is not queued.
        let isQueued = decider != nil && !self.decision.isDone
        if isQueued, let reply, self.demand.observed.contains(.queue_post) {
            self.notify(.queue_post, &actions) {
                EventArguments.queued(id: id, reply: reply, into: &$0)
            }
        }
        if isGranted, self.demand.observed.contains(.reset_transaction) {
            self.notify(.reset_transaction, &actions) {
                EventArguments.reason(observedReason ?? reason, into: &$0)
            }
        }
        let end = TransactionEnd(
            id: id,
            sender: self.transaction?.sender?.address ?? [],
            recipients: self.transaction?.recipients ?? [],
            candidate: self.transaction?.candidate,
            reason: reason,
            decider: decider,
            reply: reply,
            hadMessage: self.content != .none
        )
        actions.append(.transactionOver(end))
    }

    /// Observers and the log have been told that the transaction is over.
    package mutating func forgetTransaction() {
        self.isTransactionOver = false
        self.transaction = nil
        self.content = .none
        self.readyPools.removeAll(keepingCapacity: true)
        self.spoolFailure = nil
        self.receivedText = nil
        self.notes.resetTransaction()
        self.facts.forgetForwarded()
    }

    /// The session is over, whatever way it went.
    ///
    /// `reply` is the one after which the frontend closed it, `nil` when the client ended it;
    /// `durationMS` are the milliseconds since the session began.
    package mutating func sessionEnded(
        _ end: SessionEnd,
        reply: SMTPReply?,
        durationMS: Int64,
        _ actions: inout [Action]
    ) {
        self.cancelQuestion(&actions)
        self.endTransaction(
            end.rawValue,
            decider: nil,
            reply: reply,
            observed: "disconnect",
            &actions
        )
        if self.demand.observed.contains(.disconnect) {
            self.notify(.disconnect, &actions) {
                EventArguments.disconnect(reason: end.rawValue, durationMS: durationMS, into: &$0)
            }
        }
        actions.append(.sessionOver(end, durationMS: durationMS))
    }
}

// MARK: - Telling

extension PolicySession {
    /// Tells every observer of `hook`; nothing waits for them.
    mutating func notify(
        _ hook: Hook,
        _ actions: inout [Action],
        args: (inout JSONWriter) -> Void
    ) {
        var writer = JSONWriter()
        writer.beginObject()
        args(&writer)
        writer.endObject()
        actions.append(.notify(hook, args: writer.octets))
    }

    /// Tells observers of `deny` and `ok` how a question ended.
    mutating func notifyDecision(
        _ hook: Hook,
        _ decision: PolicyDecision,
        isRefusal: Bool,
        reply: SMTPReply?,
        _ actions: inout [Action]
    ) {
        let notification: Hook = isRefusal ? .deny : .ok
        guard decision.wasAsked, self.demand.observed.contains(notification) else { return }
        let verdict: Verdict =
            switch decision.outcome {
            case .verdict(let verdict, _): verdict
            case .undecided: .declined
            case .failed(.reject, _): isRefusal ? .deny : .declined
            case .failed: isRefusal ? .denysoft : .declined
            case .spoolFailed: .denysoft
            }
        let (question, trace) = (self.arguments.octets, self.questionTrace.text)
        self.notify(notification, &actions) {
            EventArguments.decided(
                hook,
                question: question,
                verdict: verdict,
                decision: decision,
                reply: reply,
                trace: trace,
                into: &$0
            )
        }
    }
}
