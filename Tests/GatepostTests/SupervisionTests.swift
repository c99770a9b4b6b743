import Testing

@testable import Gatepost

@Suite struct SupervisionTests {
    var supervision: Supervision

    /// The frontend is child 1, the workers are 2 and 3.
    init() {
        var settings = Supervision.Settings()
        settings.workers = 2
        settings.shutdownMS = 1_000
        settings.replacementMS = 500
        settings.hangMS = 0
        self.supervision = Supervision(settings: settings)
    }

    private mutating func becomeReady() {
        _ = self.supervision.started(nowMS: 0)
        for id in 1...3 { _ = self.supervision.readyReceived(id, line: "ready \(id)") }
    }

    @Test mutating func `a frontend and its workers are started, and ready is said once`() {
        #expect(
            self.supervision.started(nowMS: 0) == [
                .spawn(1, .frontend), .spawn(2, .worker(1)), .spawn(3, .worker(2)),
            ]
        )
        #expect(self.supervision.readyReceived(2, line: "ready w") == [])
        #expect(self.supervision.readyReceived(1, line: "ready f") == [.announce("ready f")])
        #expect(self.supervision.nextDeadlineMS == nil)
    }

    @Test mutating func `a worker that dies is started again, each time a little later, for ever`()
    {
        self.becomeReady()
        var id = 2
        var now: Int64 = 0
        var pauses: [Int64] = []
        for _ in 0..<50 {
            let actions = self.supervision.childEnded(id, .killed(signal: 9), nowMS: now)
            let start = self.supervision.nextDeadlineMS ?? -1
            #expect(actions.count == 1)
            #expect(self.supervision.timePassed(nowMS: start - 1) == [])
            pauses.append(start - now)
            now = start
            let spawned = self.supervision.timePassed(nowMS: now)
            guard case .spawn(let next, .worker(1)) = spawned.first else {
                Issue.record("not started again: \(spawned)")
                return
            }
            id = next
        }
        #expect(pauses.prefix(8) == [50, 100, 200, 400, 800, 1_600, 3_200, 5_000])
        #expect(pauses.dropFirst(8).allSatisfy { $0 == 5_000 })
    }

    @Test mutating func `a child that lived long is started again at once`() {
        self.becomeReady()
        _ = self.supervision.childEnded(2, .killed(signal: 9), nowMS: 0)
        _ = self.supervision.timePassed(nowMS: 50)
        _ = self.supervision.childEnded(4, .exited(1), nowMS: 60_000)
        #expect(self.supervision.nextDeadlineMS == 60_050)
    }

    @Test(arguments: [Int32(64), 69, 78])
    mutating func `a mistake before the first ready ends everything with its code`(code: Int32) {
        _ = self.supervision.started(nowMS: 0)
        let actions = self.supervision.childEnded(2, .exited(code), nowMS: 5)
        #expect(actions.dropFirst() == [.signal(1, .kill), .signal(3, .kill)])
        #expect(self.supervision.childEnded(1, .killed(signal: 9), nowMS: 6) == [])
        #expect(self.supervision.childEnded(3, .killed(signal: 9), nowMS: 7) == [.exit(code)])
    }

    @Test mutating func `the same mistake after ready ends nothing`() {
        self.becomeReady()
        _ = self.supervision.childEnded(2, .exited(78), nowMS: 5)
        #expect(self.supervision.nextDeadlineMS == 55)
        _ = self.supervision.childEnded(1, .exited(78), nowMS: 6)
        #expect(self.supervision.timePassed(nowMS: 100).count == 2)
    }

    @Test mutating func `SIGTERM drains the frontend first and the workers when it is gone`() {
        self.becomeReady()
        #expect(self.supervision.terminationRequested(nowMS: 0) == [.signal(1, .terminate)])
        #expect(
            self.supervision.childEnded(1, .exited(0), nowMS: 10)
                == [.signal(2, .terminate), .signal(3, .terminate)]
        )
        #expect(self.supervision.childEnded(2, .exited(0), nowMS: 20) == [])
        #expect(self.supervision.childEnded(3, .exited(0), nowMS: 30) == [.exit(0)])
        #expect(self.supervision.terminationRequested(nowMS: 40) == [])
    }

    @Test mutating func `a worker that dies while the frontend drains is not started again`() {
        self.becomeReady()
        _ = self.supervision.terminationRequested(nowMS: 0)
        #expect(self.supervision.childEnded(2, .killed(signal: 11), nowMS: 5) == [])
        #expect(
            self.supervision.childEnded(1, .exited(0), nowMS: 10) == [.signal(3, .terminate)]
        )
    }

    @Test mutating func `a second SIGTERM kills`() {
        self.becomeReady()
        _ = self.supervision.terminationRequested(nowMS: 0)
        #expect(
            self.supervision.terminationRequested(nowMS: 1)
                == [.signal(1, .kill), .signal(2, .kill), .signal(3, .kill)]
        )
    }

    @Test mutating func `a child that does not drain in time is killed`() {
        self.becomeReady()
        _ = self.supervision.terminationRequested(nowMS: 0)
        #expect(self.supervision.nextDeadlineMS == 1_000)
        #expect(self.supervision.timePassed(nowMS: 999) == [])
        #expect(self.supervision.timePassed(nowMS: 1_000).count == 4)
    }

    @Test mutating func `SIGTERM while a start is pending leaves nothing behind`() {
        self.becomeReady()
        _ = self.supervision.childEnded(1, .killed(signal: 9), nowMS: 0)
        #expect(
            self.supervision.terminationRequested(nowMS: 1)
                == [.signal(2, .terminate), .signal(3, .terminate)]
        )
        #expect(self.supervision.timePassed(nowMS: 500) == [])
        _ = self.supervision.childEnded(2, .exited(0), nowMS: 600)
        #expect(self.supervision.childEnded(3, .exited(0), nowMS: 601) == [.exit(0)])
    }

    @Test mutating func `SIGHUP replaces each worker when the new one is ready`() {
        self.becomeReady()
        #expect(
            self.supervision.reloadRequested(nowMS: 0)
                == [.signal(1, .hangup), .spawn(4, .worker(1)), .spawn(5, .worker(2))]
        )
        #expect(self.supervision.readyReceived(4, line: "ready").last == .signal(2, .terminate))
        #expect(self.supervision.childEnded(2, .exited(0), nowMS: 10) == [])
        // The second new worker is broken: the old one stays.
        let actions = self.supervision.childEnded(5, .exited(78), nowMS: 20)
        #expect(actions == [.log("worker 2: the new one exited with 78; the old one stays")])
        #expect(self.supervision.nextDeadlineMS == nil)
        _ = self.supervision.childEnded(4, .killed(signal: 9), nowMS: 30)
        #expect(self.supervision.nextDeadlineMS == 80)
    }

    @Test mutating func `a replacement that never gets ready is killed and the old one stays`() {
        self.becomeReady()
        _ = self.supervision.reloadRequested(nowMS: 0)
        _ = self.supervision.readyReceived(5, line: "ready")
        #expect(self.supervision.timePassed(nowMS: 500).last == .signal(4, .kill))
        #expect(self.supervision.childEnded(4, .killed(signal: 9), nowMS: 510) == [])
        #expect(
            self.supervision.terminationRequested(nowMS: 520) == [.signal(1, .terminate)]
        )
        // 3 was replaced by 5 and is still finishing; it is waited for.
        #expect(
            self.supervision.childEnded(1, .exited(0), nowMS: 530)
                == [.signal(2, .terminate), .signal(5, .terminate)]
        )
        _ = self.supervision.childEnded(2, .exited(0), nowMS: 531)
        #expect(self.supervision.childEnded(5, .exited(0), nowMS: 532) == [])
        #expect(self.supervision.childEnded(3, .exited(0), nowMS: 533) == [.exit(0)])
    }

    @Test
    mutating func `a worker that dies while it is being replaced leaves its place to the new`() {
        self.becomeReady()
        _ = self.supervision.reloadRequested(nowMS: 0)
        _ = self.supervision.childEnded(2, .killed(signal: 9), nowMS: 1)
        _ = self.supervision.readyReceived(4, line: "ready")
        let started = self.supervision.timePassed(nowMS: 60)
        #expect(!started.contains { if case .spawn(_, .worker(1)) = $0 { true } else { false } })
    }

    @Test mutating func `events of unknown children are ignored`() {
        self.becomeReady()
        #expect(self.supervision.childEnded(99, .exited(0), nowMS: 0) == [])
        #expect(self.supervision.readyReceived(99, line: "ready") == [])
    }
}

