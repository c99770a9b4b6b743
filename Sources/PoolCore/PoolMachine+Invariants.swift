// MARK: - Invariants

extension PoolMachine {
    /// The first contradiction between the machine's tables; `nil` if there is none.
    ///
    /// Reads all tables, so only tests and the simulation call it.
    package func contradiction() -> String? {
        self.contradictionOfWorkers() ?? self.contradictionOfTickets()
            ?? self.contradictionOfQueues() ?? self.contradictionOfDispatch()
    }

    private func contradictionOfWorkers() -> String? {
        var ready = 0
        var served: HookNumbers = []
        var alone = 0
        for worker in self.workers {
            if worker.state == .ready, !worker.isObserver { ready += 1 }
            if worker.serves { served.formUnion(worker.hello.asked) }
            if worker.isReserved { alone += 1 }
            if worker.held.count > worker.hello.concurrency { return "more held than credits" }
            if worker.held.count(where: { $0.ticket != nil }) != worker.awaited {
                return "awaited is miscounted"
            }
            if worker.isExclusive, worker.held.count != 1 { return "a suspect is not alone" }
            if worker.isReserved, worker.state != .ready { return "reserved, but not ready" }
            if worker.state == .quarantined, worker.awaited == 0 { return "kept for nothing" }
            for held in worker.held {
                guard let ticket = held.ticket else { continue }
                guard self.tickets[ticket]?.place == .sent(worker.id, held.eventID) else {
                    return "a worker holds a ticket that is elsewhere"
                }
            }
        }
        if ready != self.readyCount { return "ready is miscounted" }
        if served != self.served { return "served is not what workers serve" }
        if alone > max(1, ready / 2) { return "too many workers are reserved" }
        return nil
    }

    private func contradictionOfTickets() -> String? {
        var queued = 0
        for (ticket, slot) in self.tickets {
            if slot.deadlineNS < self.nextDeadlineNS { return "a deadline will be missed" }
            switch slot.place {
            case .queued: queued += 1
            case .retried:
                queued += 1
                guard self.retries.contains(where: { $0.ticket == ticket }) else {
                    return "a retry is lost"
                }
            case .sent(let id, let eventID):
                guard let index = self.index(of: id),
                    let position = self.workers[index].position(of: eventID),
                    self.workers[index].held[position].ticket == ticket
                else { return "a ticket was sent to a worker that does not hold it" }
                guard self.workers[index].held[position].deadlineNS == slot.deadlineNS else {
                    return "two deadlines for one event"
                }
            }
        }
        return queued == self.queued ? nil : "queued is miscounted"
    }

    private func contradictionOfQueues() -> String? {
        var sum = self.retries.count
        for (hook, queue) in self.queues.enumerated() {
            sum += queue.count
            let isWaiting = self.waiting.contains(HookNumbers(hook: UInt8(hook)))
            if isWaiting != (queue.count > 0) { return "waiting is not what waits" }
            if queue.entriesLeft.count > 2 * queue.count + TicketQueue.slack + 1 {
                return "a queue grows with tickets that are gone"
            }
            let waiting = queue.entriesLeft.filter { self.tickets[$0]?.place == .queued }
            if waiting.count != queue.count { return "a queue is miscounted" }
            if waiting != waiting.sorted() { return "a queue is out of order" }
        }
        if sum != self.queued { return "queues hold other than what waits" }
        let retried = self.retries.map(\.ticket)
        if retried != retried.sorted() { return "retries are out of order" }
        if self.registered.count > Self.maximumNames { return "too many names" }
        if self.poison.count > PoisonMemory.capacity { return "too much poison" }
        if self.health.count > WorkerHealth.capacity { return "too many records of health" }
        return nil
    }

    /// No ticket waits while a worker could take it.
    private func contradictionOfDispatch() -> String? {
        for worker in self.workers where worker.isFree {
            if !self.waiting.isDisjoint(with: worker.hello.asked) { return "a free worker idles" }
        }
        let suspects = self.retries.filter(\.isSuspect)
        for worker in self.workers where worker.isIdle && !suspects.isEmpty {
            let isWanted = suspects.contains {
                $0.avoided == nil && worker.hello.asked.contains($0.mask)
            }
            if isWanted { return "an idle worker gets no suspect" }
        }
        return nil
    }
}
