/// The state of a pool at one moment, for the notification `status` (protocol/events.md).
package struct PoolSnapshot: Sendable, Equatable {
    package enum State: String, Sendable {
        /// At least one worker is ready.
        case ready
        /// No worker is ready, and questions wait until the grace is over.
        case grace
        /// No worker is ready, and the grace is over.
        case empty
        /// The breaker is open.
        case open
    }

    package struct Worker: Sendable, Equatable {
        package enum State: String, Sendable {
            case ready
            /// No credit is free.
            case busy
            /// The worker does not read, or holds an event whose deadline passed.
            case slow
            /// The worker has not answered a `ping` for ``PoolSettings/pingNS``.
            case silent
            case draining
            /// The worker is closed after its last answer, or is being closed.
            case quarantined
        }

        package var id: WorkerID
        package var state: State
        package var concurrency: Int
        /// How many events it holds.
        package var outstanding: Int
        /// Since it connected: answers that were used, questions that failed, late answers.
        package var served: UInt64
        package var failed: UInt64
        package var late: UInt64
        package var latency: LatencyHistogram
    }

    package var state: State
    /// How many questions wait for a worker.
    package var queued: Int
    /// How many events workers hold.
    package var outstanding: Int
    /// Since the start: answers that were used, questions that failed.
    package var served: UInt64
    package var failed: UInt64
    /// Oldest connection first; without workers that have not been welcomed.
    package var workers: [Worker]
}

extension PoolSnapshot {
    /// Adds the snapshot of another machine of the same pool, but for its workers.
    ///
    /// The pool is `open` if one machine is, `ready` if one is and none is open.
    package mutating func add(_ other: PoolSnapshot) {
        let order: [State] = [.open, .ready, .grace, .empty]
        self.state = order.first { $0 == self.state || $0 == other.state } ?? self.state
        self.queued += other.queued
        self.outstanding += other.outstanding
        self.served += other.served
        self.failed += other.failed
    }
}

extension PoolSnapshot.Worker {
    /// Adds what another machine of the same pool knows of the same worker.
    ///
    /// The worker is `busy` if it is on both; of other states the worse one counts.
    package mutating func add(_ other: PoolSnapshot.Worker) {
        let order: [State] = [.quarantined, .silent, .slow, .draining, .ready, .busy]
        self.state = order.first { $0 == self.state || $0 == other.state } ?? self.state
        self.concurrency += other.concurrency
        self.outstanding += other.outstanding
        self.served += other.served
        self.failed += other.failed
        self.late += other.late
        self.latency.add(other.latency)
    }
}

extension PoolMachine {
    package func snapshot(now: UInt64) -> PoolSnapshot {
        PoolSnapshot(
            state: self.snapshotState(now: now),
            queued: self.queued,
            outstanding: self.workers.reduce(0) { $0 + $1.held.count },
            served: self.counts.served,
            failed: self.counts.failed,
            workers: self.workers.compactMap {
                $0.snapshot(now: now, pingNS: self.settings.pingNS)
            }
        )
    }

    private func snapshotState(now: UInt64) -> PoolSnapshot.State {
        if self.breaker.isOpen { return .open }
        if self.readyCount > 0 { return .ready }
        return self.graceUntilNS.contains { now < $0 } ? .grace : .empty
    }
}

extension WorkerSlot {
    func snapshot(now: UInt64, pingNS: UInt64) -> PoolSnapshot.Worker? {
        if case .greeting = self.state { return nil }
        return PoolSnapshot.Worker(
            id: self.id,
            state: self.snapshotState(now: now, pingNS: pingNS),
            concurrency: self.hello.concurrency,
            outstanding: self.held.count,
            served: self.served,
            failed: self.failed,
            late: self.late,
            latency: self.latency
        )
    }

    private func snapshotState(now: UInt64, pingNS: UInt64) -> PoolSnapshot.Worker.State {
        let isSilent = self.pingedNS.map { now >= $0 && now &- $0 >= pingNS } ?? false
        switch self.state {
        case .quarantined, .closing: return .quarantined
        case .draining: return .draining
        case .greeting, .ready: break
        }
        if isSilent { return .silent }
        let isSlow = self.blockedSinceNS != nil || self.held.contains { $0.deadlineNS <= now }
        if isSlow { return .slow }
        // An observer has no credits, so it is never busy.
        return self.hello.concurrency > 0 && self.held.count >= self.credits ? .busy : .ready
    }
}
