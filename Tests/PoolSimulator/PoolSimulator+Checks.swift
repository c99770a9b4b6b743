import PoolCore

// MARK: - Performs the machine's actions, and compares them with the model

extension PoolSimulator {
    /// Performs the machine's actions; some of them change the world at once.
    mutating func perform() throws(Violation) {
        var next = 0
        while next < self.actions.count {
            let action = self.actions[next]
            next += 1
            self.record("  → \(action)")
            try self.perform(action)
        }
        self.actions.removeAll(keepingCapacity: true)
        self.filled.removeAll()
        try self.check(self.poisonToFail == nil, "poison that does not fail")
    }

    private mutating func perform(_ action: PoolAction) throws(Violation) {
        switch action {
        case .send(let ticket, let id, let eventID, let attempt, let remaining):
            try self.sent(ticket, id, eventID, attempt: attempt, remaining: remaining)
        case .fail(let ticket, let failure, _): try self.failed(ticket, failure)
        case .passOver(let ticket):
            let slot = self.tickets.removeValue(forKey: ticket)
            try self.check(
                slot != nil && slot?.worker == nil,
                "\(ticket) is not there to pass over"
            )
            try self.check(!self.machine.isAsked(slot?.hook ?? 0), "passed over what is asked")
            self.counts.passedOver += 1
        case .cancelEvent(let id, let eventID, _):
            guard let worker = self.workers.first(where: { $0.id == id }) else { return }
            try self.check(
                worker.position(of: eventID) != nil,
                "cancels \(id)/\(eventID), which is not out"
            )
        case .ping(let id): try self.pinged(id)
        case .close(let id, let reason): try self.closed(id, reason)
        case .answerDrain(let id):
            guard let index = self.workers.firstIndex(where: { $0.id == id }) else { return }
            try self.check(
                self.workers[index].phase == .draining && !self.workers[index].isDrainAnswered,
                "answers a drain of \(id) that was none, or again"
            )
            self.workers[index].isDrainAnswered = true
        case .poison(let ticket):
            let fingerprint = self.tickets[ticket]?.fingerprint ?? 0
            try self.check(self.isPoison(fingerprint), "\(ticket) is no poison")
            self.poisonToFail = ticket
            self.counts.poisoned += 1
        case .deathCounted(let fingerprint):
            try self.check(
                self.machine.isSuspect(fingerprint, now: self.now),
                "\(fingerprint) was counted and is no suspect"
            )
        case .suspicionCleared(let fingerprint):
            try self.check(
                !self.machine.isSuspect(fingerprint, now: self.now),
                "\(fingerprint) was cleared and is a suspect"
            )
        }
    }

    private mutating func sent(
        _ ticket: PoolTicket,
        _ id: WorkerID,
        _ eventID: Int64,
        attempt: Int,
        remaining: UInt64
    ) throws(Violation) {
        guard var slot = self.tickets[ticket] else {
            return try self.check(false, "\(ticket) is sent and is over")
        }
        // The worker was lost meanwhile; the machine has sent the question to another.
        guard let index = self.workers.firstIndex(where: { $0.id == id }) else {
            return try self.check(false, "\(ticket) is sent to \(id), which is gone")
        }
        let worker = self.workers[index]
        let mask = HookNumbers(hook: slot.hook)
        try self.check(slot.worker == nil, "\(ticket) is sent twice at once")
        try self.check(worker.phase == .ready && !worker.isToBeClosed, "\(id) is not ready")
        try self.check(!worker.isBlocked || self.filled.contains(id), "\(id) does not read")
        try self.check(worker.hello.asked.contains(mask), "\(id) did not ask for \(slot.hook)")
        try self.check(
            worker.held.count < worker.hello.concurrency,
            "\(id) has no credit for \(ticket)"
        )
        try self.check(eventID == worker.lastEventID + 1, "event id \(eventID) on \(id)")
        try self.check(attempt == slot.attempts + 1, "attempt \(attempt) of \(ticket)")
        try self.check(
            remaining > 0 && slot.deadlineNS > self.now
                && remaining == slot.deadlineNS - self.now,
            "\(ticket) has not \(remaining) ns left"
        )
        try self.check(!slot.mustNotBeSentAgain, "\(ticket) has side effects and is asked again")
        try self.check(!slot.isPoison, "\(ticket) is poison and is asked again")
        try self.check(slot.losses < 3, "\(ticket) was lost three times and is asked again")
        try self.check(!slot.isSuspect || worker.held.isEmpty, "suspect \(ticket) is not alone")
        for case let other? in worker.held.map(\.ticket) {
            let isSuspect = self.tickets[other]?.isSuspect ?? false
            try self.check(!isSuspect, "\(ticket) joins suspect \(other)")
        }
        if slot.handedBackBy == id {
            try self.check(
                !self.isServed(slot.hook, besides: id),
                "\(ticket) goes back to \(id), which handed it back"
            )
        }
        // To compare all tickets would take too long.
        if !slot.hasHadItsTurn, !slot.isSuspect, ticket % 8 == 0 {
            let isFirst = self.tickets.allSatisfy { other, waiting in
                other >= ticket || waiting.worker != nil || waiting.hasHadItsTurn
                    || waiting.isSuspect
                    || !worker.hello.asked.contains(HookNumbers(hook: waiting.hook))
            }
            try self.check(isFirst, "\(ticket) overtakes an older one")
        }
        slot.worker = id
        slot.identity = worker.hello.identity
        slot.attempts = attempt
        slot.hasHadItsTurn = true
        slot.mayFail = []
        self.tickets[ticket] = slot
        self.workers[index].lastEventID = eventID
        self.workers[index].held.append(
            ModelWorker.Held(
                eventID: eventID,
                ticket: ticket,
                fingerprint: slot.fingerprint,
                deadlineNS: slot.deadlineNS
            )
        )
        self.counts.sent += 1
        if attempt > 1 { self.counts.retried += 1 }
        if worker.isBlocked || self.random.once(in: 500) {
            return self.holdBack(ticket, at: index, eventID)
        }
        guard self.random.once(in: 5_000) else { return }
        // The event is larger than the worker's `max_frame`.
        self.record("could not send \(ticket)")
        self.tickets[ticket]?.mayFail = [.event_too_large]
        self.workers[index].held.removeLast()
        self.machine.couldNotSend(
            to: id,
            eventID: eventID,
            now: self.now,
            actions: &self.actions
        )
    }

