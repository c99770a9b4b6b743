import PolicyProtocol
import Testing

@testable import Frontend
@testable import PoolCore

/// Which event loops accept clients.
@Suite struct AcceptingLoopsTests {
    /// What becomes of two loops and two pools; a step is a loop and how many pools have their workers
    /// there.
    @Test(
        arguments: [
            ("before any worker is there, the first loop accepts", [], [0]),
            ("the loop that has workers accepts", [(1, 1)], [1]),
            ("all that have them accept", [(0, 2), (1, 2)], [0, 1]),
            ("workers of one pool are not there yet", [(0, 2), (1, 1)], [0]),
            ("a worker dials the first loop only", [(0, 1), (1, 0)], [0]),
            ("all workers are gone from both", [(0, 2), (1, 2), (0, 0), (1, 0)], [0, 1]),
            ("they come back to one of them", [(0, 2), (1, 2), (0, 0), (1, 0), (1, 2)], [1]),
            (
                "all are gone, and the second loop never had any",
                [(0, 1), (0, 0), (1, 0)], [0]
            ),
            ("a loop that is not there", [(7, 2)], [0]),
        ] as [(String, [(Int, Int)], [Int])]
    )
    func `clients go to the loops that have the workers`(
        name: String,
        steps: [(Int, Int)],
        accepting: [Int]
    ) {
        var loops = AcceptingLoops(count: 2)
        for (loop, pools) in steps {
            let before = loops.accepting
            let hasChanged = loops.workersChanged(loop: loop, pools: pools)
            #expect(hasChanged == (loops.accepting != before), "\(name)")
        }
        #expect(loops.accepting == accepting, "\(name)")
    }

    @Test(arguments: [0, 1, 2, 3, 7, 8, 1_000])
    func `the parts of a limit add up to it, and none is empty`(limit: Int) {
        for count in 1...8 {
            let parts = (0..<count).map { LoopShare(place: $0, count: count).part(of: limit) }
            #expect(parts.reduce(0, +) == (limit == 0 ? 0 : max(limit, count)))
            #expect(limit == 0 || parts.allSatisfy { $0 > 0 })
        }
        #expect(LoopShare(place: nil, count: 2).part(of: limit) == min(limit, 1))
        #expect(LoopShare.whole.part(of: limit) == limit)
    }
}

/// A suspect is alone with its worker, whichever loop sent it.
@Suite struct SuspectClaimsTests {
    @Test func `only one loop has a worker for its suspect`() {
        let claims = SuspectClaims()
        let worker = WorkerProcess(processID: 7, identity: "0/a/")
        #expect(claims.take(worker, loop: 0))
        #expect(claims.take(worker, loop: 0))
        #expect(!claims.take(worker, loop: 1))
        #expect(claims.take(WorkerProcess(processID: 8, identity: "0/a/"), loop: 1))
        claims.giveBack(worker, loop: 1)
        #expect(!claims.take(worker, loop: 1))
        claims.giveBack(worker, loop: 0)
        #expect(claims.take(worker, loop: 1))
    }

    @Test func `a worker is known by its pid, or else by what it says of itself`() {
        let named = WorkerProcess(processID: 0, identity: "0/a/")
        #expect(WorkerProcess(processID: 7, identity: "0/a/") == .init(processID: 7, identity: ""))
        #expect(named != .init(processID: 0, identity: "0/b/"))
    }
}

/// One memory budget for all loops.
@Suite struct SharedMemoryBudgetTests {
    @Test func `what all loops hold counts, and one of them says so`() {
        let memory = SharedMemoryBudget(octets: 800, loops: 2)
        #expect(!memory.measured(loop: 0, held: 500).isUsedUp)
        let over = memory.measured(loop: 1, held: 400)
        #expect(over.isUsedUp && over.hasChanged && over.held == 900)
        let again = memory.measured(loop: 0, held: 500)
        #expect(again.isUsedUp && !again.hasChanged)
        let under = memory.measured(loop: 0, held: 300)
        #expect(!under.isUsedUp && under.hasChanged && under.held == 700)
    }
}

/// `status` adds up what the loops say.
@Suite struct LoopStatusTests {
    private static func worker(_ id: WorkerID, pid: Int32, served: UInt64) -> WorkerStatus {
        WorkerStatus(
            hello: WorkerHello(
                pool: "p",
                name: "w",
                instance: "",
                version: "",
                pid: 0,
                concurrency: 4,
                maximumFrameOctets: 65_536
            ),
            processID: pid,
            userID: 0,
            counts: PoolSnapshot.Worker(
                id: id,
                state: .ready,
                concurrency: 4,
                outstanding: 1,
                served: served,
                failed: 0,
                late: 0,
                latency: LatencyHistogram()
            ),
            droppedNotifications: 1
        )
    }

    private static func loop(_ workers: [WorkerStatus], served: UInt64) -> LoopStatus {
        var counters = LimitCounters()
        counters.handshakeDone()
        return LoopStatus(
            openSessions: 2,
            openedSessions: 5,
            counters: counters,
            pools: [
                PoolStatus(
                    name: "p",
                    role: .deciding,
                    snapshot: PoolSnapshot(
                        state: workers.isEmpty ? .empty : .ready,
                        queued: 1,
                        outstanding: 1,
                        served: served,
                        failed: 2,
                        workers: []
                    ),
                    unserved: HookNumbers(hook: workers.isEmpty ? 1 : 2),
                    shadowCounts: ShadowCounts(),
                    canarySessions: 3,
                    workers: workers
                )
            ]
        )
    }

    @Test func `a worker that is connected to both loops is one worker`() {
        let first = Self.loop([Self.worker(1, pid: 7, served: 10)], served: 10)
        let second = Self.loop(
            [Self.worker(2, pid: 7, served: 5), Self.worker(4, pid: 9, served: 1)],
            served: 6
        )
        let both = LoopStatus(adding: [first, second])
        #expect(both.openSessions == 4 && both.openedSessions == 10)
        #expect(both.counters.handshakesDone == 2)
        let pool = both.pools[0]
        #expect(
            pool.snapshot.served == 16 && pool.snapshot.failed == 4 && pool.snapshot.queued == 2
        )
        #expect(pool.canarySessions == 6)
        #expect(pool.workers.map(\.counts.id) == [1, 4])
        #expect(pool.workers.map(\.counts.served) == [15, 1])
        #expect(pool.workers[0].counts.concurrency == 8)
        #expect(pool.workers[0].droppedNotifications == 2)
    }

    @Test func `two connections of a process to one loop are two workers`() {
        let twice = Self.loop(
            [Self.worker(1, pid: 7, served: 1), Self.worker(3, pid: 7, served: 2)],
            served: 3
        )
        let both = LoopStatus(adding: [twice, twice])
        #expect(both.pools[0].workers.map(\.counts.served) == [2, 4])
    }

    @Test func `a pool is ready if it is on one loop, and that loop says what is unserved`() {
        let both = LoopStatus(adding: [
            Self.loop([], served: 0), Self.loop([Self.worker(2, pid: 1, served: 0)], served: 0),
        ])
        #expect(both.pools[0].snapshot.state == .ready)
        #expect(both.pools[0].unserved == HookNumbers(hook: 2))
    }
}
