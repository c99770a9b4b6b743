package import PolicyProtocol
import SMTPCore

// MARK: - Judge, edit, commit

extension PolicySession {
    /// Checks a verdict against this session and, if it holds, applies its notes and actions.
    ///
    /// What needs a replacement message is applied once that has been taken over.
    ///
    /// - Returns: What is wrong with it; nothing has been applied then.
    package mutating func judge(_ verdict: PolicyVerdict) -> ProtocolViolation? {
        guard case .asking(let asked) = self.phase else { return nil }
        let hook = verdict.hook ?? asked.writtenHook
        // What cannot be asked twice is begun by a `progress` that says so.
        guard hook == asked.hook || hook != .queue && self.wentAhead(to: hook) else {
            return ProtocolViolation(.hook_not_reached, "hook: \(hook.rawValue)")
        }
        let violation = verdict.violation(
            for: hook,
            hasTransaction: self.isInTransaction,
            allowsUTF8: self.allowsUTF8
        )
        if let violation { return violation }
        guard verdict.hasEffects, case .asking(let question) = self.phase else { return nil }
        if verdict.verdict == .done, hook == .auth, !self.takesChallenge {
            return ProtocolViolation(.challenge_not_allowed, "actions: no step is left")
        }
        var edit = self.newEdit(at: hook)
        if let violation = edit.apply(verdict) { return violation }
        guard edit.replacementPath == nil else {
            self.phase = .judged(question, edit)
            return nil
        }
        self.phase = .asking(self.commit(edit, question))
        return nil
    }

    /// Whether the client asked for UTF-8, so that the reply may have it (RFC 6531 §3.7.4).
    var allowsUTF8: Bool { self.isVerifyUTF8 || self.transaction?.isSMTPUTF8 ?? false }

    /// Whether the login that is asked about has another step.
    private var takesChallenge: Bool {
        guard case .login(let credentials, _) = self.proposal,
            case .message(_, let step) = credentials.proof
        else { return false }
        return step < PolicyVerdict.maximumLoginSteps
    }

    /// A copy of the session's state for a verdict's notes and actions.
    package func newEdit(at hook: Hook) -> PolicyEdit {
        PolicyEdit(
            notes: self.notes,
            transaction: self.transaction,
            hook: hook,
            allowsUTF8: self.allowsUTF8,
            maximumRecipients: self.smtp.limits.maximumRecipients,
            maximumDelayMS: self.maximumDelayMS
        )
    }

    /// - Returns: The question, with the delay that the verdict asked for.
    private mutating func commit(_ edit: PolicyEdit, _ question: Question) -> Question {
        self.notes = edit.notes
        if self.isInTransaction { self.transaction = edit.transaction }
        if let relay = edit.isRelay { self.facts.isRelay = relay }
        if let name = edit.clientName { self.facts.clientName = name }
        if let (challenge, state) = edit.challenge {
            self.exchange = LoginExchange(pool: question.pool, challenge: challenge, state: state)
        }
        var question = question
        question.delayMS += edit.delayMS
        return question
    }
}

// MARK: - Replacement messages

extension PolicySession {
    /// What became of the file that a worker left.
    package enum Replacement: Equatable {
        case taken(ReplacedMessage)
        /// It is not what a worker may leave; why, for the log.
        case refused(String)
        /// The frontend's own disk or descriptors failed.
        case failed(SpoolFailure)
    }

    /// - Returns: Whether the copy is the message now; if not, it is to be removed.
    package mutating func replacementTaken(
        _ replacement: Replacement,
        now: UInt64,
        _ actions: inout [Action]
    ) -> Bool {
        guard case .replacing(let question, var edit, let outcome) = self.phase else {
            return false
        }
        switch replacement {
        case .taken(let message):
            if let violation = edit.messageReplaced(by: message) {
                self.refuseReplacement(violation, edit, outcome, question, now, &actions)
                return false
            }
            let committed = self.commit(edit, question)
            self.readyPools.removeAll(keepingCapacity: true)
            self.apply(outcome, committed, now, &actions)
            return true
        case .refused(let reason):
            let violation = ProtocolViolation(.file_refused, "actions[0].path: \(reason)")
            self.refuseReplacement(violation, edit, outcome, question, now, &actions)
            return false
        case .failed(let failure):
            // What the worker put in its place is not there, and the message as it came is not what
            // policy wants. The message stays with its client; the failure policy is not asked.
            if !self.route[question.pool].shadows.isEmpty {
                actions.append(.shadowsDone(.failed(reason: "message_lost", worker: nil)))
            }
            self.messageLost(failure, question, now, &actions)
            return false
        }
    }

    /// The worker left a file that is not taken, or cannot have what follows it done: its verdict is
    /// invalid as a whole.
    private mutating func refuseReplacement(
        _ violation: ProtocolViolation,
        _ edit: PolicyEdit,
        _ outcome: PoolOutcome,
        _ question: Question,
        _ now: UInt64,
        _ actions: inout [Action]
    ) {
        guard case .answered(let verdict, let worker) = outcome else { return }
        let refusal = ReplacementRefusal(
            pool: question.pool,
            hook: question.hook,
            worker: worker,
            plugin: verdict.plugin,
            path: edit.replacementPath ?? "",
            violation: violation,
            eventID: verdict.id
        )
        actions.append(.replacementRefused(refusal))
        let failure = PoolOutcome.failed(reason: "invalid_verdict", worker: worker)
        self.apply(failure, question, now, &actions)
    }
}
