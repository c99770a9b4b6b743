// MARK: - Time

extension PoolMachine {
    /// If two calls of ``timePassed(now:fingerprint:actions:)`` are further apart than this, the
    /// owner did not run in between.
    static let gapNS: UInt64 = 1_000_000_000

    /// Time passed; the owner calls this at least every 100 ms.
    ///
    /// `fingerprint` is called for a ticket whose deadline passed while a worker held its question.
    package mutating func timePassed(
        now: UInt64,
        fingerprint: (PoolTicket) -> UInt64,
        actions: inout [PoolAction]
    ) {
        if now >= self.nextDeadlineNS {
            self.lookAtDeadlines(now: now, fingerprint: fingerprint, actions: &actions)
        }
        if self.queued > 0 { self.failUnserved(now: now, actions: &actions) }
        self.forgiveGap(now: now)
        self.pingSilentWorkers(now: now, actions: &actions)
        self.closeOverdueWorkers(now: now, actions: &actions)
        self.poison.forgetOld(now: now)
        self.health.forgetOld(now: now)
        self.dispatch(now: now, actions: &actions)
    }

    /// Fails the tickets whose deadline passed, and computes when to look again.
    ///
    /// Deadlines only move to later times, so no deadline passes before the earliest one that is
    /// seen here.
    private mutating func lookAtDeadlines(
        now: UInt64,
        fingerprint: (PoolTicket) -> UInt64,
        actions: inout [PoolAction]
    ) {
        var next = UInt64.max
        var overdue: [PoolTicket] = []
        for (ticket, slot) in self.tickets {
            if slot.deadlineNS <= now {
                overdue.append(ticket)
            } else {
                next = min(next, slot.deadlineNS)
            }
        }
        for worker in self.workers {
            for held in worker.held where held.deadlineNS &+ self.settings.zombieNS > now {
                next = min(next, held.deadlineNS &+ self.settings.zombieNS)
            }
        }
        self.nextDeadlineNS = next
        for ticket in overdue.sorted() {
            self.failOverdue(ticket, now: now, fingerprint: fingerprint, actions: &actions)
        }
    }

    private mutating func failOverdue(
        _ ticket: PoolTicket,
        now: UInt64,
        fingerprint: (PoolTicket) -> UInt64,
        actions: inout [PoolAction]
    ) {
        guard let slot = self.tickets[ticket] else { return }
        let isServed = self.served.contains(slot.mask)
        switch slot.place {
        case .queued:
            self.leaveQueue(ticket, slot.hook)
            self.fail(
                ticket,
                isServed ? .deadline : .no_worker,
                worker: nil,
                now: now,
                actions: &actions
            )
        case .retried:
            self.leaveRetries(ticket)
            self.fail(
                ticket,
                isServed ? .deadline : .no_worker,
                worker: nil,
                now: now,
                actions: &actions
            )
        case .sent(let id, let eventID):
            actions.append(.cancelEvent(id, eventID: eventID, reason: .deadline))
            self.fail(ticket, .deadline, worker: id, now: now, actions: &actions)
            guard let index = self.index(of: id) else { return }
            // The worker still works on the event, so its credit stays taken until it answers.
            self.workers[index].abandon(eventID, fingerprint: fingerprint(ticket))
            self.workerMissedDeadline(index, now: now, actions: &actions)
            self.closeIfQuarantined(index, actions: &actions)
        }
    }

    /// Fails the tickets that wait at hooks which no worker serves and whose grace is over.
    private mutating func failUnserved(now: UInt64, actions: inout [PoolAction]) {
        let unserved = self.waiting.subtracting(self.served)
        if !unserved.isEmpty {
            for hook in self.queues.indices
            where unserved.contains(HookNumbers(hook: UInt8(hook)))
                && now >= self.graceUntilNS[hook]
            {
                while let ticket = self.oldest(hook) {
                    self.takeOldest(hook)
                    self.fail(ticket, .no_worker, worker: nil, now: now, actions: &actions)
                }
            }
        }
        for retry in self.retries where !self.served.contains(retry.mask) {
            let hook = retry.mask.rawValue.trailingZeroBitCount
            guard now >= self.graceUntilNS[hook] else { continue }
            self.leaveRetries(retry.ticket)
            self.fail(retry.ticket, .no_worker, worker: nil, now: now, actions: &actions)
        }
    }

    /// If the owner did not run for a while, gives the workers that time to answer their `ping`:
    /// what they wrote meanwhile has not been read yet.
    private mutating func forgiveGap(now: UInt64) {
        let gap = now &- self.lastTimeNS
        self.lastTimeNS = now
        guard gap > Self.gapNS else { return }
        for index in self.workers.indices {
            guard let pinged = self.workers[index].pingedNS else { continue }
            self.workers[index].pingedNS = pinged &+ gap
        }
    }

    private mutating func pingSilentWorkers(now: UInt64, actions: inout [PoolAction]) {
        for index in self.workers.indices where self.workers[index].pingedNS == nil {
            switch self.workers[index].state {
            case .greeting, .closing: continue
            case .ready, .draining, .quarantined: break
            }
            guard now &- self.workers[index].heardNS >= self.settings.pingNS else { continue }
            self.workers[index].pingedNS = now
            actions.append(.ping(self.workers[index].id))
        }
    }

    private mutating func closeOverdueWorkers(now: UInt64, actions: inout [PoolAction]) {
        var wasReady = false
        for index in self.workers.indices {
            guard let reason = self.reasonToClose(index, now: now) else { continue }
            wasReady = wasReady || self.workers[index].state == .ready
            self.close(index, reason, actions: &actions)
        }
        if wasReady { self.readyChanged(now: now, actions: &actions) }
    }

    private func reasonToClose(_ index: Int, now: UInt64) -> PoolAction.CloseReason? {
        switch self.workers[index].state {
        case .greeting(let until): return until <= now ? .handshake : nil
        case .closing: return nil
        case .ready, .draining, .quarantined: break
        }
        let patience = self.settings.zombieNS
        if let since = self.workers[index].blockedSinceNS, now &- since >= patience {
            return .slow_reader
        }
        let isOverdue = self.workers[index].held.contains { $0.deadlineNS &+ patience <= now }
        let isSilent =
            self.workers[index].pingedNS.map { now >= $0 && now &- $0 >= patience } ?? false
        return isOverdue || isSilent && !self.workers[index].isBusy(now: now) ? .zombie : nil
    }
}
