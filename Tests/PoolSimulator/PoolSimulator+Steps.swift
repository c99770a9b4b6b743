import PoolCore

// MARK: - What the world does

extension PoolSimulator {
    mutating func oneStep() throws(Violation) {
        // Time passes between two ticks of the owner.
        if self.random.once(in: 16) { self.now += UInt64(self.random.below(20_000)) * 1_000 }
        var dice = self.random.below(1_000)
        func isUp(to weight: Int) -> Bool {
            dice -= weight
            return dice < 0
        }
        if isUp(to: self.weather.submit) { return self.submit() }
        if isUp(to: self.weather.answer) { return try self.answer(.good) }
        if isUp(to: self.weather.badAnswer) { return try self.answer(.bad) }
        if isUp(to: self.weather.handBack) { return try self.answer(.handBack) }
        if isUp(to: self.weather.progress) { return self.progress() }
        if isUp(to: self.weather.stale) { return try self.stale() }
        if isUp(to: self.weather.cancel) { return self.cancel() }
        if isUp(to: self.weather.connect) { return try self.greet() }
        if isUp(to: self.weather.lose) {
            guard !self.workers.isEmpty else { return }
            let index = self.random.below(self.workers.count)
            return self.lose(index, isDeath: !self.random.once(in: 4))
        }
        if isUp(to: self.weather.drain) { return self.drain() }
        if isUp(to: self.weather.block) { return self.block() }
        try self.passTime()
    }

    private mutating func submit() {
        let hook = UInt8(self.random.below(Self.hooks))
        guard self.machine.isAsked(hook) else { return }
        // Some questions come many times.
        let fingerprint = UInt64(self.random.below(500))
        if self.machine.remembersPoison, self.machine.isPoison(fingerprint, now: self.now) {
            self.counts.refused += 1
            return
        }
        self.lastTicket += 1
        let deadline = hook == 0 ? self.settings.deadlines[0] : self.settings.ordinaryDeadline
        self.tickets[self.lastTicket] = ModelTicket(
            hook: hook,
            fingerprint: fingerprint,
            deadlineNS: self.now + deadline.ordinaryNS,
            latestDeadlineNS: self.now + deadline.maximumNS,
            isSuspect: self.deaths(of: fingerprint) > 0,
            isKnown: self.deaths(of: fingerprint) > 0,
            admission: self.breaker.admits(now: self.now),
            mayFail: [.breaker_open, .queue_full, .no_worker]
        )
        self.submitting = self.lastTicket
        self.candidates.append(self.lastTicket)
        self.record("submit \(self.lastTicket) hook \(hook)")
        self.counts.submitted += 1
        self.machine.submit(
            self.lastTicket,
            hook: hook,
            fingerprint: self.machine.remembersPoison ? fingerprint : nil,
            now: self.now,
            actions: &self.actions
        )
    }

    private enum Answer {
        case good
        case bad
        case handBack
    }

    private mutating func answer(_ answer: Answer) throws(Violation) {
        guard !self.workers.isEmpty else { return }
        let index = self.random.below(self.workers.count)
        guard !self.workers[index].held.isEmpty, !self.workers[index].isHung else { return }
        let place = self.random.below(self.workers[index].held.count)
        let held = self.workers[index].held[place]
        let id = self.workers[index].id
        let meaning = self.machine.answerReceived(from: id, eventID: held.eventID)
        let expected = held.ticket.map { PoolAnswer.awaited($0) } ?? .late
        self.record("answer \(answer) \(id)/\(held.eventID) ticket \(held.ticket ?? 0)")
        try self.check(meaning == expected, "\(id)/\(held.eventID) is \(meaning), not \(expected)")
        self.workers[index].held.remove(at: place)
        self.hear(index)
        if answer != .handBack || held.ticket == nil { self.survived(held) }
        switch (answer, held.ticket) {
        case (.good, let ticket?):
            self.recordAnswer(ticket, index)
            self.tickets[ticket] = nil
            self.counts.answered += 1
            self.machine.answered(
                from: id,
                eventID: held.eventID,
                now: self.now,
                actions: &self.actions
            )
        case (.bad, let ticket?):
            self.recordAnswer(ticket, index)
            let failure: PoolFailure = self.random.once(in: 2) ? .worker_error : .invalid_verdict
            self.tickets[ticket]?.mayFail = [failure]
            self.machine.answered(
                from: id,
                eventID: held.eventID,
                failure: failure,
                now: self.now,
                actions: &self.actions
            )
        case (.handBack, let ticket?):
            self.handBack(ticket, by: id, held.eventID)
        case (.handBack, nil):
            self.machine.notStarted(
                by: id,
                eventID: held.eventID,
                now: self.now,
                actions: &self.actions
            )
        case (_, nil):
            self.machine.answered(
                from: id,
                eventID: held.eventID,
                now: self.now,
                actions: &self.actions
            )
        }
    }

