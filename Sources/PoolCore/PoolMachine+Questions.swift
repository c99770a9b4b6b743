// MARK: - Questions

extension PoolMachine {
    /// A session asks at `hook`.
    ///
    /// The owner passes a `fingerprint` only while ``remembersPoison``.
    package mutating func submit(
        _ ticket: PoolTicket,
        hook: UInt8,
        fingerprint: UInt64? = nil,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        let admission = self.breaker.admits(now: now)
        guard admission != .refused else {
            self.counts.failed += 1
            return actions.append(.fail(ticket, .breaker_open, worker: nil))
        }
        let deadline = self.settings.deadline(hook)
        var slot = TicketSlot(
            hook: hook,
            deadlineNS: now &+ deadline.ordinaryNS,
            latestDeadlineNS: now &+ deadline.maximumNS,
            isTrial: admission == .trial
        )
        self.nextDeadlineNS = min(self.nextDeadlineNS, slot.deadlineNS)
        if let fingerprint, self.poison.isSuspect(fingerprint, now: now) {
            slot.isSuspect = true
            slot.fingerprint = fingerprint
            return self.enqueue(ticket, slot, now: now, actions: &actions)
        }
        // Tickets that wait at this hook already are older, so they are sent first.
        if self.queues[self.queue(of: hook)].count == 0, let index = self.freeWorker(slot.mask) {
            return self.send(ticket, &slot, to: index, now: now, actions: &actions)
        }
        self.enqueue(ticket, slot, now: now, actions: &actions)
    }

    /// The session no longer waits, because its client is gone: the ticket ends without an action.
    ///
    /// `fingerprint` is called only if a worker holds the question.
    package mutating func cancelled(
        _ ticket: PoolTicket,
        fingerprint: () -> UInt64,
        actions: inout [PoolAction]
    ) {
        guard let slot = self.tickets.removeValue(forKey: ticket) else { return }
        switch slot.place {
        case .queued: self.leaveQueue(ticket, slot.hook)
        case .retried: self.leaveRetries(ticket)
        case .sent(let worker, let eventID):
            guard let index = self.index(of: worker) else { return }
            self.workers[index].abandon(eventID, fingerprint: fingerprint())
            actions.append(.cancelEvent(worker, eventID: eventID, reason: .client_gone))
            self.closeIfQuarantined(index, actions: &actions)
        }
    }

    /// Lets the ticket wait for a worker, if a worker can be expected and the queue has room.
    private mutating func enqueue(
        _ ticket: PoolTicket,
        _ slot: TicketSlot,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        let hook = self.queue(of: slot.hook)
        guard self.served.contains(slot.mask) || now < self.graceUntilNS[hook] else {
            return self.refuse(ticket, slot, .no_worker, now: now, actions: &actions)
        }
        guard self.queued < self.settings.queueLimit else {
            return self.refuse(ticket, slot, .queue_full, now: now, actions: &actions)
        }
        self.tickets[ticket] = slot
        guard !slot.isSuspect else {
            self.retry(ticket, slot, now: now, actions: &actions)
            return self.dispatch(now: now, actions: &actions)
        }
        self.queues[hook].append(ticket)
        self.queued += 1
        self.waiting.formUnion(slot.mask)
    }

    private mutating func refuse(
        _ ticket: PoolTicket,
        _ slot: TicketSlot,
        _ failure: PoolFailure,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        if slot.isTrial { self.breaker.trialNotSent(now: now) }
        self.counts.failed += 1
        actions.append(.fail(ticket, failure, worker: nil))
    }

    private mutating func send(
        _ ticket: PoolTicket,
        _ slot: inout TicketSlot,
        to index: Int,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        let id = self.workers[index].id
        let eventID = self.workers[index].hold(
            ticket,
            now: now,
            deadlineNS: slot.deadlineNS,
            isAlone: slot.isSuspect
        )
        if slot.isSuspect { self.workers[index].isReserved = false }
        slot.attempts += 1
        slot.place = .sent(id, eventID)
        self.tickets[ticket] = slot
        actions.append(
            .send(
                ticket,
                to: id,
                eventID: eventID,
                attempt: slot.attempts,
                remainingNS: slot.deadlineNS - now
            )
        )
    }

