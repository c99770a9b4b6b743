// MARK: - Answers

extension PoolMachine {
    /// Sent so often and handed back unbegun, an event is over.
    static let mostAttempts = 8
    /// Before an event goes back to the only worker, which did not begin it, the first time.
    static let firstPauseNS: UInt64 = 50_000_000

    /// What an answer's id means; call ``answered(from:eventID:failure:now:actions:)`` next.
    package func answerReceived(from id: WorkerID, eventID: Int64) -> PoolAnswer {
        guard let index = self.index(of: id) else { return .unknown }
        guard let position = self.workers[index].position(of: eventID) else {
            let wasSent = eventID >= 1 && eventID <= self.workers[index].lastEventID
            return wasSent ? .duplicate : .unknown
        }
        return self.workers[index].held[position].ticket.map { .awaited($0) } ?? .late
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
        guard let index = self.index(of: id),
            let position = self.workers[index].position(of: eventID)
        else { return self.countStale(id, eventID) }
        let held = self.workers[index].held[position]
        self.workers[index].release(at: position)
        if !self.poison.isEmpty { self.clear(held) }
        if let ticket = held.ticket {
            self.workers[index].latency.record(nanoseconds: now &- held.sentNS)
            self.noteAnswer(ticket, index)
            if let failure {
                self.workers[index].failed += 1
                self.fail(ticket, failure, worker: id, now: now, actions: &actions)
            } else {
                self.succeeded(ticket, index)
            }
        } else {
            self.stale.late += 1
            self.workers[index].late += 1
        }
        self.settle(index, actions: &actions)
        self.dispatch(now: now, actions: &actions)
    }

    /// An answer that was used turned out to be none: what it refers to cannot be taken.
    ///
    /// Its question is over; only the books change.
    package mutating func answerRefused(from id: WorkerID) {
        self.counts.served -= min(self.counts.served, 1)
        self.counts.failed += 1
        guard let index = self.index(of: id) else { return }
        self.workers[index].served -= min(self.workers[index].served, 1)
        self.workers[index].failed += 1
    }

    private mutating func countStale(_ id: WorkerID, _ eventID: Int64) {
        if self.answerReceived(from: id, eventID: eventID) == .duplicate {
            self.stale.duplicate += 1
        } else {
            self.stale.unknown += 1
        }
    }

    /// A worker lives that has answered this, however late: the question is a suspect no more.
    private mutating func clear(_ held: WorkerSlot.Held) {
        let fingerprint = held.ticket.map { self.tickets[$0]?.fingerprint } ?? held.fingerprint
        if let fingerprint { self.poison.survived(fingerprint) }
    }

    /// An answer of any kind shows that the pool and the worker are there.
    private mutating func noteAnswer(_ ticket: PoolTicket, _ index: Int) {
        let isTrial = self.breaker.isOpen && (self.tickets[ticket]?.isTrial ?? false)
        self.breaker.answered(isTrial: isTrial)
        self.workers[index].hasAnswered = true
        guard self.workers[index].hasFailuresInARow else { return }
        self.workers[index].hasFailuresInARow = false
        self.health.answered(self.workers[index].hello.identity)
    }

    private mutating func succeeded(_ ticket: PoolTicket, _ index: Int) {
        self.tickets[ticket] = nil
        self.counts.served += 1
        self.workers[index].served += 1
        if self.workers[index].rampedCredits < self.workers[index].hello.concurrency {
            self.workers[index].rampedCredits += 1
        }
    }

    /// The worker did not answer in time.
    mutating func workerFailed(_ index: Int, now: UInt64, actions: inout [PoolAction]) {
        let isReady = self.workers[index].state == .ready
        self.workers[index].failed += 1
        self.workers[index].hasFailuresInARow = true
        let isOut = self.health.failed(
            self.workers[index].hello.identity,
            now: now,
            others: isReady ? self.readyCount - 1 : self.readyCount
        )
        guard isOut, isReady else { return }
        // Others may wait for what it still holds: it is closed with its last answer.
        self.workers[index].state = .quarantined
        self.readyChanged(now: now, actions: &actions)
    }

