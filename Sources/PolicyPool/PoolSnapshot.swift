/// What a pool is doing, for the notification `status` (protocol/events.md).
package struct PoolSnapshot: Sendable, Equatable {
    package enum State: String, Sendable {
        /// Somebody is there.
        case ready
        /// Nobody is there, and events wait for a while.
        case grace
        /// Nobody is there.
        case empty
        /// The breaker is open: too many events failed.
        case open
    }

    package struct Worker: Sendable, Equatable {
        package enum State: String, Sendable {
            case ready
            /// No credit is left.
            case busy
            /// It does not read, or holds an event past its deadline.
            case slow
            /// It has not answered `ping` for ``PoolSettings/pingNS``.
            case silent
            case draining
            /// It failed too often, and leaves.
            case quarantined
        }

        package var id: WorkerID
        package var state: State
        package var concurrency: Int
        package var outstanding: Int
        /// Since it connected.
        package var served: UInt64
        package var failed: UInt64
        package var late: UInt64
        /// How long its answers took.
        package var latency: LatencyHistogram
    }

    package var state: State
    package var queued: Int
    package var outstanding: Int
    /// Since the start.
    package var served: UInt64
    package var failed: UInt64
    /// In the order of their coming; those that have not been welcomed are not in it.
    package var workers: [Worker]
}

extension PoolMachine {
    /// What the pool is doing now.
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
        // An observer has no credits and is never busy.
        return self.hello.concurrency > 0 && self.held.count >= self.credits ? .busy : .ready
    }
}
