/// One pool of policy workers: who is connected, who is asked, and what becomes of each event.
///
/// Pure: it is told what happened and appends what is to be done; it reads no clock and touches no
/// socket. Every ticket that is submitted gets exactly one outcome: the owner delivers the answer
/// that ``answerReceived(from:eventID:)`` says is awaited, or a ``PoolAction/fail(_:_:worker:)`` is
/// appended, or the owner cancels it.
///
/// Times are monotonic nanoseconds and never go back.
///
/// - Note: protocol/README.md, "Deadlines, credits, dispatch" and "Failure is not a verdict".
package struct PoolMachine: Sendable {
    package var settings: PoolSettings
    var workers: [WorkerID: WorkerSlot] = [:]
    /// Ready workers in the order in which they came; small, so that it is searched, not indexed.
    var ready: [WorkerID] = []
    var tickets: [PoolTicket: TicketSlot] = [:]
    /// Tickets that wait for a worker, oldest first; a ticket that is gone stays until it is met.
    var queue: [PoolTicket] = []
    /// What each kind of worker last named: asked even while none of them is there.
    var namedHooks: [String: HookMask] = [:]
    var graceUntilNS: UInt64
    var health = WorkerHealth()
    var breaker = PoolBreaker()
    var poison = PoisonMemory()
    package internal(set) var stale = StaleCounts()

    /// Answers that nobody waited for.
    package struct StaleCounts: Sendable, Equatable {
        package var late: UInt64 = 0
        package var duplicate: UInt64 = 0
        package var unknown: UInt64 = 0
    }

    package init(settings: PoolSettings, now: UInt64) {
        self.settings = settings
        self.graceUntilNS = now &+ settings.graceNS
    }

    // MARK: - What the owner asks

    /// Whether the pool is to be asked about `hook` at all.
    package func isAsked(_ hook: UInt8) -> Bool {
        let mask = HookMask(hook: hook)
        if self.namedHooks.isEmpty { return self.settings.hooksOfEmptyPool.contains(mask) }
        return self.namedHooks.values.contains { $0.contains(mask) }
    }

    /// Workers that are ready and not about to leave.
    package var readyCount: Int { self.ready.count }

    /// One worker of each name that observes `hook`: the one with the least to do.
    package func observers(of hook: UInt8) -> [WorkerID] {
        let mask = HookMask(hook: hook)
        var chosen: [String: WorkerID] = [:]
        for id in self.ready {
            guard let worker = self.workers[id], worker.hello.observed.contains(mask),
                worker.blockedSinceNS == nil
            else { continue }
            if let other = chosen[worker.hello.name], let slot = self.workers[other],
                slot.held.count <= worker.held.count
            {
                continue
            }
            chosen[worker.hello.name] = id
        }
        return chosen.values.sorted()
    }

    /// Events that the worker has and has not answered.
    package func outstanding(on id: WorkerID) -> Int { self.workers[id]?.held.count ?? 0 }

    /// Whether a question with this fingerprint already cost two workers.
    package func isPoison(_ fingerprint: UInt64, now: UInt64) -> Bool {
        self.poison.isKnown(fingerprint, now: now)
    }

    /// Whether there is any fingerprint to compare with, so that none need be computed.
    package var remembersPoison: Bool { !self.poison.isEmpty }
}

// MARK: - Connections

extension PoolMachine {
    /// Somebody connected; hello is due.
    ///
    /// - Returns: False when the pool has no room: reject with `pool_full`.
    package mutating func workerConnected(_ id: WorkerID, now: UInt64) -> Bool {
        guard self.workers.count < self.settings.maximumConnections else { return false }
        self.workers[id] = WorkerSlot(state: .greeting(until: now &+ self.settings.handshakeNS))
        return true
    }

    /// The worker said a good hello; after a welcome, once that is written, call ``workerReady(_:now:actions:)``.
    package mutating func helloReceived(
        from id: WorkerID,
        _ hello: PoolHello,
        now: UInt64
    ) -> HelloAnswer {
        guard var worker = self.workers[id], case .greeting = worker.state else { return .full }
        if let until = self.health.quarantinedUntil(hello.identity), until > now {
            return .quarantined(retryNS: until - now)
        }
        worker.hello = hello
        worker.hello.concurrency = max(0, min(hello.concurrency, self.settings.maximumConcurrency))
        worker.rampedCredits =
            self.health.isProbation(hello.identity) ? 1 : WorkerHealth.firstCredits
        self.workers[id] = worker
        return .welcome(concurrency: worker.hello.concurrency)
    }

