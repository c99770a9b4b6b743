// MARK: - Connections

extension PoolMachine {
    /// For how many names of workers the hooks are remembered name by name.
    static let maximumNames = 64

    /// A worker connected; it has to say hello.
    ///
    /// - Returns: False when the pool has no room; the owner then writes `reject` with `pool_full`.
    package mutating func workerConnected(_ id: WorkerID, now: UInt64) -> Bool {
        guard self.workers.count < self.settings.maximumConnections,
            (self.workers.last?.id ?? 0) < id || self.workers.isEmpty
        else { return false }
        let until = now &+ self.settings.handshakeNS
        self.workers.append(WorkerSlot(id: id, state: .greeting(until: until)))
        return true
    }

    /// The worker said a valid hello.
    ///
    /// When the owner has written the `welcome`, it calls ``workerReady(_:now:actions:)``.
    package mutating func helloReceived(
        from id: WorkerID,
        _ hello: PoolHello,
        now: UInt64
    ) -> HelloAnswer {
        guard let index = self.index(of: id), case .greeting = self.workers[index].state else {
            return .full
        }
        if let wait = self.health.admits(hello.identity, now: now, ready: self.readyCount) {
            return .quarantined(retryNS: wait)
        }
        let concurrency = max(0, min(hello.concurrency, self.settings.maximumConcurrency))
        let isOnProbation = self.health.isOnProbation(hello.identity)
        self.workers[index].hello = hello
        self.workers[index].hello.concurrency = concurrency
        self.workers[index].hasFailuresInARow = self.health.isKnown(hello.identity)
        self.workers[index].rampedCredits = isOnProbation ? 1 : WorkerHealth.firstCredits
        return .welcome(concurrency: concurrency)
    }

    /// The owner has written the `welcome`: events may follow.
    package mutating func workerReady(_ id: WorkerID, now: UInt64, actions: inout [PoolAction]) {
        guard let index = self.index(of: id), case .greeting = self.workers[index].state else {
            return
        }
        self.workers[index].state = .ready
        self.workers[index].heardNS = now
        self.readyChanged(now: now, actions: &actions)
        self.dispatch(now: now, actions: &actions)
    }

    /// The worker wrote something.
    ///
    /// The owner says so at the latest before the next ``timePassed(now:fingerprint:actions:)``.
    package mutating func workerHeard(_ id: WorkerID, now: UInt64) {
        guard let index = self.index(of: id) else { return }
        self.workers[index].heardNS = now
        self.workers[index].pingedNS = nil
    }

    /// The worker wants to leave, or the frontend wants it to: it gets no more events.
    package mutating func drainRequested(by id: WorkerID, now: UInt64, actions: inout [PoolAction])
    {
        guard let index = self.index(of: id) else { return }
        switch self.workers[index].state {
        case .greeting, .ready, .quarantined:
            let wasReady = self.workers[index].state == .ready
            // A quarantined worker stays quarantined, so that it is closed after its last answer.
            if self.workers[index].state != .quarantined { self.workers[index].state = .draining }
            guard !self.workers[index].isDrainAnswered else { return }
            self.workers[index].isDrainAnswered = true
            actions.append(.answerDrain(id))
            guard wasReady else { return }
            self.readyChanged(now: now, actions: &actions)
            self.dispatch(now: now, actions: &actions)
        case .draining, .closing: break
        }
    }