    /// An answer, even a bad one, counts neither against the pool nor against the worker.
    private mutating func recordAnswer(_ ticket: PoolTicket, _ index: Int) {
        self.breaker.answered(isTrial: self.tickets[ticket]?.admission == .trial)
        self.quarantine.isBack(self.workers[index].hello.identity)
    }

    private mutating func handBack(_ ticket: PoolTicket, by id: WorkerID, _ eventID: Int64) {
        self.tickets[ticket]?.worker = nil
        self.tickets[ticket]?.handedBackBy = id
        self.tickets[ticket]?.mayFail = [.no_worker, .deadline]
        if self.tickets[ticket]?.attempts ?? 0 >= 8 {
            self.tickets[ticket]?.mayFail = [.worker_error]
        }
        self.counts.handedBack += 1
        self.machine.notStarted(by: id, eventID: eventID, now: self.now, actions: &self.actions)
    }

    private mutating func progress() {
        guard !self.workers.isEmpty else { return }
        let index = self.random.below(self.workers.count)
        let worker = self.workers[index]
        guard !worker.isHung, let held = worker.held.last else { return }
        self.hear(index)
        defer {
            if let ticket = held.ticket, let deadline = self.tickets[ticket]?.deadlineNS {
                self.workers[index].held[worker.held.count - 1].deadlineNS = deadline
            }
        }
        if self.random.once(in: 2) { return self.goAhead(worker, held.eventID, held.ticket) }
        let extend = UInt64(self.random.below(3_000)) * Self.millisecond
        if let ticket = held.ticket, let slot = self.tickets[ticket] {
            self.tickets[ticket]?.deadlineNS = min(
                slot.deadlineNS + extend,
                slot.latestDeadlineNS
            )
        }
        self.record("progress \(worker.id)/\(held.eventID) by \(extend)")
        self.machine.progressed(on: worker.id, eventID: held.eventID, extendNS: extend)
    }

    /// The worker goes ahead to a later hook.
    private mutating func goAhead(_ worker: ModelWorker, _ eventID: Int64, _ ticket: PoolTicket?) {
        let hook = UInt8(self.random.below(Self.hooks))
        let from = ticket.flatMap { self.tickets[$0]?.hook } ?? 0
        guard hook > from, worker.hello.asked.contains(HookNumbers(hook: hook)) else { return }
        if let ticket, let slot = self.tickets[ticket] {
            let deadline = self.settings.ordinaryDeadline
            self.tickets[ticket]?.hook = hook
            self.tickets[ticket]?.deadlineNS = max(slot.deadlineNS, self.now + deadline.ordinaryNS)
            self.tickets[ticket]?.latestDeadlineNS = max(
                slot.latestDeadlineNS,
                self.now + deadline.maximumNS
            )
            self.counts.wentAhead += 1
        }
        self.record("\(worker.id)/\(eventID) goes ahead to \(hook)")
        self.machine.wentAhead(on: worker.id, eventID: eventID, to: hook, now: self.now)
    }

