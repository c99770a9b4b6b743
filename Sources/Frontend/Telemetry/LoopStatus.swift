import Configuration
import PolicyProtocol
import PoolCore

/// What one event loop, or all of them together, have to say in `status`.
struct LoopStatus: Sendable {
    var openSessions: Int
    var openedSessions: UInt64
    var counters: LimitCounters
    /// In the order of the configuration.
    var pools: [PoolStatus]

    init(
        openSessions: Int,
        openedSessions: UInt64,
        counters: LimitCounters,
        pools: [PoolStatus]
    ) {
        self.openSessions = openSessions
        self.openedSessions = openedSessions
        self.counters = counters
        self.pools = pools
    }

    /// The loops of one frontend together.
    init(adding loops: [LoopStatus]) {
        self.openSessions = loops.reduce(0) { $0 + $1.openSessions }
        self.openedSessions = loops.reduce(0) { $0 + $1.openedSessions }
        self.counters = loops.reduce(into: LimitCounters()) { $0 += $1.counters }
        self.pools = loops.first?.pools ?? []
        for loop in loops.dropFirst() {
            for (place, pool) in loop.pools.enumerated() where self.pools.indices.contains(place) {
                self.pools[place].add(pool)
            }
        }
    }
}

/// One pool in `status`.
struct PoolStatus: Sendable {
    enum Role: Sendable {
        case deciding
        case shadow(of: String)
        case canary(of: String, percent: Int)
    }

    let name: String
    let role: Role
    /// Without its workers, which are ``workers``.
    var snapshot: PoolSnapshot
    /// Hooks that are asked and that no worker serves; of loops, those with workers say it.
    var unserved: HookNumbers
    var shadowCounts: ShadowCounts
    /// Sessions that the pool took as a canary.
    var canarySessions: UInt64
    var workers: [WorkerStatus]

    /// Adds what the same pool has on another loop.
    mutating func add(_ other: PoolStatus) {
        let isEmpty = (self.workers.isEmpty, other.workers.isEmpty)
        if isEmpty.0 == isEmpty.1 {
            self.unserved.formUnion(other.unserved)
        } else if isEmpty.0 {
            self.unserved = other.unserved
        }
        self.snapshot.add(other.snapshot)
        self.shadowCounts.add(other.shadowCounts)
        self.canarySessions += other.canarySessions
        // A process that is connected to a loop twice is two workers.
        var unmatched = Array(self.workers.indices)
        for worker in other.workers {
            if let match = unmatched.firstIndex(where: { self.workers[$0].isSame(as: worker) }) {
                self.workers[unmatched.remove(at: match)].add(worker)
            } else {
                self.workers.append(worker)
            }
        }
    }
}

/// One worker in `status`.
struct WorkerStatus: Sendable {
    let hello: WorkerHello
    let processID: Int32
    let userID: UInt32
    /// Its numbers; `id` is its connection to the first loop that it is connected to.
    var counts: PoolSnapshot.Worker
    /// Notifications that it did not get because it was slow.
    var droppedNotifications: UInt64

    /// Whether this is another loop's connection to the same worker.
    func isSame(as other: WorkerStatus) -> Bool {
        self.processID == other.processID && self.userID == other.userID
            && self.hello.name == other.hello.name && self.hello.instance == other.hello.instance
    }

    mutating func add(_ other: WorkerStatus) {
        self.counts.add(other.counts)
        self.droppedNotifications += other.droppedNotifications
    }
}

extension WorkerPool {
    /// What this loop has to say of the pool; `now` is monotonic nanoseconds.
    func status(now: UInt64) -> PoolStatus {
        var snapshot = self.machine.snapshot(now: now)
        let workers = snapshot.workers.compactMap { worker -> WorkerStatus? in
            guard let connection = self.connections[worker.id], let hello = connection.hello else {
                return nil
            }
            return WorkerStatus(
                hello: hello,
                processID: connection.peer.processID,
                userID: connection.peer.userID,
                counts: worker,
                droppedNotifications: connection.droppedNotifications
            )
        }
        snapshot.workers = []
        return PoolStatus(
            name: self.name,
            role: self.role,
            snapshot: snapshot,
            unserved: self.machine.hooksWithoutWorker,
            shadowCounts: self.shadowCounts,
            canarySessions: self.canarySessions,
            workers: workers
        )
    }

    private var role: PoolStatus.Role {
        if let original = self.configuration.shadowOf { return .shadow(of: original) }
        if let original = self.configuration.canaryOf {
            return .canary(of: original, percent: self.configuration.canaryPercent)
        }
        return .deciding
    }
}