    /// Ends a ticket without a verdict.
    mutating func fail(
        _ ticket: PoolTicket,
        _ failure: PoolFailure,
        worker: WorkerID?,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        guard self.tickets.removeValue(forKey: ticket) != nil else { return }
        if failure.isSilenceOrDeath { self.breaker.failed(now: now) }
        self.counts.failed += 1
        actions.append(.fail(ticket, failure, worker: worker))
    }
}

// MARK: - Waiting

extension PoolMachine {
    /// The oldest ticket that waits in the queue of a hook.
    mutating func oldest(_ hook: Int) -> PoolTicket? {
        while let ticket = self.queues[hook].first {
            if !self.queues[hook].hasStaleEntries || self.tickets[ticket]?.place == .queued {
                return ticket
            }
            self.queues[hook].dropFirst(wasWaiting: false)
        }
        return nil
    }

    /// Takes the oldest ticket out of its queue.
    mutating func takeOldest(_ hook: Int) {
        self.queues[hook].dropFirst(wasWaiting: true)
        self.queued -= 1
        if self.queues[hook].count == 0 { self.waiting.subtract(HookNumbers(hook: UInt8(hook))) }
    }

    /// A ticket that waited in the queue of `hook` no longer waits.
    mutating func leaveQueue(_ ticket: PoolTicket, _ hook: UInt8) {
        let tickets = self.tickets
        let index = self.queue(of: hook)
        self.queues[index].ticketLeft { $0 != ticket && tickets[$0]?.place == .queued }
        self.queued -= 1
        if self.queues[index].count == 0 { self.waiting.subtract(HookNumbers(hook: hook)) }
    }

    /// Lets a ticket wait that was sent before, or that is a suspect.
    mutating func retry(
        _ ticket: PoolTicket,
        _ slot: TicketSlot,
        avoiding avoided: WorkerID? = nil,
        notBeforeNS: UInt64 = 0,
        now: UInt64,
        actions: inout [PoolAction]
    ) {
        let hook = self.queue(of: slot.hook)
        guard self.asked?.contains(slot.mask) ?? true else {
            self.tickets[ticket] = nil
            return actions.append(.passOver(ticket))
        }
        guard self.served.contains(slot.mask) || now < self.graceUntilNS[hook] else {
            return self.fail(ticket, .no_worker, worker: nil, now: now, actions: &actions)
        }
        let retry = Retry(
            ticket: ticket,
            mask: slot.mask,
            isSuspect: slot.isSuspect,
            deadlineNS: slot.deadlineNS,
            avoided: avoided,
            notBeforeNS: notBeforeNS
        )
        let place = self.retries.firstIndex { $0.ticket > ticket } ?? self.retries.endIndex
        self.retries.insert(retry, at: place)
        self.tickets[ticket]?.place = .retried
        self.queued += 1
    }

    /// A ticket that waited among the retries no longer waits.
    mutating func leaveRetries(_ ticket: PoolTicket) {
        guard let place = self.retries.firstIndex(where: { $0.ticket == ticket }) else { return }
        self.retries.remove(at: place)
        self.queued -= 1
    }
}

// MARK: - Choosing a worker

extension PoolMachine {
    /// The free worker with the fewest events per credit; of equals the one that connected first,
    /// so that a quiet pool uses one worker instead of waking all of them in turn.
    private func freeWorker(_ mask: HookNumbers) -> Int? {
        var best: Int?
        for index in self.workers.indices
        where self.workers[index].hello.asked.contains(mask) && self.workers[index].isFree {
            if let best, !self.workers[index].isLessBusy(than: self.workers[best]) { continue }
            best = index
        }
        return best
    }

    /// Sends the tickets that wait, oldest first, while credits are free.
    mutating func dispatch(now: UInt64, actions: inout [PoolAction]) {
        guard self.queued > 0 || self.mayHaveReservations else { return }
        if !self.retries.isEmpty || self.mayHaveReservations {
            self.dispatchRetries(now: now, actions: &actions)
        }
        while !self.waiting.isEmpty {
            guard let hook = self.hookToServe() else { return }
            guard let ticket = self.oldest(hook), var slot = self.tickets[ticket],
                let index = self.freeWorker(slot.mask)
            else { return }
            self.takeOldest(hook)
            if slot.deadlineNS > now {
                self.send(ticket, &slot, to: index, now: now, actions: &actions)
            } else {
                self.fail(ticket, .deadline, worker: nil, now: now, actions: &actions)
            }
        }
    }

