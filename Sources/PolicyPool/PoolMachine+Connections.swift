// MARK: - Connections

extension PoolMachine {
    /// Kinds of workers whose hooks are remembered one by one.
    static let mostKinds = 64

    /// Somebody connected; hello is due.
    ///
    /// - Returns: False when the pool has no room: reject with `pool_full`.
    package mutating func workerConnected(_ id: WorkerID, now: UInt64) -> Bool {
        guard self.workers.count < self.settings.maximumConnections,
            (self.workers.last?.id ?? 0) < id || self.workers.isEmpty
        else { return false }
        let until = now &+ self.settings.handshakeNS
        self.workers.append(WorkerSlot(id: id, state: .greeting(until: until)))
        return true
    }

    /// The worker said a good hello; after a welcome, once that is written, call ``workerReady(_:now:actions:)``.
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

    /// The welcome is on its way: events may follow.
    package mutating func workerReady(_ id: WorkerID, now: UInt64, actions: inout [PoolAction]) {
        guard let index = self.index(of: id), case .greeting = self.workers[index].state else {
            return
        }
        self.workers[index].state = .ready
        self.workers[index].heardNS = now
        self.readyChanged(now: now, actions: &actions)
        self.dispatch(now: now, actions: &actions)
    }

    /// Something came from the worker, so it lives; to be told at least before each ``timePassed(now:actions:)``.
    package mutating func workerHeard(_ id: WorkerID, now: UInt64) {
        guard let index = self.index(of: id) else { return }
        self.workers[index].heardNS = now
        self.workers[index].pingedNS = nil
    }

    /// The worker wants to leave, or is told to: nothing more is sent to it.
    package mutating func drainRequested(by id: WorkerID, now: UInt64, actions: inout [PoolAction])
    {
        guard let index = self.index(of: id) else { return }
        switch self.workers[index].state {
        case .greeting, .ready, .quarantined:
            let wasReady = self.workers[index].state == .ready
            // A quarantined one stays so: it leaves with its last answer, whoever closes.
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

    /// The connection is gone, for whatever reason, or said something that ends it.
    ///
    /// What a worker dies with is a suspect; what it held when we closed it (`isDeath` false) is not.
    /// What it died or hung with while it had nothing else is counted towards poison. The `fingerprint`
    /// of a ticket's question is asked for only then.
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
        let isItsEnd = end == .died || end == .hung
        for held in worker.held {
            let isAlone = isItsEnd && worker.held.count == 1
            guard let ticket = held.ticket else {
                if isAlone, let known = held.fingerprint { _ = self.poison.died(known, now: now) }
                continue
            }
            guard var slot = self.tickets[ticket], slot.place == .sent(id, held.eventID) else {
                continue
            }
            slot.losses += 1
            if end == .died { slot.isSuspect = true }
            if isAlone { slot.fingerprint = fingerprint(ticket) }
            self.tickets[ticket] = slot
            let isPoison =
                isAlone && (slot.fingerprint.map { self.poison.died($0, now: now) } ?? false)
            if isPoison {
                actions.append(.poison(ticket))
                self.fail(ticket, .poison, worker: id, now: now, actions: &actions)
            } else if slot.losses < TicketSlot.mostLosses, slot.deadlineNS > now,
                self.mayRetry(slot, worker.hello)
            {
                self.retry(ticket, slot, now: now, actions: &actions)
            } else {
                self.fail(ticket, .worker_lost, worker: id, now: now, actions: &actions)
            }
        }
        self.dispatch(now: now, actions: &actions)
    }

    /// What has side effects is not asked twice, unless the worker that was lost knows it again.
    private func mayRetry(_ slot: TicketSlot, _ hello: PoolHello) -> Bool {
        !self.settings.hooksWithSideEffects.contains(slot.mask)
            || hello.idempotent.contains(slot.mask)
    }

    /// Its socket takes no more octets for now, or takes them again.
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

    /// Has the owner close a connection; nothing more is sent to it.
    mutating func close(_ index: Int, _ reason: PoolAction.CloseReason, actions: inout [PoolAction])
    {
        if case .closing = self.workers[index].state { return }
        self.workers[index].state = .closing(reason)
        actions.append(.close(self.workers[index].id, reason))
    }

    /// Closes a quarantined worker once nobody waits for it.
    mutating func settle(_ index: Int, actions: inout [PoolAction]) {
        guard self.workers[index].state == .quarantined, self.workers[index].awaited == 0 else {
            return
        }
        self.close(index, .quarantined, actions: &actions)
    }
}

// MARK: - Who serves what

extension PoolMachine {
    /// Works out again what follows from which workers are ready; call after each change of these.
    mutating func readyChanged(now: UInt64, actions: inout [PoolAction]) {
        let before = (count: self.readyCount, served: self.served)
        self.readyCount = 0
        self.served = []
        var present: [String: HookMask] = [:]
        // Who only observes is nobody: it answers nothing, and names nothing to ask.
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
        self.passOverUnnamed(actions: &actions)
    }

