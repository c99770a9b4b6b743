import PolicyProtocol

// MARK: - From pool to pool

extension PolicySession {
    /// Asks the next pool of the route that has a part in the question; decides when there is none.
    mutating func askNextPool(_ question: Question, _ now: UInt64, _ actions: inout [Action]) {
        var question = question
        let end = question.hook == .auth ? self.lastLoginPool : self.route.count
        while question.pool < end {
            let pool = self.route[question.pool]
            let isAsked = pool.isAsked(question.hook)
            guard isAsked || pool.isShadowed(at: question.hook) else {
                question.pool += 1
                continue
            }
            if let failure = self.spoolFailure {
                return self.messageLost(failure, question, now, &actions)
            }
            question.ahead = self.hooksAhead(of: question.hook, in: pool)
            guard !self.mustStoreMessage(for: question, in: pool) else {
                self.phase = .storing(question)
                actions.append(.storeMessage(pool: question.pool))
                return
            }
            if !pool.shadows.isEmpty {
                actions.append(.showShadows(pool: question.pool, hook: question.hook))
            }
            guard isAsked else {
                actions.append(.shadowsDone(.passedOver))
                question.pool += 1
                continue
            }
            guard question.hook != .queue || !self.isHeld || !pool.mayReleaseEarly else {
                // A worker has come since MAIL that might release the message at once.
                let failure = PoolOutcome.failed(reason: "no_worker", worker: nil)
                return self.apply(failure, question, now, &actions)
            }
            question.wasAsked = true
            self.phase = .asking(question)
            actions.append(.submit(pool: question.pool, hook: question.hook))
            return
        }
        self.decide(.undecided, PolicyDecision.Decider(), question, now, &actions)
    }

    /// Behind the last pool that is asked about the login: the one that gave the challenge goes on alone.
    private var lastLoginPool: Int { self.exchange.map { $0.pool + 1 } ?? self.route.count }

    /// Whether workers of the pool need the message at the question, and cannot read it yet.
    private func mustStoreMessage(for question: Question, in pool: PoolProfile) -> Bool {
        // A worker that is ready by the time that the event is written may need the message.
        self.content == .complete
            && (!pool.hasReadyWorker
                || pool.needsMessage(at: question.hook, ahead: question.ahead))
            && !self.readyPools.contains(question.pool)
    }

    /// The message is in a file that the pool's workers can read, or will never be.
    package mutating func messageStored(
        _ failure: SpoolFailure?,
        now: UInt64,
        _ actions: inout [Action]
    ) {
        guard case .storing(let question) = self.phase else { return }
        if let failure { return self.messageLost(failure, question, now, &actions) }
        self.readyPools.append(question.pool)
        self.askNextPool(question, now, &actions)
    }

    /// The message cannot be written or read by the frontend (protocol/failure.md, `message_lost`).
    mutating func messageLost(
        _ failure: SpoolFailure,
        _ question: Question,
        _ now: UInt64,
        _ actions: inout [Action]
    ) {
        actions.append(.messageLost(pool: question.pool, hook: question.hook, failure))
        self.decide(.spoolFailed(failure), PolicyDecision.Decider(), question, now, &actions)
    }
}

// MARK: - A pool is done

extension PolicySession {
    /// The pool is done with the question, one way or the other.
    ///
    /// `peerUserID` is the uid of the worker that answered, `.max` if none did; `now` monotonic
    /// nanoseconds.
    package mutating func poolDone(
        _ outcome: PoolOutcome,
        peerUserID: UInt32,
        now: UInt64,
        _ actions: inout [Action]
    ) {
        switch self.phase {
        case .asking(let question): self.apply(outcome, question, now, &actions)
        case .judged(let question, let edit):
            guard let path = edit.replacementPath else { return }
            self.phase = .replacing(question, edit, outcome)
            actions.append(.takeReplacement(path: path, pool: question.pool, owner: peerUserID))
        case .idle, .storing, .replacing, .held, .answered: break
        }
    }