    /// The connection is gone, or the worker broke a rule that ends the connection.
    ///
    /// When a worker dies, every question that it held becomes a suspect. If it died or hung while
    /// it held one question only, that question counts towards poison; only then is `fingerprint`
    /// called.
    ///
    /// `isDeath` is false if the owner ended the connection without an action of the machine, for
    /// example because the worker broke a rule.
    package mutating func workerLost(
        _ id: WorkerID,
        now: UInt64,
        isDeath: Bool = true,
        fingerprint: (PoolTicket) -> UInt64,
        actions: inout [PoolAction]
    ) {
        guard let index = self.index(of: id) else { return }
        let worker = self.workers.remove(at: index)
        if worker.state == .ready { self.readyChanged(now: now, actions: &actions) }
        let end = LossKind(worker.state, isDeath: isDeath)
        if worker.awaited > 0, end != .closedByUs, end != .hung {
            _ = self.health.failed(
                worker.hello.identity,
                now: now,
                others: self.readyCount,
                hasAnswered: worker.hasAnswered
            )
        }
        let isDeathOrHang = end == .died || end == .hung
        for held in worker.held {
            let isAlone = isDeathOrHang && worker.held.count == 1
            guard let ticket = held.ticket else {
                if isAlone, let known = held.fingerprint {
                    _ = self.countDeath(with: known, now: now, actions: &actions)
                }
                continue
            }
            guard var slot = self.tickets[ticket], slot.place == .sent(id, held.eventID) else {
                continue
            }
            slot.losses += 1
            if end == .died { slot.isSuspect = true }
            if isAlone { slot.fingerprint = fingerprint(ticket) }
            self.tickets[ticket] = slot
            var isPoison = false
            if isAlone, let known = slot.fingerprint {
                isPoison = self.countDeath(with: known, now: now, actions: &actions)
            }
            if isPoison {
                actions.append(.poison(ticket))
                self.fail(ticket, .poison, worker: id, now: now, actions: &actions)
            } else if slot.losses < TicketSlot.maximumLosses, slot.deadlineNS > now,
                self.mayRetry(slot, worker.hello)
            {
                self.retry(ticket, slot, now: now, actions: &actions)
            } else {
                self.fail(ticket, .worker_lost, worker: id, now: now, actions: &actions)
            }
        }
        self.dispatch(now: now, actions: &actions)
    }

    /// Counts a worker that died or hung with the question and nothing else.
    ///
    /// - Returns: Whether the question is poison now.
    private mutating func countDeath(
        with fingerprint: UInt64,
        now: UInt64,
        actions: inout [PoolAction]
    ) -> Bool {
        actions.append(.deathCounted(fingerprint))
        return self.poison.workerDied(with: fingerprint, now: now)
    }

    /// A question with side effects is asked again only if the lost worker recognises it
    /// (`idempotent`).
    private func mayRetry(_ slot: TicketSlot, _ hello: PoolHello) -> Bool {
        !self.settings.hooksWithSideEffects.contains(slot.mask)
            || hello.idempotent.contains(slot.mask)
    }

    /// The worker's socket takes no more octets for now (`isBlocked`), or takes them again.
    package mutating func workerBlocked(
        _ id: WorkerID,
        _ isBlocked: Bool,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard let index = self.index(of: id) else { return }
        if isBlocked {
            if self.workers[index].blockedSinceNS == nil {
                self.workers[index].blockedSinceNS = now
            }
            self.workers[index].isReserved = false
        } else {
            self.workers[index].blockedSinceNS = nil
        }
        self.dispatch(now: now, actions: &actions)
    }

    /// Tells the owner to close a connection; the worker gets no more events.
    mutating func close(_ index: Int, _ reason: PoolAction.CloseReason, actions: inout [PoolAction])
    {
        if case .closing = self.workers[index].state { return }
        self.workers[index].state = .closing(reason)
        actions.append(.close(self.workers[index].id, reason))
    }

    /// Closes a quarantined worker once no session waits for an answer of it.
    mutating func closeIfQuarantined(_ index: Int, actions: inout [PoolAction]) {
        guard self.workers[index].state == .quarantined, self.workers[index].awaited == 0 else {
            return
        }
        self.close(index, .quarantined, actions: &actions)
    }
}

// MARK: - Hooks

extension PoolMachine {
    /// Recomputes what depends on which workers are ready; called after each change of that.
    mutating func readyChanged(now: UInt64, actions: inout [PoolAction]) {
        let before = (count: self.readyCount, served: self.served)
        self.readyCount = 0
        self.served = []
        var present: [String: HookNumbers] = [:]
        // An observer does not count: it answers no questions.
        for worker in self.workers where worker.state == .ready && !worker.isObserver {
            self.readyCount += 1
            if worker.serves { self.served.formUnion(worker.hello.asked) }
            present[worker.hello.name, default: []].formUnion(worker.hello.asked)
        }
        for index in self.workers.indices where self.workers[index].state != .ready {
            self.workers[index].isReserved = false
        }
        self.remember(present, now: now)
        self.beginGrace(before: before, now: now)
        self.passOverNotAsked(actions: &actions)
    }