    /// Answers for which no session waits: they must change nothing.
    private mutating func stale() throws(Violation) {
        let open = self.machine.openTickets
        let before = self.machine.stale
        let isGone = self.workers.isEmpty || self.random.once(in: 4)
        let id =
            isGone
            ? self.lastWorker + 1 : self.workers[self.random.below(self.workers.count)].id
        let worker = self.workers.first { $0.id == id }
        let last = Int(worker?.lastEventID ?? 0)
        let eventID = Int64(self.random.below(last + 3)) - 1
        guard worker?.position(of: eventID) == nil else { return }
        let wasSent = eventID >= 1 && eventID <= last
        self.record("stale \(id)/\(eventID)")
        let meaning = self.machine.answerReceived(from: id, eventID: eventID)
        try self.check(meaning == (wasSent ? .duplicate : .unknown), "stale is \(meaning)")
        switch self.random.below(4) {
        case 0:
            self.machine.notStarted(
                by: id,
                eventID: eventID,
                now: self.now,
                actions: &self.actions
            )
        case 1: self.machine.progressed(on: id, eventID: eventID, extendNS: .max)
        case 2:
            self.machine.answered(
                from: id,
                eventID: eventID,
                failure: .invalid_verdict,
                now: self.now,
                actions: &self.actions
            )
        default:
            self.machine.answered(
                from: id,
                eventID: eventID,
                now: self.now,
                actions: &self.actions
            )
        }
        let after = self.machine.stale
        try self.check(self.machine.openTickets == open, "a stale answer ended a ticket")
        try self.check(self.actions.isEmpty, "a stale answer caused \(self.actions)")
        try self.check(before.late == after.late, "a stale answer was late")
        self.counts.stale += 1
    }

    private mutating func cancel() {
        while !self.candidates.isEmpty {
            let place = self.random.below(self.candidates.count)
            let ticket = self.candidates[place]
            self.candidates.swapAt(place, self.candidates.count - 1)
            self.candidates.removeLast()
            guard let slot = self.tickets.removeValue(forKey: ticket) else { continue }
            self.record("cancel \(ticket)")
            if let id = slot.worker { self.abandon(ticket, on: id) }
            self.counts.cancelled += 1
            return self.machine.cancelled(
                ticket,
                fingerprint: { slot.fingerprint },
                actions: &self.actions
            )
        }
    }

    mutating func abandon(_ ticket: PoolTicket, on id: WorkerID) {
        guard let index = self.workers.firstIndex(where: { $0.id == id }),
            let place = self.workers[index].held.firstIndex(where: { $0.ticket == ticket })
        else { return }
        self.workers[index].held[place].ticket = nil
    }
}

// MARK: - Workers

extension PoolSimulator {
    private mutating func greet() throws(Violation) {
        if let index = self.workers.firstIndex(where: { $0.phase == .connected }),
            !self.random.once(in: 8)
        {
            return try self.welcome(index)
        }
        guard self.workers.count < self.weather.workers || self.random.once(in: 50) else { return }
        self.lastWorker += 1
        let isAdmitted = self.machine.workerConnected(self.lastWorker, now: self.now)
        let hasRoom = self.workers.count < self.settings.maximumConnections
        try self.check(isAdmitted == hasRoom, "a connection was refused, or one too many taken")
        guard isAdmitted else { return }
        self.record("connect \(self.lastWorker)")
        self.counts.workers += 1
        let kind = self.random.below(Self.kinds)
        self.workers.append(
            ModelWorker(id: self.lastWorker, kind: kind, hello: self.anyHello(kind))
        )
        self.workers[self.workers.count - 1].isHung = self.random.once(in: self.weather.hungOneIn)
    }

    private mutating func anyHello(_ kind: Int) -> PoolHello {
        let all: [HookNumbers] = (0..<Self.hooks).map { HookNumbers(hook: UInt8($0)) }
        var asked = HookNumbers(all)
        if kind > 0 {
            for mask in all where self.random.once(in: 3) { asked.subtract(mask) }
        }
        return PoolHello(
            identity: "\(kind)/\(self.random.below(4))",
            name: "kind \(kind)",
            concurrency: self.random.once(in: 20) ? 0 : 1 + self.random.below(20),
            asked: asked,
            observed: HookNumbers(hook: UInt8(self.random.below(Self.hooks))),
            idempotent: self.random.once(in: 2) ? HookNumbers(all) : []
        )
    }