    /// The worker's socket is full: the event is not written.
    private mutating func holdBack(_ ticket: PoolTicket, at index: Int, _ eventID: Int64) {
        let id = self.workers[index].id
        self.record("held back \(ticket)")
        self.counts.heldBack += 1
        self.workers[index].held.removeLast()
        self.workers[index].isBlocked = true
        self.filled.insert(id)
        self.tickets[ticket]?.worker = nil
        self.tickets[ticket]?.handedBackBy = nil
        self.tickets[ticket]?.hasHadItsTurn = true
        self.tickets[ticket]?.attempts -= 1
        self.tickets[ticket]?.mayFail = [.no_worker, .deadline]
        self.machine.workerBlocked(id, true, now: self.now, actions: &self.actions)
        self.machine.heldBack(
            from: id,
            eventID: eventID,
            now: self.now,
            actions: &self.actions
        )
    }

    private mutating func failed(_ ticket: PoolTicket, _ failure: PoolFailure) throws(Violation) {
        guard let slot = self.tickets.removeValue(forKey: ticket) else {
            return try self.check(false, "\(ticket) fails and is over")
        }
        if let id = slot.worker { self.abandon(ticket, on: id) }
        if slot.worker != nil, failure == .deadline { self.quarantine.failed(slot.identity) }
        let isOverdue = slot.deadlineNS <= self.now
        var mayFail = slot.mayFail
        if isOverdue { mayFail.formUnion([.deadline, .no_worker]) }
        if slot.worker == nil, slot.attempts == 0 { mayFail.insert(.no_worker) }
        try self.check(mayFail.contains(failure), "\(ticket) fails for \(failure)")
        try self.check(
            (failure == .breaker_open) == (slot.admission == .refused),
            "\(ticket) fails for \(failure), and the breaker says \(slot.admission)"
        )
        if ticket == self.submitting, slot.admission == .trial, slot.attempts == 0 {
            self.breaker.trialWasRefused(now: self.now)
        }
        self.breaker.failed(failure, now: self.now)
        switch failure {
        case .poison:
            try self.check(self.poisonToFail == ticket, "poison without its evidence")
            self.poisonToFail = nil
        case .no_worker:
            try self.check(!self.isServed(slot.hook), "\(ticket) has a worker")
            let grace = self.servedUntilNS[Int(slot.hook)] + self.settings.graceNS
            try self.check(self.now >= grace || isOverdue, "\(ticket) got no grace")
        case .deadline: try self.check(isOverdue, "\(ticket) has time left")
        case .queue_full:
            try self.check(self.waiting >= self.settings.queueLimit, "the queue has room")
        case .worker_lost, .worker_error, .invalid_verdict, .event_too_large, .breaker_open: break
        }
        self.counts.failed[failure, default: 0] += 1
    }