/// An event loop that stands still.
@Suite struct HangTests {
    /// The frontend is child 1, the workers are 2 and 3; all have beaten at 0.
    var supervision: Supervision

    init() {
        var settings = Supervision.Settings()
        settings.workers = 2
        settings.hangMS = 10_000
        self.supervision = Supervision(settings: settings)
        _ = self.supervision.started(nowMS: 0)
        for id in 1...3 {
            _ = self.supervision.readyReceived(id, line: "ready \(id)")
            self.supervision.heartbeatReceived(id, nowMS: 0)
        }
    }

    private mutating func beat(_ ids: [Int], nowMS: Int64) {
        for id in ids { self.supervision.heartbeatReceived(id, nowMS: nowMS) }
    }

    private func hangs(_ name: String, _ id: Int) -> [Supervision.Action] {
        [
            .log("\(name) hangs: no sign of life for 10000 ms; ended"),
            .signal(id, .terminate),
        ]
    }

    @Test mutating func `a child that does not beat gets SIGTERM, then SIGKILL, then a successor`()
    {
        self.beat([1, 2], nowMS: 9_000)
        #expect(self.supervision.nextDeadlineMS == 10_000)
        #expect(self.supervision.timePassed(nowMS: 9_999) == [])
        #expect(self.supervision.timePassed(nowMS: 10_000) == self.hangs("worker 2", 3))
        #expect(self.supervision.nextDeadlineMS == 12_000)
        #expect(self.supervision.timePassed(nowMS: 11_999) == [])
        // SIGCONT came: it is ended all the same, so that there are never two of it.
        self.supervision.heartbeatReceived(3, nowMS: 11_999)
        self.beat([1, 2], nowMS: 11_999)
        #expect(self.supervision.timePassed(nowMS: 12_000) == [.signal(3, .kill)])
        #expect(
            self.supervision.childEnded(3, .killed(signal: 9), nowMS: 12_001)
                == [.log("worker 2 was killed by signal 9; started again in 50 ms")]
        )
        #expect(self.supervision.timePassed(nowMS: 12_051) == [.spawn(4, .worker(2))])
    }

    @Test mutating func `a frontend that hangs is replaced the same way`() {
        self.beat([2, 3], nowMS: 9_000)
        #expect(self.supervision.timePassed(nowMS: 10_000) == self.hangs("frontend", 1))
    }

    @Test mutating func `one that beats is left alone`() {
        for second in 1...100 {
            let now = Int64(second) * 1_000
            self.beat([1, 2, 3], nowMS: now)
            #expect(self.supervision.timePassed(nowMS: now) == [])
        }
    }

    @Test mutating func `a machine that stood still is not the children's hang`() {
        #expect(self.supervision.timePassed(nowMS: 60_000) == [])
        #expect(self.supervision.nextDeadlineMS == 70_000)
        #expect(self.supervision.timePassed(nowMS: 70_000).count == 6)
    }

    @Test mutating func `a child whose loop never turns is ended after the longest start`() {
        _ = self.supervision.childEnded(2, .killed(signal: 9), nowMS: 0)
        #expect(self.supervision.timePassed(nowMS: 50) == [.spawn(4, .worker(1))])
        for second in 1...60 { self.beat([1, 3], nowMS: Int64(second) * 1_000) }
        #expect(self.supervision.timePassed(nowMS: 60_049) == [])
        #expect(self.supervision.timePassed(nowMS: 60_050).last == .signal(4, .terminate))
    }

    @Test mutating func `a replaced worker that hangs while it leaves is killed`() {
        _ = self.supervision.reloadRequested(nowMS: 0)
        for id in [4, 5] { _ = self.supervision.readyReceived(id, line: "ready") }
        self.beat([1, 2, 4, 5], nowMS: 9_000)
        #expect(self.supervision.timePassed(nowMS: 10_000) == self.hangs("worker 2", 3))
        self.beat([1, 2, 4, 5], nowMS: 12_000)
        #expect(self.supervision.timePassed(nowMS: 12_000) == [.signal(3, .kill)])
        #expect(self.supervision.childEnded(3, .killed(signal: 9), nowMS: 12_001) == [])
    }

    @Test mutating func `zero is never`() {
        var settings = Supervision.Settings()
        settings.hangMS = 0
        self.supervision = Supervision(settings: settings)
        _ = self.supervision.started(nowMS: 0)
        self.beat([1, 2, 3], nowMS: 0)
        #expect(self.supervision.nextDeadlineMS == nil)
        #expect(self.supervision.timePassed(nowMS: 1_000_000) == [])
    }
}