    private mutating func welcome(_ index: Int) throws(Violation) {
        let id = self.workers[index].id
        let hello = self.workers[index].hello
        switch self.machine.helloReceived(from: id, hello, now: self.now) {
        case .full:
            try self.check(self.workers[index].isToBeClosed, "a hello was too much")
        case .quarantined(let retryNS):
            self.record("quarantined \(id)")
            try self.check(retryNS > 0 && retryNS <= 60 * Self.second, "backoff \(retryNS)")
            try self.check(self.machine.readyCount > 0, "the whole pool is in quarantine")
            self.counts.refused += 1
            self.lose(index, isDeath: false)
        case .welcome(let concurrency):
            self.record("welcome \(id) for \(hello.asked.rawValue), \(concurrency) credits")
            try self.check(concurrency == min(hello.concurrency, 16), "credits \(concurrency)")
            self.workers[index].hello.concurrency = concurrency
            self.workers[index].phase = .ready
            self.workers[index].heardNS = self.now
            self.quarantine.isBack(hello.identity)
            self.machine.workerReady(id, now: self.now, actions: &self.actions)
        }
    }

    /// The connection ends.
    mutating func lose(_ index: Int, isDeath: Bool) {
        self.rememberServed()
        let worker = self.workers.remove(at: index)
        let isCounted = isDeath && !worker.isToBeClosed
        self.record("lose \(worker.id), death \(isCounted)")
        if isCounted { self.counts.deaths += 1 }
        let isAlone = (isCounted || worker.isZombie) && worker.held.count == 1
        if isAlone, let held = worker.held.first { self.died(held) }
        if worker.held.contains(where: { $0.ticket != nil }) {
            self.quarantine.failed(worker.hello.identity)
        }
        for case let ticket? in worker.held.map(\.ticket) {
            guard var slot = self.tickets[ticket] else { continue }
            slot.worker = nil
            slot.handedBackBy = nil
            slot.losses += 1
            if isCounted { slot.isSuspect = true }
            if isAlone {
                slot.isPoison = self.isPoison(slot.fingerprint)
                slot.isKnown = true
            }
            slot.mayFail = [.no_worker, .deadline]
            if slot.hook >= Self.firstHookWithSideEffects,
                !worker.hello.idempotent.contains(HookNumbers(hook: slot.hook))
            {
                slot.mustNotBeSentAgain = true
                slot.mayFail = [.worker_lost]
            }
            if slot.losses >= 3 || slot.deadlineNS <= self.now { slot.mayFail = [.worker_lost] }
            if slot.isPoison { slot.mayFail = [.poison] }
            self.tickets[ticket] = slot
        }
        let tickets = self.tickets
        self.machine.workerLost(
            worker.id,
            now: self.now,
            isDeath: isDeath,
            fingerprint: { tickets[$0]?.fingerprint ?? 0 },
            actions: &self.actions
        )
    }

    /// How many workers are remembered that died or hung while they held nothing but this question.
    func deaths(of fingerprint: UInt64) -> Int {
        guard let suspicion = self.suspicions[fingerprint], suspicion.untilNS > self.now else {
            return 0
        }
        return suspicion.deaths
    }

    func isPoison(_ fingerprint: UInt64) -> Bool { self.deaths(of: fingerprint) >= 2 }

    private mutating func died(_ held: ModelWorker.Held) {
        if held.ticket == nil { self.counts.hangsAlone += 1 }
        let deaths = self.deaths(of: held.fingerprint) + 1
        let until = self.now + 3_600 * Self.second
        self.suspicions[held.fingerprint] = ModelSuspicion(deaths: deaths, untilNS: until)
    }

    /// An answer: the question is no longer a suspect.
    private mutating func survived(_ held: ModelWorker.Held) {
        let isKnown = held.ticket.map { self.tickets[$0]?.isKnown ?? false } ?? true
        guard isKnown, !self.isPoison(held.fingerprint) else { return }
        self.suspicions[held.fingerprint] = nil
    }