    private mutating func pinged(_ id: WorkerID) throws(Violation) {
        guard let index = self.workers.firstIndex(where: { $0.id == id }) else {
            return try self.check(false, "pings \(id), which is gone")
        }
        let worker = self.workers[index]
        try self.check(
            worker.phase != .connected && !worker.isToBeClosed && worker.pingedNS == nil,
            "\(id) is pinged too early, or again"
        )
        try self.check(
            self.now - worker.heardNS >= self.settings.pingNS,
            "\(id) is pinged and has just spoken"
        )
        self.workers[index].pingedNS = self.now
        self.counts.pinged += 1
        // Sometimes a pong comes late.
        if !worker.isHung, !self.random.once(in: 50) { self.hear(index) }
    }

    /// The worker writes something.
    mutating func hear(_ index: Int) {
        self.workers[index].heardNS = self.now
        self.workers[index].pingedNS = nil
        self.machine.workerHeard(self.workers[index].id, now: self.now)
    }

    /// Whether the worker holds an event whose deadline passed so long ago that it must be closed.
    func isOverdue(_ worker: ModelWorker) -> Bool {
        worker.held.contains { $0.deadlineNS + self.settings.zombieNS <= self.now }
    }

    /// Whether the worker holds no event and has not answered `ping` for so long that it must be
    /// closed.
    func isSilent(_ worker: ModelWorker) -> Bool {
        guard let pinged = worker.pingedNS, self.now >= pinged,
            self.now - pinged >= self.settings.zombieNS
        else { return false }
        return worker.held.allSatisfy { $0.deadlineNS <= self.now }
    }

    private mutating func closed(
        _ id: WorkerID,
        _ reason: PoolAction.CloseReason
    ) throws(Violation) {
        guard let index = self.workers.firstIndex(where: { $0.id == id }) else {
            return try self.check(false, "closes \(id), which is gone")
        }
        try self.check(!self.workers[index].isToBeClosed, "closes \(id) twice")
        switch reason {
        case .handshake: try self.check(self.workers[index].phase == .connected, "said hello")
        case .slow_reader: try self.check(self.workers[index].isBlocked, "\(id) reads")
        case .zombie:
            try self.check(
                self.isOverdue(self.workers[index]) || self.isSilent(self.workers[index]),
                "\(id) owes nothing that is long overdue"
            )
        case .quarantined:
            try self.check(self.workers[index].held.allSatisfy { $0.ticket == nil }, "cut off")
            if !self.workers[index].isQuarantined { try self.quarantined(index) }
        }
        self.counts.closed[reason, default: 0] += 1
        self.workers[index].isToBeClosed = true
        self.workers[index].isZombie = reason == .zombie
        // The owner closes the connection at once, or later.
        if !self.random.once(in: 10) { self.lose(index, isDeath: false) }
    }
}

// MARK: - After each step

extension PoolSimulator {
    mutating func checkAfterStep() throws(Violation) {
        try self.check(
            self.machine.openTickets == self.tickets.count,
            "\(self.machine.openTickets) tickets are open, not \(self.tickets.count)"
        )
        if let ticket = self.submitting {
            try self.check(
                self.tickets[ticket]?.admission != .refused,
                "\(ticket) gets past the breaker"
            )
        }
        try self.checkQuarantine()
        try self.checkNamed()
        if self.candidates.count > 2 * self.tickets.count + 1_000 {
            self.candidates = self.tickets.keys.sorted()
        }
        guard self.step % 16 == 0 else { return }
        for worker in self.workers {
            let outstanding = self.machine.outstanding(on: worker.id)
            try self.check(outstanding == worker.held.count, "\(worker.id) holds \(outstanding)")
        }
        // A question that was held back goes back to its place in the queue, even if the queue has
        // become full in the meantime: it does not count.
        try self.check(
            self.tickets.values.count { $0.worker == nil && !$0.hasHadItsTurn }
                <= self.settings.queueLimit,
            "more wait than may"
        )
        let snapshot = self.machine.snapshot(now: self.now)
        for worker in self.workers {
            let isReady = worker.phase == .ready && !worker.isToBeClosed
            let state = snapshot.workers.first { $0.id == worker.id }?.state
            try self.check(
                self.machine.isReady(worker.id) == isReady
                    || isReady && state == .quarantined,
                "\(worker.id) is \(state.map { "\($0)" } ?? "unknown")"
            )
        }
        if self.step % 256 == 0 {
            for fingerprint in self.suspicions.keys {
                try self.check(
                    self.machine.isPoison(fingerprint, now: self.now) == self.isPoison(fingerprint),
                    "\(fingerprint) is forgotten, or not"
                )
            }
        }
        if let contradiction = self.machine.contradiction() {
            try self.check(false, contradiction)
        }
    }

    /// A worker that is quarantined in this step was not the last one.
    private mutating func checkQuarantine() throws(Violation) {
        for index in self.workers.indices {
            let worker = self.workers[index]
            guard worker.phase == .ready, !worker.isToBeClosed, !worker.isQuarantined,
                !self.machine.isReady(worker.id)
            else { continue }
            try self.quarantined(index)
        }
    }

