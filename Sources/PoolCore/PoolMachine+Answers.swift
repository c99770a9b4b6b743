// MARK: - Answers

extension PoolMachine {
    /// A question fails when it was sent this often and handed back each time (`started: false`).
    static let maximumAttempts = 8
    /// How long a question waits before it returns to the worker that handed it back, if no other
    /// worker serves the hook.
    ///
    /// It doubles with each attempt.
    static let firstPauseNS: UInt64 = 50_000_000

    /// What the event id of an answer refers to.
    ///
    /// The owner calls ``answered(from:eventID:failure:now:actions:)`` next.
    package func answerReceived(from id: WorkerID, eventID: Int64) -> PoolAnswer {
        guard let index = self.index(of: id) else { return .unknown }
        guard let position = self.workers[index].position(of: eventID) else {
            let wasSent = eventID >= 1 && eventID <= self.workers[index].lastEventID
            return wasSent ? .duplicate : .unknown
        }
        return self.workers[index].held[position].ticket.map { .awaited($0) } ?? .late
    }

    /// A worker answered an event: its credit is free, and the ticket ends.
    ///
    /// `failure` is what was wrong with the answer; `nil` if it was used.
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
        if !self.poison.isEmpty { self.clearSuspicion(held, actions: &actions) }
        if let ticket = held.ticket {
            self.workers[index].latency.record(nanoseconds: now &- held.sentNS)
            self.recordAnswer(ticket, index)
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
        self.closeIfQuarantined(index, actions: &actions)
        self.dispatch(now: now, actions: &actions)
    }

    /// An answer that was used turned out to be unusable: the frontend could not take the file that
    /// it names.
    ///
    /// The ticket has ended already; only the counts change.
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

    /// The worker answered and lives, even if it answered late: the question is no longer a
    /// suspect.
    private mutating func clearSuspicion(_ held: WorkerSlot.Held, actions: inout [PoolAction]) {
        let fingerprint = held.ticket.map { self.tickets[$0]?.fingerprint } ?? held.fingerprint
        guard let fingerprint, self.poison.workerSurvived(fingerprint) else { return }
        actions.append(.suspicionCleared(fingerprint))
    }

    /// Tells the breaker and the worker's record that an answer came.
    ///
    /// A bad answer counts as well.
    private mutating func recordAnswer(_ ticket: PoolTicket, _ index: Int) {
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

    /// The worker did not answer before a deadline.
    mutating func workerMissedDeadline(_ index: Int, now: UInt64, actions: inout [PoolAction]) {
        let isReady = self.workers[index].state == .ready
        self.workers[index].failed += 1
        self.workers[index].hasFailuresInARow = true
        let isOut = self.health.failed(
            self.workers[index].hello.identity,
            now: now,
            others: isReady ? self.readyCount - 1 : self.readyCount
        )
        guard isOut, isReady else { return }
        // Sessions may wait for other events that it holds: it is closed after its last answer.
        self.workers[index].state = .quarantined
        self.readyChanged(now: now, actions: &actions)
    }

    /// The worker handed the event back (`started: false`): the question goes to another worker, if
    /// any.
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
        // Without a limit, workers that never start anything would pass the question on for ever.
        if slot.attempts < Self.maximumAttempts {
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
        self.closeIfQuarantined(index, actions: &actions)
        self.dispatch(now: now, actions: &actions)
    }

    /// The worker sent `progress`: the deadline moves, up to the hook's maximum.
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

    /// The worker went ahead: it declined at the event's hook and begins with `hook`, the next hook
    /// that the event names.
    ///
    /// The ticket's question is now at that hook, and gets that hook's deadlines from now on. The
    /// owner checks that a worker only goes forward, so a ticket sees only a few of these calls.
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

    /// The owner did not write the event: it is too large for this worker, the session has ended, or
    /// this worker may not have it, which is `no_worker`.
    package mutating func couldNotSend(
        to id: WorkerID,
        eventID: Int64,
        as failure: PoolFailure = .event_too_large,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard let index = self.index(of: id),
            let position = self.workers[index].position(of: eventID)
        else { return }
        let ticket = self.workers[index].held[position].ticket
        self.workers[index].release(at: position)
        if let ticket {
            self.fail(ticket, failure, worker: id, now: now, actions: &actions)
        }
        self.closeIfQuarantined(index, actions: &actions)
        self.dispatch(now: now, actions: &actions)
    }

    /// The owner did not write the event, because the worker's socket takes no more octets: the
    /// ticket waits for the next free credit, as if it had not been sent.
    package mutating func heldBack(
        from id: WorkerID,
        eventID: Int64,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        self.takeBack(id, eventID, now: now, actions: &actions)
    }

    /// The owner did not write a suspect, because the worker holds a suspect of another machine: the
    /// ticket waits for another worker, or for a moment if there is no other.
    package mutating func claimedElsewhere(
        _ id: WorkerID,
        eventID: Int64,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        let laterNS = now &+ Self.firstPauseNS
        self.takeBack(id, eventID, avoiding: id, notBeforeNS: laterNS, now: now, actions: &actions)
    }

    /// The event was not written: its ticket waits as if it had not been sent.
    ///
    /// `avoided` and `notBeforeNS` are those of ``retry(_:_:avoiding:notBeforeNS:now:actions:)``.
    private mutating func takeBack(
        _ id: WorkerID,
        _ eventID: Int64,
        avoiding avoided: WorkerID? = nil,
        notBeforeNS: UInt64 = 0,
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
            self.retry(
                ticket,
                slot,
                avoiding: avoided,
                notBeforeNS: notBeforeNS,
                now: now,
                actions: &actions
            )
        }
        self.closeIfQuarantined(index, actions: &actions)
        self.dispatch(now: now, actions: &actions)
    }
}

// MARK: - Other machines of the pool

extension PoolMachine {
    /// A worker died or hung with the question, and another machine of the same pool counted it.
    package mutating func deathCountedElsewhere(with fingerprint: UInt64, now: UInt64) {
        _ = self.poison.workerDied(with: fingerprint, now: now)
    }

    /// A worker answered the question to another machine of the same pool, and lives.
    package mutating func suspicionClearedElsewhere(_ fingerprint: UInt64) {
        _ = self.poison.workerSurvived(fingerprint)
    }

    /// Whether the worker holds a suspect, and gets nothing else meanwhile.
    package func isExclusive(_ id: WorkerID) -> Bool {
        self.index(of: id).map { self.workers[$0].isExclusive } ?? false
    }
}
