import JSON
import PolicyCore
import PolicyProtocol
import PoolCore
import PoolSimulator
import SMTPCore
import SessionPlay

// MARK: - Workers come, answer and go

extension SessionSimulator {
    private static let hooksOfMain: [Hook] = [
        .connect, .ehlo, .mail, .rcpt, .data, .data_headers_end, .received_line, .data_post_headers,
        .data_post, .queue_pre, .queue, .quit,
    ]
    private static let hooksOfSecond: [Hook] = [
        .helo, .mail, .rcpt, .vrfy, .help, .noop, .unrecognized_command,
    ]

    func workerComes() {
        let pool = self.pools[self.random.below(self.pools.count)]
        pool.lastWorker += 1
        let id = pool.lastWorker
        guard pool.machine.workerConnected(id, now: self.now) else { return }
        let isSecond = pool.number == Self.second
        var hello = WorkerHello(
            pool: pool.profile.name,
            name: "w\(self.random.below(2))",
            instance: "\(id)",
            version: "1",
            pid: 1,
            concurrency: 1 + self.random.below(3),
            maximumFrameOctets: 65_536
        )
        hello.goesAhead = !self.random.once(in: 30)
        for hook in isSecond ? Self.hooksOfSecond : Self.hooksOfMain {
            let isReader = hook == .data_post || hook == .queue
            hello.hooks[hook] = WorkerHello.HookRequest(
                needs: isReader ? [.message, .recipients] : [],
                isIdempotent: self.seed % 2 == 0
            )
        }
        // The second pool sometimes has a part in the message, which keeps hooks from going ahead.
        if isSecond, self.random.once(in: 6) { hello.hooks[.data_post] = .init() }
        if isSecond, self.random.once(in: 4) { hello.hooks[.queue_post] = .init() }
        if isSecond, self.random.once(in: 4) { hello.hooks[.reset_transaction] = .init() }
        let mask = hello.hooks.keys.filter { !$0.isNotification }.map {
            HookNumbers(hook: $0.index)
        }
        let answer = pool.machine.helloReceived(
            from: id,
            PoolHello(
                identity: "\(id)",
                name: hello.name,
                concurrency: hello.concurrency,
                asked: HookNumbers(mask),
                idempotent: HookNumbers(
                    hello.hooks.filter(\.value.isIdempotent).keys.map {
                        HookNumbers(hook: $0.index)
                    }
                )
            ),
            now: self.now
        )
        guard case .welcome = answer else { return self.lose(id, in: pool, isDeath: false) }
        pool.workers.append(SimulatedWorker(id, hello))
        pool.machine.workerReady(id, now: self.now, actions: &pool.actions)
        self.workersChanged(pool)
    }

    func workerGoes() {
        let pool = self.pools[self.random.below(self.pools.count)]
        guard !pool.workers.isEmpty else { return }
        let worker = pool.workers[self.random.below(pool.workers.count)]
        self.counts.deaths += 1
        self.note("worker \(worker.id) of \(pool.profile.name) dies")
        self.lose(worker.id, in: pool, isDeath: true)
    }

    func lose(_ id: WorkerID, in pool: SimulatedPool, isDeath: Bool) {
        pool.workers.removeAll { $0.id == id }
        pool.machine.workerLost(
            id,
            now: self.now,
            isDeath: isDeath,
            fingerprint: { $0 },
            actions: &pool.actions
        )
        self.workersChanged(pool)
    }

    func workersChanged(_ pool: SimulatedPool) {
        pool.updateProfile(self.played.demand, self.played.profiles)
    }

    func timePasses() {
        self.now += UInt64(1 + self.random.below(400)) * Self.millisecond
        for pool in self.pools {
            pool.timePassed(now: self.now)
            if self.random.once(in: 3) {
                _ = pool.machine.forgetHooks(now: self.now, actions: &pool.actions)
                self.workersChanged(pool)
            }
        }
    }

    func workerActs() {
        let pool = self.pools[self.random.below(self.pools.count)]
        let busy = pool.workers.filter { !$0.held.isEmpty }
        guard !busy.isEmpty else { return }
        let worker = busy[self.random.below(busy.count)]
        let index = self.random.below(worker.held.count)
        let event = worker.held[index]
        switch self.random.below(12) {
        case 0:
            worker.held.remove(at: index)
            self.answered(pool, worker, event, failure: .worker_error)
        case 1, 2:
            guard let next = event.ahead.randomElement(using: &self.random) else { return }
            self.goAhead(pool, worker, index, to: next)
        default:
            worker.held.remove(at: index)
            self.answer(pool, worker, event, self.verdict(event))
        }
    }

    /// The worker answers all that it holds, in the plainest way.
    func answerAll(_ worker: SimulatedWorker, _ pool: SimulatedPool) {
        while let event = worker.held.popLast() {
            let isGrant = event.hook == .rcpt
            self.answer(
                pool,
                worker,
                event,
                PolicyVerdict(id: event.id, verdict: isGrant ? .ok : .declined)
            )
        }
    }

