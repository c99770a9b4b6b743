// MARK: - Questions

extension PoolMachine {
    /// A session asks.
    package mutating func submit(
        _ ticket: PoolTicket,
        hook: UInt8,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard self.breaker.admits(now: now) else {
            return actions.append(.fail(ticket, .breaker_open, worker: nil))
        }
        let deadline = self.settings.deadline(hook)
        let slot = TicketSlot(
            hook: hook,
            mask: HookMask(hook: hook),
            deadlineNS: now &+ deadline.ordinaryNS,
            latestDeadlineNS: now &+ deadline.maximumNS
        )
        self.tickets[ticket] = slot
        if let worker = self.worker(for: slot, now: now) {
            return self.send(ticket, to: worker, now: now, actions: &actions)
        }
        self.enqueue(ticket, now: now, actions: &actions)
    }

    /// The client is gone: the ticket is over without an outcome.
    package mutating func cancelled(_ ticket: PoolTicket, actions: inout [PoolAction]) {
        guard let slot = self.tickets.removeValue(forKey: ticket) else { return }
        switch slot.place {
        case .queued: break
        case .sent(let worker, let eventID):
            self.workers[worker]?.held[eventID]?.ticket = nil
            actions.append(.cancelEvent(worker, eventID: eventID, reason: .client_gone))
        }
    }

    /// Tickets that have no outcome yet.
    package var openTickets: Int { self.tickets.count }

    /// Waits for a worker, if it is worth waiting.
    private mutating func enqueue(_ ticket: PoolTicket, now: UInt64, actions: inout [PoolAction]) {
        guard let slot = self.tickets[ticket] else { return }
        guard self.mayBeServed(slot) || now < self.graceUntilNS else {
            return self.fail(ticket, .no_worker, worker: nil, now: now, actions: &actions)
        }
        guard self.queue.count < self.settings.queueLimit else {
            self.compactQueue()
            guard self.queue.count < self.settings.queueLimit else {
                return self.fail(ticket, .queue_full, worker: nil, now: now, actions: &actions)
            }
            self.tickets[ticket]?.place = .queued
            return self.queue.append(ticket)
        }
        self.tickets[ticket]?.place = .queued
        self.queue.append(ticket)
    }

    private mutating func compactQueue() {
        self.queue.removeAll { self.tickets[$0]?.place != .queued }
    }

    /// Whether some ready worker serves the hook, busy or not.
    func mayBeServed(_ slot: TicketSlot) -> Bool {
        self.ready.contains { id in
            guard let worker = self.workers[id] else { return false }
            return worker.hello.asked.contains(slot.mask) && worker.hello.concurrency > 0
        }
    }

    /// The worker with the fewest outstanding events a credit; of equals the one that came first, so
    /// that a quiet pool keeps one worker warm instead of waking all of them in turn.
    ///
    /// A suspect waits for a worker with nothing else to do, but not for ever: under load none may come.
    private func worker(for slot: TicketSlot, now: UInt64) -> WorkerID? {
        let avoided = slot.attempts > 0 && self.othersServe(slot) ? slot.lastWorker : nil
        var best: WorkerID?
        var bestSlot: WorkerSlot?
        for id in self.ready {
            guard let worker = self.workers[id], worker.canTake(slot.mask) else { continue }
            if slot.isSuspect, !worker.held.isEmpty, now < slot.aloneUntilNS { continue }
            if id == avoided { continue }
            if let current = bestSlot, !worker.isLessBusy(than: current) { continue }
            best = id
            bestSlot = worker
        }
        return best
    }

    private mutating func send(
        _ ticket: PoolTicket,
        to id: WorkerID,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard var slot = self.tickets[ticket] else { return }
        slot.attempts += 1
        slot.lastWorker = id
        let eventID = (self.workers[id]?.lastEventID ?? 0) + 1
        slot.place = .sent(id, eventID)
        self.tickets[ticket] = slot
        self.workers[id]?.lastEventID = eventID
        self.workers[id]?.held[eventID] = WorkerSlot.Held(
            ticket: ticket,
            sentNS: now,
            zombieNS: slot.deadlineNS &+ self.settings.zombieNS
        )
        if slot.isSuspect { self.workers[id]?.isExclusive = true }
        let remaining = slot.deadlineNS > now ? slot.deadlineNS - now : 0
        actions.append(
            .send(ticket, to: id, eventID: eventID, attempt: slot.attempts, remainingNS: remaining)
        )
    }

    /// Hands out what waits, oldest first, as far as there are credits.
    mutating func dispatchQueue(now: UInt64, actions: inout [PoolAction]) {
        guard !self.queue.isEmpty else { return }
        var waiting: [PoolTicket] = []
        // A hook for which there is no credit: those behind it need not look again.
        var starved: HookMask = []
        let queue = self.queue
        self.queue = []
        for ticket in queue {
            guard let slot = self.tickets[ticket], slot.place == .queued else { continue }
            if !slot.isSuspect, starved.contains(slot.mask) {
                waiting.append(ticket)
            } else if let worker = self.worker(for: slot, now: now) {
                self.send(ticket, to: worker, now: now, actions: &actions)
            } else {
                if !slot.isSuspect, slot.attempts == 0 { starved.formUnion(slot.mask) }
                waiting.append(ticket)
            }
        }
        self.queue = waiting + self.queue
    }
}

// MARK: - Answers