    private mutating func drain() {
        guard !self.workers.isEmpty else { return }
        let index = self.random.below(self.workers.count)
        guard self.workers[index].phase != .connected else { return }
        self.rememberServed()
        self.record("drain \(self.workers[index].id)")
        self.workers[index].phase = .draining
        self.machine.drainRequested(
            by: self.workers[index].id,
            now: self.now,
            actions: &self.actions
        )
    }

    private mutating func block() {
        guard !self.workers.isEmpty else { return }
        let index = self.random.below(self.workers.count)
        self.workers[index].isBlocked.toggle()
        self.record("block \(self.workers[index].id) \(self.workers[index].isBlocked)")
        self.machine.workerBlocked(
            self.workers[index].id,
            self.workers[index].isBlocked,
            now: self.now,
            actions: &self.actions
        )
    }

    // MARK: - Time

    private mutating func passTime() throws(Violation) {
        // A draining worker that holds no event leaves.
        if let index = self.workers.firstIndex(where: { $0.phase == .draining && $0.held.isEmpty })
        {
            self.lose(index, isDeath: false)
            try self.perform()
        }
        let most = self.weather.isLong ? 300 : 4
        var passed = UInt64(self.random.below(most * 1_000)) * 1_000
        if self.random.once(in: 2_000) { passed += UInt64(self.random.below(10)) * Self.second }
        if self.random.once(in: 100) {
            self.forgetHooks()
            try self.perform()
        }
        if self.random.once(in: 200_000) { passed += 4_000 * Self.second }
        try self.tick(passed)
    }

    mutating func tick(_ nanoseconds: UInt64) throws(Violation) {
        self.now += nanoseconds
        self.rememberServed()
        self.record("tick")
        // The owner did not run, so it has not read what workers wrote meanwhile.
        if self.now - self.tickedNS > Self.second {
            for index in self.workers.indices where self.workers[index].pingedNS != nil {
                self.workers[index].pingedNS? += self.now - self.tickedNS
            }
        }
        self.tickedNS = self.now
        for (ticket, slot) in self.tickets where slot.deadlineNS <= self.now {
            self.tickets[ticket]?.mayFail.formUnion([.deadline, .no_worker])
        }
        let tickets = self.tickets
        self.machine.timePassed(
            now: self.now,
            fingerprint: { tickets[$0]?.fingerprint ?? 0 },
            actions: &self.actions
        )
        try self.perform()
        for (ticket, slot) in self.tickets where slot.deadlineNS <= self.now {
            try self.check(false, "ticket \(ticket) waits past its deadline")
        }
        for worker in self.workers where worker.phase != .connected && !worker.isToBeClosed {
            try self.check(!self.isSilent(worker), "\(worker.id) hangs and is kept")
            try self.check(!self.isOverdue(worker), "\(worker.id) never answers and is kept")
            try self.check(
                worker.pingedNS != nil || self.now - worker.heardNS < self.settings.pingNS,
                "\(worker.id) is silent and is not pinged"
            )
        }
    }

    /// Remembers when each hook was last served: the grace begins then.
    mutating func rememberServed() {
        for hook in 0..<Self.hooks where self.isServed(UInt8(hook)) {
            self.servedUntilNS[hook] = self.now
        }
        for worker in self.workers where self.names(worker) {
            self.presentNS[worker.kind] = self.now
        }
    }

    /// Whether the worker counts for its name: an observer registers no hook.
    func names(_ worker: ModelWorker) -> Bool {
        !worker.hello.asked.isEmpty && self.machine.isReady(worker.id)
    }

    /// Whether a worker serves the hook; one in quarantine only answers the events that it holds.
    func isServed(_ hook: UInt8, besides other: WorkerID? = nil) -> Bool {
        self.workers.contains {
            $0.phase == .ready && !$0.isToBeClosed && $0.id != other && $0.hello.concurrency > 0
                && $0.hello.asked.contains(HookNumbers(hook: hook)) && self.machine.isReady($0.id)
        }
    }
}