    /// A kind of which a worker is there names what those name; one of which none is left keeps its hooks.
    private mutating func remember(_ present: [String: HookMask], now: UInt64) {
        self.namedNow = present.values.reduce([]) { $0.union($1) }
        for (name, mask) in present {
            if self.named[name] != nil || self.named.count < Self.mostKinds {
                self.named[name] = NamedHooks(mask: mask, goneSinceNS: nil)
            } else {
                // More kinds than anybody runs; forgetting one would let mail pass unchecked.
                self.namedByOthers.formUnion(mask)
            }
        }
        for (name, hooks) in self.named where hooks.goneSinceNS == nil && present[name] == nil {
            self.named[name]?.goneSinceNS = now
        }
        self.sumUpAsked()
    }

    private mutating func sumUpAsked() {
        if let declared = self.settings.hooksDeclared {
            self.asked = declared.union(self.namedNow)
        } else if !self.named.isEmpty {
            self.asked = self.named.values.reduce(self.namedByOthers) { $0.union($1.mask) }
        }
    }

    /// The operator's word that what is there now is all: hooks that only a kind named of which no worker
    /// is left are asked no more.
    ///
    /// Not while no worker is there at all, and not if the kind is gone for less than
    /// ``PoolSettings/hooksRememberedNS``: a crash must not open a gate.
    ///
    /// - Returns: What is asked no more.
    package mutating func forgetHooks(now: UInt64, actions: inout [PoolAction]) -> HookMask {
        guard self.readyCount > 0, let before = self.asked else { return [] }
        self.named = self.named.filter { _, hooks in
            guard let since = hooks.goneSinceNS else { return true }
            return now &- since < self.settings.hooksRememberedNS
        }
        if self.named.values.allSatisfy({ $0.goneSinceNS == nil }) {
            self.namedByOthers.formIntersection(self.namedNow)
        }
        self.sumUpAsked()
        self.passOverUnnamed(actions: &actions)
        return before.subtracting(self.asked ?? [])
    }

    /// Other settings count from now on.
    package mutating func reconfigured(_ settings: PoolSettings, actions: inout [PoolAction]) {
        let wasDeclared = self.settings.hooksDeclared != nil
        self.settings = settings
        if wasDeclared, settings.hooksDeclared == nil { self.asked = nil }
        self.sumUpAsked()
        self.passOverUnnamed(actions: &actions)
    }

    /// Hooks that are asked and that no worker names which is there.
    package var hooksOfNobody: HookMask { (self.asked ?? []).subtracting(self.namedNow) }

    /// Events wait for a while for hooks that lost their last worker, and for all if the pool did.
    private mutating func beginGrace(before: (count: Int, served: HookMask), now: UInt64) {
        let until = now &+ self.settings.graceNS
        let isEmptyNow = before.count > 0 && self.readyCount == 0
        let lost = before.served.subtracting(self.served)
        guard isEmptyNow || !lost.isEmpty else { return }
        for hook in self.graceUntilNS.indices
        where isEmptyNow || lost.contains(HookMask(hook: UInt8(hook))) {
            self.graceUntilNS[hook] = until
        }
    }

    /// Events that waited for a worker to come, and whose hook nobody names any more.
    private mutating func passOverUnnamed(actions: inout [PoolAction]) {
        guard self.queued > 0, let asked = self.asked else { return }
        let unnamed = self.waiting.subtracting(asked)
        if !unnamed.isEmpty {
            for hook in self.queues.indices where unnamed.contains(HookMask(hook: UInt8(hook))) {
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

/// How a connection ended, as far as what it held is concerned.
private enum LossKind {
    /// By itself, in the middle of things.
    case died
    /// Closed by us, because it did not answer long past a deadline or a `ping`.
    case hung
    /// Closed by us for another reason, which was counted then.
    case closedByUs
    /// It said something that ends the connection.
    case broken

    init(_ state: WorkerSlot.State, isDeath: Bool) {
        switch state {
        case .closing(.zombie): self = .hung
        case .closing: self = .closedByUs
        case .greeting, .ready, .draining, .quarantined: self = isDeath ? .died : .broken
        }
    }
}