    /// Remembers hooks by the workers' names.
    ///
    /// While workers of a name are ready, the hooks of the name are theirs; when the last of them
    /// is gone, the name keeps its last hooks.
    private mutating func remember(_ present: [String: HookNumbers], now: UInt64) {
        self.registeredNow = present.values.reduce([]) { $0.union($1) }
        for (name, mask) in present {
            if self.registered[name] != nil || self.registered.count < Self.maximumNames {
                self.registered[name] = RegisteredHooks(mask: mask, goneSinceNS: nil)
            } else {
                // Forgetting another name instead would let mail pass unchecked.
                self.registeredByFurtherNames.formUnion(mask)
            }
        }
        for (name, hooks) in self.registered
        where hooks.goneSinceNS == nil && present[name] == nil {
            self.registered[name]?.goneSinceNS = now
        }
        self.updateAsked()
    }

    private mutating func updateAsked() {
        if let declared = self.settings.hooksDeclared {
            self.asked = declared.union(self.registeredNow)
        } else if !self.registered.isEmpty {
            self.asked = self.registered.values.reduce(self.registeredByFurtherNames) {
                $0.union($1.mask)
            }
        }
    }

    /// The operator says (SIGHUP) that workers which are gone will not return: hooks that only such
    /// workers registered are not asked any more.
    ///
    /// Nothing is forgotten while no worker is ready, and no name whose last worker left less than
    /// ``PoolSettings/hooksRememberedNS`` ago: a crash must not let mail pass unchecked.
    ///
    /// - Returns: The hooks that are no longer asked.
    package mutating func forgetHooks(now: UInt64, actions: inout [PoolAction]) -> HookNumbers {
        guard self.readyCount > 0, let before = self.asked else { return [] }
        self.registered = self.registered.filter { _, hooks in
            guard let since = hooks.goneSinceNS else { return true }
            return now &- since < self.settings.hooksRememberedNS
        }
        if self.registered.values.allSatisfy({ $0.goneSinceNS == nil }) {
            self.registeredByFurtherNames.formIntersection(self.registeredNow)
        }
        self.updateAsked()
        self.passOverNotAsked(actions: &actions)
        return before.subtracting(self.asked ?? [])
    }

    /// The owner has new settings, which hold from now on.
    package mutating func reconfigured(_ settings: PoolSettings, actions: inout [PoolAction]) {
        let wasDeclared = self.settings.hooksDeclared != nil
        self.settings = settings
        if wasDeclared, settings.hooksDeclared == nil { self.asked = nil }
        self.updateAsked()
        self.passOverNotAsked(actions: &actions)
    }

    /// Hooks that are asked although no ready worker registered them.
    package var hooksWithoutWorker: HookNumbers {
        (self.asked ?? []).subtracting(self.registeredNow)
    }

    /// Starts the grace of each hook that lost its last worker, and of all hooks if no worker is
    /// left.
    private mutating func beginGrace(before: (count: Int, served: HookNumbers), now: UInt64) {
        let until = now &+ self.settings.graceNS
        let isEmptyNow = before.count > 0 && self.readyCount == 0
        let lost = before.served.subtracting(self.served)
        guard isEmptyNow || !lost.isEmpty else { return }
        for hook in self.graceUntilNS.indices
        where isEmptyNow || lost.contains(HookNumbers(hook: UInt8(hook))) {
            self.graceUntilNS[hook] = until
        }
    }

    /// Ends the tickets that wait at hooks which are no longer asked.
    private mutating func passOverNotAsked(actions: inout [PoolAction]) {
        guard self.queued > 0, let asked = self.asked else { return }
        let notAsked = self.waiting.subtracting(asked)
        if !notAsked.isEmpty {
            for hook in self.queues.indices where notAsked.contains(HookNumbers(hook: UInt8(hook)))
            {
                while let ticket = self.oldest(hook) {
                    self.takeOldest(hook)
                    self.tickets[ticket] = nil
                    actions.append(.passOver(ticket))
                }
            }
        }
        for retry in self.retries where !asked.contains(retry.mask) {
            self.leaveRetries(retry.ticket)
            self.tickets[retry.ticket] = nil
            actions.append(.passOver(retry.ticket))
        }
    }
}

/// Why a worker's connection ended.
private enum LossKind {
    /// The worker ended it.
    case died
    /// We closed it, because the worker did not answer an event or a `ping`
    /// (``PoolAction/CloseReason/zombie``).
    case hung
    /// We closed it for another reason, which was counted then.
    case closedByUs
    /// The worker broke a rule that ends the connection.
    case broken

    init(_ state: WorkerSlot.State, isDeath: Bool) {
        switch state {
        case .closing(.zombie): self = .hung
        case .closing: self = .closedByUs
        case .greeting, .ready, .draining, .quarantined: self = isDeath ? .died : .broken
        }
    }
}