    /// The hook of the oldest ticket that waits and that a worker with a free credit could take.
    private mutating func hookToServe() -> Int? {
        var free: HookNumbers = []
        for index in self.workers.indices where self.workers[index].isFree {
            free.formUnion(self.workers[index].hello.asked)
        }
        var left = self.waiting.intersection(free).rawValue
        var best: (hook: Int, ticket: PoolTicket)?
        while left != 0 {
            let hook = left.trailingZeroBitCount
            left &= left - 1
            guard let ticket = self.oldest(hook) else { continue }
            if let best, best.ticket < ticket { continue }
            best = (hook, ticket)
        }
        return best?.hook
    }

    private mutating func dispatchRetries(now: UInt64, actions: inout [PoolAction]) {
        var place = 0
        while place < self.retries.count {
            let retry = self.retries[place]
            guard retry.deadlineNS > now else {
                self.leaveRetries(retry.ticket)
                self.fail(retry.ticket, .deadline, worker: nil, now: now, actions: &actions)
                continue
            }
            guard let index = self.worker(for: retry, now: now),
                var slot = self.tickets[retry.ticket]
            else {
                place += 1
                continue
            }
            self.leaveRetries(retry.ticket)
            self.send(retry.ticket, &slot, to: index, now: now, actions: &actions)
        }
        self.reserve(now: now)
    }

    private func worker(for retry: Retry, now: UInt64) -> Int? {
        var best: Int?
        for index in self.workers.indices where self.accepts(index, retry, now: now) {
            guard retry.isSuspect ? self.workers[index].isIdle : self.workers[index].isFree else {
                continue
            }
            if let best, !self.workers[index].isLessBusy(than: self.workers[best]) { continue }
            best = index
        }
        return best
    }

    /// Whether the worker may get the retry, now or when it has a free credit.
    private func accepts(_ index: Int, _ retry: Retry, now: UInt64) -> Bool {
        guard self.workers[index].serves, self.workers[index].hello.asked.contains(retry.mask),
            self.workers[index].blockedSinceNS == nil
        else { return false }
        guard self.workers[index].id == retry.avoided else { return true }
        guard now >= retry.notBeforeNS else { return false }
        return !self.workers.contains {
            $0.id != retry.avoided && $0.serves && $0.hello.asked.contains(retry.mask)
        }
    }

    /// Reserves workers for suspects: a reserved worker gets nothing new, so that it becomes idle
    /// and a suspect can be sent to it alone.
    ///
    /// Under load no worker would become idle otherwise.
    ///
    /// One worker is reserved for each suspect that waits, but no more than half of the pool is
    /// reserved or busy with a suspect.
    private mutating func reserve(now: UInt64) {
        let suspects = self.retries.filter(\.isSuspect)
        self.mayHaveReservations = !suspects.isEmpty
        let most = max(1, self.readyCount / 2)
        var taken = 0
        for index in self.workers.indices where self.workers[index].isExclusive { taken += 1 }
        var reserved = 0
        for index in self.workers.indices where self.workers[index].isReserved {
            let isWanted = suspects.contains { self.accepts(index, $0, now: now) }
            if isWanted, reserved < suspects.count, reserved == 0 || taken < most {
                reserved += 1
                taken += 1
            } else {
                self.workers[index].isReserved = false
            }
        }
        while taken < most, reserved < suspects.count {
            var best: Int?
            for index in self.workers.indices
            where !self.workers[index].isReserved && !self.workers[index].isExclusive {
                guard suspects.contains(where: { self.accepts(index, $0, now: now) }) else {
                    continue
                }
                if let best, self.workers[best].held.count <= self.workers[index].held.count {
                    continue
                }
                best = index
            }
            guard let best else { return }
            self.workers[best].isReserved = true
            taken += 1
            reserved += 1
        }
    }
}