extension PoolMachine {
    /// What an answer's id means; call ``answered(from:eventID:isGood:now:actions:)`` next.
    package func answerReceived(from id: WorkerID, eventID: Int64) -> PoolAnswer {
        guard let worker = self.workers[id] else { return .unknown }
        guard let held = worker.held[eventID] else {
            return eventID >= 1 && eventID <= worker.lastEventID ? .duplicate : .unknown
        }
        return held.ticket.map { .awaited($0) } ?? .late
    }

    /// The answer was used, or found invalid: the credit is free, the ticket over.
    ///
    /// `failure` is what was wrong with it, `nil` if it was used.
    package mutating func answered(
        from id: WorkerID,
        eventID: Int64,
        failure: PoolFailure? = nil,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        switch self.answerReceived(from: id, eventID: eventID) {
        case .unknown: self.stale.unknown += 1
        case .duplicate: self.stale.duplicate += 1
        case .late:
            self.stale.late += 1
            self.release(id, eventID)
            self.dispatchQueue(now: now, actions: &actions)
        case .awaited(let ticket):
            self.release(id, eventID)
            if let failure {
                self.workerFailed(id, now: now, actions: &actions)
                self.fail(ticket, failure, worker: id, now: now, actions: &actions)
            } else {
                self.tickets[ticket] = nil
                self.workerSucceeded(id)
                self.breaker.succeeded()
            }
            self.dispatchQueue(now: now, actions: &actions)
        }
    }

    /// The worker did not begin the event: it goes elsewhere.
    package mutating func notStarted(
        by id: WorkerID,
        eventID: Int64,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard case .awaited(let ticket) = self.answerReceived(from: id, eventID: eventID),
            let slot = self.tickets[ticket]
        else { return self.answered(from: id, eventID: eventID, now: now, actions: &actions) }
        self.release(id, eventID)
        // Bounded: a worker that never begins anything must not keep an event going round.
        if slot.attempts < PoolMachine.maximumAttempts {
            self.requeue(ticket, now: now, actions: &actions)
        } else {
            self.fail(ticket, .worker_error, worker: id, now: now, actions: &actions)
        }
        self.dispatchQueue(now: now, actions: &actions)
    }

    static let maximumAttempts = 8
    /// How long a suspect waits for an idle worker before it is content with the least busy one.
    static let waitForIdleNS: UInt64 = 500_000_000

    /// Whether a worker other than the last one serves the hook.
    private func othersServe(_ slot: TicketSlot) -> Bool {
        self.ready.contains { id in
            id != slot.lastWorker && self.workers[id]?.hello.asked.contains(slot.mask) ?? false
        }
    }

    /// The worker asks for more time; capped by the hook's maximum.
    package mutating func progressed(on id: WorkerID, eventID: Int64, extendNS: UInt64) {
        guard case .awaited(let ticket) = self.answerReceived(from: id, eventID: eventID),
            let slot = self.tickets[ticket]
        else { return }
        let (extended, overflow) = slot.deadlineNS.addingReportingOverflow(extendNS)
        let deadline = min(overflow ? .max : extended, slot.latestDeadlineNS)
        self.tickets[ticket]?.deadlineNS = deadline
        self.workers[id]?.held[eventID]?.zombieNS = deadline &+ self.settings.zombieNS
    }

    /// The event could not be written: too large for this worker.
    package mutating func couldNotSend(
        to id: WorkerID,
        eventID: Int64,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard case .awaited(let ticket) = self.answerReceived(from: id, eventID: eventID) else {
            return
        }
        self.release(id, eventID)
        self.fail(ticket, .event_too_large, worker: id, now: now, actions: &actions)
    }

    private mutating func release(_ id: WorkerID, _ eventID: Int64) {
        self.workers[id]?.held[eventID] = nil
        if self.workers[id]?.held.isEmpty ?? false { self.workers[id]?.isExclusive = false }
    }

    private mutating func requeue(_ ticket: PoolTicket, now: UInt64, actions: inout [PoolAction]) {
        self.tickets[ticket]?.place = .queued
        self.queue.insert(ticket, at: 0)
        guard let slot = self.tickets[ticket], !self.mayBeServed(slot), now >= self.graceUntilNS
        else { return }
        self.fail(ticket, .no_worker, worker: nil, now: now, actions: &actions)
    }

    func retriesAreSafe(_ slot: TicketSlot, _ worker: WorkerSlot) -> Bool {
        !self.settings.hooksWithSideEffects.contains(slot.mask)
            || worker.hello.idempotent.contains(slot.mask)
    }

    /// A worker died with the ticket: once more elsewhere, alone, or over.
    mutating func retryOrFail(
        _ ticket: PoolTicket,
        lostBy id: WorkerID,
        worker: WorkerSlot,
        isDeath: Bool,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard var slot = self.tickets[ticket] else { return }
        if isDeath {
            slot.isSuspect = true
            slot.aloneUntilNS = now &+ Self.waitForIdleNS
            self.tickets[ticket] = slot
        }
        guard self.retriesAreSafe(slot, worker), slot.deadlineNS > now else {
            return self.fail(ticket, .worker_lost, worker: id, now: now, actions: &actions)
        }
        self.requeue(ticket, now: now, actions: &actions)
    }

    mutating func fail(
        _ ticket: PoolTicket,
        _ failure: PoolFailure,
        worker: WorkerID?,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard self.tickets.removeValue(forKey: ticket) != nil else { return }
        self.breaker.failed(now: now)
        actions.append(.fail(ticket, failure, worker: worker))
    }
}