    /// The worker did not begin the event: it goes elsewhere.
    package mutating func notStarted(
        by id: WorkerID,
        eventID: Int64,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard let index = self.index(of: id),
            let position = self.workers[index].position(of: eventID),
            let ticket = self.workers[index].held[position].ticket,
            let slot = self.tickets[ticket]
        else { return self.answered(from: id, eventID: eventID, now: now, actions: &actions) }
        self.workers[index].release(at: position)
        // Bounded: workers that never begin anything must not keep an event going round.
        if slot.attempts < Self.mostAttempts {
            let pause = Self.firstPauseNS << UInt64(slot.attempts - 1)
            self.retry(
                ticket,
                slot,
                avoiding: id,
                notBeforeNS: now &+ pause,
                now: now,
                actions: &actions
            )
        } else {
            self.fail(ticket, .worker_error, worker: id, now: now, actions: &actions)
        }
        self.settle(index, actions: &actions)
        self.dispatch(now: now, actions: &actions)
    }

    /// The worker asks for more time; capped by the hook's maximum.
    package mutating func progressed(on id: WorkerID, eventID: Int64, extendNS: UInt64) {
        guard let index = self.index(of: id),
            let position = self.workers[index].position(of: eventID),
            let ticket = self.workers[index].held[position].ticket,
            let slot = self.tickets[ticket]
        else { return }
        let (extended, overflow) = slot.deadlineNS.addingReportingOverflow(extendNS)
        let deadline = min(overflow ? .max : extended, slot.latestDeadlineNS)
        if self.workers[index].extend(at: position, to: deadline) {
            self.tickets[ticket]?.deadlineNS = deadline
        }
    }

    /// The worker has declined what it was asked and begins with `hook`, which the event named too.
    ///
    /// From here on the question is one of that hook, with all of its time. The owner sees to it that
    /// a question only ever goes on, so this is told a few times at most.
    package mutating func wentAhead(
        on id: WorkerID,
        eventID: Int64,
        to hook: UInt8,
        now: UInt64
    ) {
        guard let index = self.index(of: id),
            let position = self.workers[index].position(of: eventID),
            let ticket = self.workers[index].held[position].ticket,
            var slot = self.tickets[ticket]
        else { return }
        let deadline = self.settings.deadline(hook)
        slot.hook = hook
        slot.deadlineNS = max(slot.deadlineNS, now &+ deadline.ordinaryNS)
        slot.latestDeadlineNS = max(slot.latestDeadlineNS, now &+ deadline.maximumNS)
        self.tickets[ticket] = slot
        self.workers[index].renew(at: position, deadlineNS: slot.deadlineNS)
    }

    /// The event was not written: it is too large for this worker, or its conversation is over.
    package mutating func couldNotSend(
        to id: WorkerID,
        eventID: Int64,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard let index = self.index(of: id),
            let position = self.workers[index].position(of: eventID)
        else { return }
        let ticket = self.workers[index].held[position].ticket
        self.workers[index].release(at: position)
        if let ticket {
            self.fail(ticket, .event_too_large, worker: id, now: now, actions: &actions)
        }
        self.settle(index, actions: &actions)
        self.dispatch(now: now, actions: &actions)
    }

    /// The event was not written because the worker's socket takes no more: it waits for the next
    /// worker with a credit, as if it had not been sent.
    package mutating func heldBack(
        from id: WorkerID,
        eventID: Int64,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard let index = self.index(of: id),
            let position = self.workers[index].position(of: eventID)
        else { return }
        let ticket = self.workers[index].held[position].ticket
        self.workers[index].release(at: position)
        if let ticket, var slot = self.tickets[ticket] {
            slot.attempts -= 1
            self.tickets[ticket] = slot
            self.retry(ticket, slot, now: now, actions: &actions)
        }
        self.settle(index, actions: &actions)
        self.dispatch(now: now, actions: &actions)
    }
}