    private func goAhead(
        _ pool: SimulatedPool,
        _ worker: SimulatedWorker,
        _ index: Int,
        to hook: Hook
    ) {
        let event = worker.held[index]
        guard
            case .awaited(let ticket) = pool.machine.answerReceived(
                from: worker.id,
                eventID: event.id
            ),
            let session = pool.askers[ticket]
        else { return }
        let went = session.play.goAhead(to: hook)
        self.check(went, "\(session.number) does not let its worker go ahead to \(hook)")
        guard went else { return }
        self.counts.wentAhead += 1
        worker.held[index].hook = hook
        worker.held[index].ahead = event.ahead.filter { $0.index > hook.index }
        pool.machine.wentAhead(on: worker.id, eventID: event.id, to: hook.index, now: self.now)
    }

    private func verdict(_ event: SimulatedEvent) -> PolicyVerdict {
        var verdict = PolicyVerdict(id: event.id, verdict: .declined)
        // A hook ahead, named in the verdict.
        if self.random.once(in: 4), let next = event.ahead.randomElement(using: &self.random) {
            verdict.hook = next
        }
        let hook = verdict.hook ?? event.hook
        switch self.random.below(20) {
        case ..<15: verdict.verdict = hook == .rcpt || hook == .queue ? .ok : .declined
        case ..<17: verdict.verdict = .ok
        default: verdict.verdict = Verdict.allCases[self.random.below(Verdict.allCases.count)]
        }
        if verdict.verdict == .done {
            verdict.reply = PolicyReply(code: self.random.once(in: 2) ? 250 : 550, text: ["done"])
        }
        if hook == .received_line, verdict.verdict == .ok {
            verdict.reply = PolicyReply(text: ["from x"])
        }
        if self.random.once(in: 6) {
            verdict.sessionNotes = .object(["k\(self.random.below(3))": self.noteValue()])
        }
        let isInTransaction = hook.index >= Hook.mail.index && hook.index <= Hook.queue.index
        if self.random.once(in: isInTransaction ? 6 : 60) {
            verdict.transactionNotes = .object(["t\(self.random.below(3))": self.noteValue()])
        }
        let isEditing = hook == .rcpt || hook == .data_post || hook == .mail
        while verdict.actions.count < 3, self.random.once(in: isEditing ? 4 : 60) {
            verdict.actions.append(self.action(at: hook))
        }
        if verdict.actions.contains(where: { if case .replaceMessage = $0 { true } else { false } }
        ),
            Self.isMixed(verdict.actions)
        {
            verdict.actions.removeAll { if case .removeRecipient = $0 { true } else { false } }
        }
        return verdict
    }

    /// Recipients are added and removed in one list: the order counts, and the ids that new ones get,
    /// which the model of the envelope does not follow.
    ///
    /// With a replacement message the model would have to say what comes of them before it happens, so
    /// such lists are not made.
    private static func isMixed(_ actions: [PolicyAction]) -> Bool {
        actions.contains { if case .addRecipient = $0 { true } else { false } }
            && actions.contains { if case .removeRecipient = $0 { true } else { false } }
    }

    private func noteValue() -> JSONValue {
        self.random.once(in: 4) ? .null : .int(Int64(self.random.below(5)))
    }

    private func action(at hook: Hook) -> PolicyAction {
        // Not every action is allowed at every hook: now and then it is one that is not.
        let isMessage = hook == .data_post && !self.random.once(in: 20)
        return switch isMessage ? self.random.below(6) : self.random.below(7) {
        case 0 where hook == .mail: .delayReply(milliseconds: 1)
        case 0: .addRecipient(address: Array("r\(self.random.below(6))@d".utf8))
        case 1: .removeRecipient(id: 1 + self.random.below(6))
        case 2: .replaceSender(address: Array("new@d".utf8))
        case 3: .delayReply(milliseconds: Int64(1 + self.random.below(50)))
        case 4: .replaceMessage(path: "f")
        case 5: .addHeader(name: Array("X".utf8), value: Array("y".utf8), atTop: true)
        default: .setRelay(true)
        }
    }
}

// MARK: - A verdict