    /// The welcome is on its way: events may follow.
    package mutating func workerReady(_ id: WorkerID, now: UInt64, actions: inout [PoolAction]) {
        guard var worker = self.workers[id], case .greeting = worker.state else { return }
        worker.state = .ready
        self.workers[id] = worker
        self.ready.append(id)
        self.nameHooks(of: worker.hello)
        self.passOverUnnamed(actions: &actions)
        self.dispatchQueue(now: now, actions: &actions)
    }

    /// Events that waited for a worker to come, and whose hook the one that came does not name.
    private mutating func passOverUnnamed(actions: inout [PoolAction]) {
        for ticket in self.queue {
            guard let slot = self.tickets[ticket], slot.place == .queued, !self.isAsked(slot.hook)
            else { continue }
            self.tickets[ticket] = nil
            actions.append(.passOver(ticket))
        }
    }

    /// Hooks that a kind of worker names now, and those that others of its kind still name.
    private mutating func nameHooks(of hello: PoolHello) {
        var mask = hello.asked
        for id in self.ready {
            guard let other = self.workers[id], other.hello.name == hello.name else { continue }
            mask.formUnion(other.hello.asked)
        }
        if self.namedHooks.count >= 64, self.namedHooks[hello.name] == nil {
            // More kinds than anybody runs: forget those of which none is there.
            let present = Set(self.ready.compactMap { self.workers[$0]?.hello.name })
            self.namedHooks = self.namedHooks.filter { present.contains($0.key) }
        }
        self.namedHooks[hello.name] = mask
    }

    /// The worker wants to leave, or is told to: nothing more is sent to it.
    package mutating func drainRequested(by id: WorkerID, now: UInt64, actions: inout [PoolAction])
    {
        guard var worker = self.workers[id] else { return }
        switch worker.state {
        case .greeting, .ready:
            worker.state = .draining
            self.workers[id] = worker
            self.removeFromReady(id, now: now)
            actions.append(.answerDrain(id))
        case .draining: break
        }
    }

    /// The connection is gone, for whatever reason, or said something that ends it.
    ///
    /// The `fingerprint` of a ticket's question is asked for only when it turns out to be poison.
    package mutating func workerLost(
        _ id: WorkerID,
        now: UInt64,
        isDeath: Bool = true,
        fingerprint: (PoolTicket) -> UInt64,
        actions: inout [PoolAction]
    ) {
        guard let worker = self.workers.removeValue(forKey: id) else { return }
        self.removeFromReady(id, now: now)
        let held = worker.held.sorted { $0.key < $1.key }.compactMap(\.value.ticket)
        if !held.isEmpty {
            self.health.failed(worker.hello.identity, now: now, poolSize: self.ready.count + 1)
        }
        for ticket in held {
            if isDeath { self.tickets[ticket]?.deaths += 1 }
            if let deaths = self.tickets[ticket]?.deaths, deaths >= PoisonMemory.deathsOfPoison {
                self.poison.remember(fingerprint(ticket), now: now)
                actions.append(.poison(ticket))
                self.fail(ticket, .poison, worker: id, now: now, actions: &actions)
            } else {
                self.retryOrFail(
                    ticket,
                    lostBy: id,
                    worker: worker,
                    isDeath: isDeath,
                    now: now,
                    actions: &actions
                )
            }
        }
        self.dispatchQueue(now: now, actions: &actions)
    }

    /// Its socket takes no more octets for now, or takes them again.
    package mutating func workerBlocked(
        _ id: WorkerID,
        _ isBlocked: Bool,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard self.workers[id] != nil else { return }
        self.workers[id]?.blockedSinceNS = isBlocked ? now : nil
        if !isBlocked { self.dispatchQueue(now: now, actions: &actions) }
    }

    /// What a kind's last worker with a hook takes along when others of its kind stay without it.
    private mutating func forgetUnnamedHooks() {
        var named: [String: HookMask] = [:]
        for id in self.ready {
            guard let worker = self.workers[id] else { continue }
            named[worker.hello.name, default: []].formUnion(worker.hello.asked)
        }
        self.namedHooks.merge(named) { _, now in now }
    }

    mutating func removeFromReady(_ id: WorkerID, now: UInt64) {
        guard let index = self.ready.firstIndex(of: id) else { return }
        self.ready.remove(at: index)
        self.forgetUnnamedHooks()
        if self.ready.isEmpty { self.graceUntilNS = now &+ self.settings.graceNS }
    }
}