    /// Decides, or asks the next pool.
    mutating func apply(
        _ outcome: PoolOutcome,
        _ question: Question,
        _ now: UInt64,
        _ actions: inout [Action]
    ) {
        let pool = self.route[question.pool]
        if !pool.shadows.isEmpty { actions.append(.shadowsDone(outcome)) }
        if self.demand.isTraceWanted { self.record(outcome, question, pool, now) }
        var question = question
        switch outcome {
        case .answered(let verdict, let worker) where verdict.verdict != .declined:
            let decider = PolicyDecision.Decider(
                pool: pool.name,
                worker: worker,
                plugin: verdict.plugin
            )
            if !verdict.actions.isEmpty { self.transaction?.refused(by: decider) }
            let decision = PolicyDecision.Outcome.verdict(verdict.verdict, verdict.reply)
            return self.decide(decision, decider, question, now, &actions)
        case .answered(let verdict, let worker) where !verdict.actions.isEmpty:
            let decider = PolicyDecision.Decider(
                pool: pool.name,
                worker: worker,
                plugin: verdict.plugin
            )
            self.transaction?.refused(by: decider)
            guard self.transaction?.isSettledByRefusals ?? false,
                let worst = self.transaction?.worstRefusal
            else { break }
            // Nothing that is asked from here on could change what the client is told.
            return self.decide(
                .verdict(worst.verdict, worst.worded),
                decider,
                question,
                now,
                &actions
            )
        case .answered, .passedOver: break
        case .failed(let reason, let worker):
            let policy = pool.failurePolicy(at: question.hook)
            guard policy == .skip else {
                let decider = PolicyDecision.Decider(pool: pool.name, worker: worker)
                return self.decide(
                    .failed(policy, reason: reason),
                    decider,
                    question,
                    now,
                    &actions
                )
            }
            actions.append(.skipped(pool: question.pool, hook: question.hook, reason: reason))
            if pool.marksSkippedMessages { self.markSkipped(pool.name, question.hook) }
        }
        question.pool += 1
        self.askNextPool(question, now, &actions)
    }

    private mutating func decide(
        _ outcome: PolicyDecision.Outcome,
        _ decider: PolicyDecision.Decider,
        _ question: Question,
        _ now: UInt64,
        _ actions: inout [Action]
    ) {
        if case .undecided = outcome, !question.wasAsked {
            return self.decided(.undecided, at: question.hook, now, &actions)
        }
        let decision = PolicyDecision(
            outcome: outcome,
            decider: decider,
            delayMS: question.delayMS
        )
        self.decided(decision, at: question.hook, now, &actions)
    }

    /// Adds a field that names the pool which did not see the message (`failure_header`).
    private mutating func markSkipped(_ pool: String, _ hook: Hook) {
        guard hook == .data_post || hook == .data_post_headers else { return }
        self.transaction?.withHeaders {
            $0.add(
                name: Array("X-Gatepost-Skipped".utf8),
                value: Array(" pool=\(pool); hook=\(hook.rawValue)".utf8),
                atTop: true
            )
        }
    }

    /// One entry a plugin, or one a worker that did not tell, or one a failure (protocol/events.md).
    private mutating func record(
        _ outcome: PoolOutcome,
        _ question: Question,
        _ pool: PoolProfile,
        _ now: UInt64
    ) {
        var entry = PolicyTrace.Entry(
            key: String(decoding: self.key, as: UTF8.self),
            hook: question.hook,
            pool: pool.name
        )
        entry.microseconds = Int64(clamping: (now &- question.askedNS) / 1_000)
        switch outcome {
        case .answered(let verdict, let worker):
            entry.worker = worker.name
            entry.plugin = verdict.plugin
            entry.verdict = verdict.verdict
            guard !verdict.trace.isEmpty else { break }
            for plugin in verdict.trace {
                entry.plugin = plugin.plugin
                entry.verdict = plugin.verdict
                entry.microseconds = plugin.microseconds
                self.record(entry)
            }
            return
        case .failed(let reason, let worker):
            entry.worker = worker?.name
            entry.failure = reason
            entry.policy = pool.failurePolicy(at: question.hook).rawValue
        case .passedOver: return
        }
        self.record(entry)
    }

    private mutating func record(_ entry: PolicyTrace.Entry) {
        self.trace.record(entry)
        self.questionTrace.record(entry)
    }
}