extension SessionSimulator {
    private func answer(
        _ pool: SimulatedPool,
        _ worker: SimulatedWorker,
        _ event: SimulatedEvent,
        _ verdict: PolicyVerdict
    ) {
        guard
            case .awaited(let ticket) = pool.machine.answerReceived(
                from: worker.id,
                eventID: event.id
            ), let session = pool.askers[ticket]
        else { return self.answered(pool, worker, event, failure: nil) }
        let place = session.route.firstIndex(of: pool.number) ?? 0
        let play = session.play
        play.now = self.now
        let (notes, recipients) = (play.notes, play.recipients)
        let hook = verdict.hook ?? event.hook
        let isQueueUnannounced = hook == .queue && event.hook != .queue
        self.note("\(session.number) gets \(verdict.verdict) at \(hook) \(verdict.actions)")
        if let violation = play.judge(verdict) {
            self.counts.invalid += 1
            self.note("  invalid: \(violation)")
            self.check(
                play.notes == notes && play.recipients == recipients,
                "\(session.number): an invalid verdict changed the session (\(violation))"
            )
            return self.answered(pool, worker, event, failure: .invalid_verdict)
        }
        self.check(!isQueueUnannounced, "\(session.number): queue was answered before it began")
        var edit = Self.edit(verdict, at: hook, place: place)
        let isReplacing = verdict.actions.contains {
            if case .replaceMessage = $0 { true } else { false }
        }
        if isReplacing {
            edit.envelope = Self.envelope(recipients, verdict.actions)
            session.edit = edit
            self.check(
                play.notes == notes && play.recipients == recipients,
                "\(session.number): a verdict counts before its message is there"
            )
        } else {
            session.apply(edit)
            self.checkEnvelope(session, before: recipients, verdict.actions)
            session.envelope = play.recipients.map {
                String(decoding: $0.address.address, as: UTF8.self)
            }
            self.decided(session, verdict, at: hook)
        }
        pool.askers[ticket] = nil
        session.ticket = nil
        self.counts.answered += 1
        pool.machine.answered(
            from: worker.id,
            eventID: event.id,
            now: self.now,
            actions: &pool.actions
        )
        play.poolDone(
            .answered(verdict, worker: WorkerLabel(name: "w", connection: worker.id))
        )
    }

    private static func edit(_ verdict: PolicyVerdict, at hook: Hook, place: Int) -> ModelEdit {
        var edit = ModelEdit(verdict: verdict, hook: hook, place: place)
        if case .object(let patch)? = verdict.sessionNotes { edit.sessionPatch = patch }
        if case .object(let patch)? = verdict.transactionNotes { edit.transactionPatch = patch }
        return edit
    }

    /// The recipients after the actions.
    private static func envelope(
        _ before: [EnvelopeRecipient],
        _ actions: [PolicyAction]
    ) -> [String] {
        var expected = before.map { String(decoding: $0.address.address, as: UTF8.self) }
        for action in actions {
            switch action {
            case .addRecipient(let octets):
                let address = String(decoding: octets, as: UTF8.self)
                if !expected.contains(address) { expected.append(address) }
            case .removeRecipient(let id):
                guard let gone = before.first(where: { $0.id == id }) else { continue }
                let address = String(decoding: gone.address.address, as: UTF8.self)
                expected.removeAll { $0 == address }
            default: break
            }
        }
        return expected
    }

    /// The recipients are those from before, but for what the actions say.
    private func checkEnvelope(
        _ session: SimulatedSession,
        before: [EnvelopeRecipient],
        _ actions: [PolicyAction]
    ) {
        let expected = Self.envelope(before, actions)
        let now = session.play.recipients.map {
            String(decoding: $0.address.address, as: UTF8.self)
        }
        let isSame = Set(now) == Set(expected) && now.count == Set(now).count
        self.check(isSame || Self.isMixed(actions), "\(session.number): \(now) is not \(expected)")
    }

    /// What a valid verdict means for the reply that follows.
    func decided(_ session: SimulatedSession, _ verdict: PolicyVerdict, at hook: Hook) {
        if verdict.actions.contains(where: { if case .delayReply = $0 { true } else { false } }) {
            session.isDelayed = true
        }
        switch verdict.verdict {
        case .declined: break
        case .ok: if hook == .rcpt || hook == .queue { session.isGranted = true }
        case .deny, .deny_disconnect:
            session.mustRefuse = true
            session.refusalClass = 5
        case .denysoft, .denysoft_disconnect:
            session.mustRefuse = true
            session.refusalClass = 4
        case .done:
            let isGrant = (verdict.reply?.code ?? 0) < 400
            if isGrant { session.isGranted = true } else { session.mustRefuse = true }
        }
    }

    /// A pool could not answer: the failure policy decides.
    func questionFailed(_ session: SimulatedSession, at hook: Hook, place: Int) {
        self.counts.failed += 1
        let pool = self.pools[session.route[place]]
        switch (pool.profile.failurePolicy(at: hook), hook) {
        case (.skip, _): self.counts.skipped += 1
        case (_, .quit), (_, .noop), (_, .help): break
        case (.tempfail, _):
            session.mustRefuse = true
            session.refusalClass = 4
        case (.reject, _):
            session.mustRefuse = true
            session.refusalClass = 5
        }
    }

    private func answered(
        _ pool: SimulatedPool,
        _ worker: SimulatedWorker,
        _ event: SimulatedEvent,
        failure: PoolFailure?
    ) {
        pool.machine.answered(
            from: worker.id,
            eventID: event.id,
            failure: failure,
            now: self.now,
            actions: &pool.actions
        )
    }
}