    private mutating func quarantined(_ index: Int) throws(Violation) {
        let worker = self.workers[index]
        self.workers[index].isQuarantined = true
        self.quarantinedNow += 1
        try self.check(self.readyBefore > 1, "\(worker.id) was the last, and is kept out")
        let wrong = self.quarantine.add(
            worker.hello.identity,
            others: self.readyBefore - self.quarantinedNow,
            now: self.now
        )
        if let wrong { try self.check(false, wrong) }
    }

    /// In a long run, everything that can happen must happen.
    func checkAllHappened() throws(Violation) {
        for failure in PoolFailure.allCases {
            try self.check(self.counts.failed[failure] != nil, "nothing ever failed for \(failure)")
        }
        for reason in [.handshake, .slow_reader, .zombie, .quarantined] as [PoolAction.CloseReason]
        {
            try self.check(
                self.counts.closed[reason] != nil,
                "no worker was ever closed for \(reason)"
            )
        }
    }

    /// Tickets that wait for a worker.
    private var waiting: Int { self.tickets.values.count { $0.worker == nil } }

    /// The pool is asked at the hooks that workers of a name registered, also when they are gone.
    private mutating func checkNamed() throws(Violation) {
        var present = [[HookNumbers]](repeating: [], count: Self.kinds)
        for worker in self.workers where self.names(worker) {
            present[worker.kind].append(worker.hello.asked)
        }
        for kind in 0..<Self.kinds {
            if !present[kind].isEmpty {
                self.named[kind] = HookNumbers(present[kind])
                self.namedForSure[kind] = HookNumbers(present[kind])
                self.presentNS[kind] = self.now
            } else if self.present[kind].count > 1, self.named[kind] != nil {
                // Several left in one step, and the model does not know whose hooks were the last.
                let all = self.present[kind]
                self.namedForSure[kind] = all.dropFirst().reduce(all[0]) { $0.intersection($1) }
            }
        }
        self.present = present
        let known = self.named.compactMap(\.self)
        let most = known.isEmpty ? HookNumbers(hook: 0) : HookNumbers(known)
        let least =
            known.isEmpty
            ? HookNumbers(hook: 0)
            : HookNumbers(
                (0..<Self.kinds).map { self.named[$0] == nil ? [] : self.namedForSure[$0] }
            )
        for hook in 0..<UInt8(Self.hooks) {
            let mask = HookNumbers(hook: hook)
            let isAsked = self.machine.isAsked(hook)
            try self.check(isAsked || !least.contains(mask), "\(hook) is not asked")
            try self.check(!isAsked || most.contains(mask), "\(hook) is asked")
        }
    }

    /// The operator says that workers which are gone will not return.
    mutating func forgetHooks() {
        self.rememberServed()
        self.record("forget hooks")
        if self.machine.readyCount > 0 {
            for kind in 0..<Self.kinds where self.named[kind] != nil {
                guard self.now - self.presentNS[kind] >= self.settings.hooksRememberedNS else {
                    continue
                }
                self.named[kind] = nil
                self.counts.forgotten += 1
            }
        }
        _ = self.machine.forgetHooks(now: self.now, actions: &self.actions)
    }

    /// All workers leave, time passes: nothing may be left over.
    mutating func comeToRest() throws(Violation) {
        self.record("come to rest")
        while !self.workers.isEmpty {
            self.lose(self.workers.count - 1, isDeath: self.random.once(in: 2))
            try self.perform()
        }
        for _ in 0..<8 { try self.tick(Self.second) }
        try self.check(self.tickets.isEmpty, "\(self.tickets.count) tickets never ended")
        try self.check(self.machine.openTickets == 0, "the machine has tickets of its own")
        let snapshot = self.machine.snapshot(now: self.now)
        try self.check(snapshot.queued == 0 && snapshot.outstanding == 0, "something is left")
        try self.check(snapshot.workers.isEmpty, "a worker is left")
        let outcomes =
            self.counts.answered + self.counts.cancelled + self.counts.passedOver
            + self.counts.failed.values.reduce(0, +)
        try self.check(
            outcomes == self.counts.submitted,
            "\(self.counts.submitted) questions had \(outcomes) outcomes"
        )
        // Sometimes the machine is made anew: then no worker was ever ready.
        guard self.random.once(in: 3) else { return }
        self.machine = PoolMachine(settings: self.settings, now: self.now)
        self.tickedNS = self.now
        self.suspicions = [:]
        self.breaker = ModelBreaker()
        self.named = self.named.map { _ in nil }
        self.present = self.present.map { _ in [] }
        self.servedUntilNS = servedUntilNS.map { _ in self.now }
    }
}
