import PoolCore
import Testing

@Suite("A pool of workers")
struct PoolMachineTests {
    private let all: UInt64 = 20_000_000_000

    @Test("sends no event without a credit, and the next when one is free")
    func credits() {
        let scene = Scene()
        scene.join(1)
        scene.submit(7)
        scene.submit(8)
        var done = scene.take()
        #expect(done == [.send(7, to: 1, eventID: 1, attempt: 1, remainingNS: self.all)])
        #expect(scene.meaning(of: 1, from: 1) == .awaited(7))
        scene.answer(1, 1)
        done = scene.take()
        #expect(done == [.send(8, to: 1, eventID: 2, attempt: 1, remainingNS: self.all)])
        #expect(scene.meaning(of: 1, from: 1) == .duplicate)
        #expect(scene.meaning(of: 3, from: 1) == .unknown)
        #expect(scene.openTickets == 1)
    }

    @Test("asks the worker with the fewest outstanding events a credit")
    func leastOutstanding() {
        let scene = Scene()
        scene.join(1, concurrency: 4)
        scene.join(2, concurrency: 2)
        for ticket in 1...3 as ClosedRange<UInt64> { scene.submit(ticket) }
        let workers = scene.take().map { action -> WorkerID? in
            if case .send(_, let worker, _, _, _) = action { worker } else { nil }
        }
        #expect(workers == [1, 2, 1])
    }

    @Test("sends an event to another worker when the worker that held it dies")
    func retry() {
        let scene = Scene()
        scene.join(1)
        scene.join(2)
        scene.submit(7)
        _ = scene.take()
        scene.lose(1)
        let done = scene.take()
        let again = PoolAction.send(7, to: 2, eventID: 1, attempt: 2, remainingNS: self.all)
        #expect(done == [.deathCounted(7), again])
    }

    @Test("makes no poison of an event if the worker that died held others too")
    func innocents() {
        let scene = Scene()
        for id in 1...2 as ClosedRange<UInt64> { scene.join(id, concurrency: 4) }
        for ticket in 11...18 as ClosedRange<UInt64> { scene.submit(ticket) }
        _ = scene.take()
        scene.lose(1)
        scene.lose(2)
        for id in 3...6 as ClosedRange<UInt64> { scene.join(id, concurrency: 4) }
        // Each is asked again, alone, and four die while four answer.
        var asked: [PoolTicket] = []
        var deaths = 0
        while asked.count < 12 {
            let sent = scene.take().compactMap { action -> (PoolTicket, WorkerID, Int64)? in
                guard case .send(let ticket, let worker, let eventID, _, _) = action else {
                    return nil
                }
                return (ticket, worker, eventID)
            }
            guard !sent.isEmpty else { break }
            for (ticket, worker, eventID) in sent {
                asked.append(ticket)
                if deaths < 4 {
                    deaths += 1
                    scene.lose(worker)
                    scene.join(worker + 100, concurrency: 4)
                } else {
                    scene.answer(worker, eventID)
                }
            }
        }
        #expect(Set(asked) == Set(11...18))
        let openTickets = scene.openTickets
        #expect(openTickets == 0)
        for ticket in 11...18 as ClosedRange<UInt64> {
            let isPoison = scene.isPoison(ticket, now: scene.now)
            #expect(!isPoison)
        }
        let remembersPoison = scene.machine.remembersPoison
        #expect(!remembersPoison, "a question that was answered is no longer a suspect")
    }

    @Test("sends an event alone after a worker hung with it, and makes it poison after the second")
    func hangs() {
        let scene = Scene()
        scene.change { $0.pingNS = 600 * Scene.second }
        scene.join(1)
        scene.submit(7)
        for _ in 0..<50 { scene.pass(Scene.second) }
        #expect(scene.take().last == .close(1, .zombie))
        scene.lose(1)
        scene.join(2, concurrency: 4)
        scene.submit(8)
        _ = scene.take()
        // The client's next attempt waits until nothing else is there.
        scene.submit(9, fingerprint: 7)
        var done = scene.take()
        #expect(done == [])
        scene.answer(2, 1)
        done = scene.take()
        #expect(done == [.send(9, to: 2, eventID: 2, attempt: 1, remainingNS: self.all)])
        scene.cancel(9)
        var isPoison = scene.isPoison(7, now: scene.now)
        #expect(!isPoison)
        for _ in 0..<50 { scene.pass(Scene.second) }
        #expect(scene.take().last == .close(2, .zombie))
        scene.lose(2)
        isPoison = scene.isPoison(7, now: scene.now)
        #expect(isPoison)
    }

    @Test("no longer suspects an event that was answered late")
    func late() {
        let scene = Scene()
        scene.join(1)
        scene.submit(7)
        for _ in 0..<50 { scene.pass(Scene.second) }
        scene.lose(1)
        scene.join(2)
        scene.submit(8, fingerprint: 7)
        for _ in 0..<20 { scene.pass(Scene.second) }
        scene.answer(2, 1)
        let remembersPoison = scene.machine.remembersPoison
        #expect(!remembersPoison)
    }

    @Test("makes an event poison when two workers died with it, and remembers it for an hour")
    func poison() {
        let scene = Scene()
        for id in 1...3 as ClosedRange<UInt64> { scene.join(id) }
        scene.submit(7)
        scene.lose(1)
        _ = scene.take()
        scene.lose(2)
        let done = scene.take()
        #expect(done == [.deathCounted(7), .poison(7), .fail(7, .poison, worker: 2)])
        #expect(scene.isPoison(7, now: scene.now))
        #expect(!scene.isPoison(7, now: scene.now + 3_601 * Scene.second))
    }

    @Test("counts a worker that died with the event elsewhere, and one that survived it there")
    func elsewhere() {
        let scene = Scene()
        scene.join(1)
        scene.machine.deathCountedElsewhere(with: 7, now: scene.now)
        scene.submit(8, fingerprint: 7)
        // It is a suspect from the start, and an answer clears it, here and elsewhere.
        let isAlone = scene.machine.isExclusive(1)
        #expect(isAlone)
        _ = scene.take()
        scene.answer(1, 1)
        #expect(scene.take() == [.suspicionCleared(7)])
        scene.machine.deathCountedElsewhere(with: 7, now: scene.now)
        scene.machine.suspicionClearedElsewhere(7)
        let isRemembered = scene.machine.remembersPoison
        #expect(!isRemembered)
        for _ in 0..<2 { scene.machine.deathCountedElsewhere(with: 7, now: scene.now) }
        #expect(scene.isPoison(7, now: scene.now))
        scene.machine.suspicionClearedElsewhere(7)
        #expect(scene.isPoison(7, now: scene.now))
    }

    @Test("sends a suspect to another worker when one holds a suspect of another machine")
    func claimed() {
        let scene = Scene()
        scene.join(1)
        scene.machine.deathCountedElsewhere(with: 7, now: scene.now)
        scene.submit(8, fingerprint: 7)
        _ = scene.take()
        scene.machine.claimedElsewhere(1, eventID: 1, now: scene.now, actions: &scene.actions)
        // There is no other worker: the same one is tried again a moment later.
        #expect(scene.take() == [])
        scene.pass(Scene.second)
        var done = scene.take()
        let left = self.all - Scene.second
        #expect(done == [.send(8, to: 1, eventID: 2, attempt: 1, remainingNS: left)])
        scene.join(2)
        scene.machine.claimedElsewhere(1, eventID: 2, now: scene.now, actions: &scene.actions)
        done = scene.take()
        #expect(done == [.send(8, to: 2, eventID: 1, attempt: 1, remainingNS: left)])
    }

    @Test("does not send an event again at a hook with side effects")
    func sideEffects() {
        let scene = Scene()
        scene.join(1)
        scene.join(2)
        scene.submit(7, hook: 2)
        _ = scene.take()
        scene.lose(1)
        let done = scene.take()
        #expect(done == [.deathCounted(7), .fail(7, .worker_lost, worker: 1)])
    }

    @Test("keeps the credit after a deadline, drops the late answer, and closes a zombie")
    func deadline() {
        let scene = Scene()
        scene.join(1)
        scene.submit(7)
        _ = scene.take()
        scene.pass(self.all)
        let over: [PoolAction] = [
            .cancelEvent(1, eventID: 1, reason: .deadline), .fail(7, .deadline, worker: 1),
            .ping(1),
        ]
        var done = scene.take()
        #expect(done == over)
        scene.submit(8)
        done = scene.take()
        #expect(done == [])
        #expect(scene.meaning(of: 1, from: 1) == .late)
        scene.pass(10 * Scene.second)
        scene.cancel(8)
        scene.pass(20 * Scene.second)
        done = scene.take()
        #expect(done == [.close(1, .zombie)])
    }

    @Test("pings a silent worker, and closes it if it holds no event and does not answer the ping")
    func ping() {
        let scene = Scene()
        scene.join(1)
        scene.join(2)
        /// The second worker says something each second.
        func pass(seconds: Int) -> [PoolAction] {
            for _ in 0..<seconds {
                scene.now += Scene.second
                scene.machine.workerHeard(2, now: scene.now)
                scene.pass(0)
            }
            return scene.take()
        }
        var done = pass(seconds: 4)
        #expect(done == [])
        done = pass(seconds: 1)
        #expect(done == [.ping(1)])
        done = pass(seconds: 4)
        var states = scene.machine.snapshot(now: scene.now).workers.map(\.state)
        #expect(done == [] && states == [.ready, .ready])
        done = pass(seconds: 25)
        states = scene.machine.snapshot(now: scene.now).workers.map(\.state)
        #expect(done == [] && states == [.silent, .ready])
        done = pass(seconds: 1)
        #expect(done == [.close(1, .zombie)])
    }

    @Test("does not close a worker for a missing pong while it holds an event before its deadline")
    func pingWhileBusy() {
        let scene = Scene()
        scene.change { $0.zombieNS = 8 * Scene.second }
        scene.join(1)
        scene.submit(7)
        for _ in 0..<19 { scene.pass(Scene.second) }
        _ = scene.take()
        scene.pass(Scene.second)
        let done = scene.take()
        let over: [PoolAction] = [
            .cancelEvent(1, eventID: 1, reason: .deadline), .fail(7, .deadline, worker: 1),
            .close(1, .zombie),
        ]
        #expect(done == over)
    }

    @Test("does not count the time in which the owner did not run as a worker's silence")
    func pingAfterGap() {
        let scene = Scene()
        scene.join(1)
        for _ in 0..<6 { scene.pass(Scene.second) }
        var done = scene.take()
        #expect(done == [.ping(1)])
        scene.pass(600 * Scene.second)
        done = scene.take()
        #expect(done == [])
        for _ in 0..<30 { scene.pass(Scene.second) }
        done = scene.take()
        #expect(done == [.close(1, .zombie)])
    }

    @Test("fails a question when the queue is full")
    func queueLimit() {
        let scene = Scene(queueLimit: 1)
        scene.join(1)
        for ticket in 1...3 as ClosedRange<UInt64> { scene.submit(ticket) }
        let done = scene.take()
        #expect(done.last == .fail(3, .queue_full, worker: nil))
    }

    @Test("lets questions wait for a worker during the grace, and fails them at once after it")
    func grace() {
        let scene = Scene()
        scene.submit(1, hook: 0)
        var done = scene.take()
        #expect(done == [])
        scene.pass(3 * Scene.second)
        done = scene.take()
        #expect(done == [.fail(1, .no_worker, worker: nil)])
        scene.submit(2, hook: 0)
        done = scene.take()
        #expect(done == [.fail(2, .no_worker, worker: nil)])
    }

    @Test("sends nothing to a worker that drains, and takes its last answers")
    func drain() {
        let scene = Scene()
        scene.join(1, concurrency: 2)
        scene.submit(7)
        _ = scene.take()
        scene.machine.drainRequested(by: 1, now: 0, actions: &scene.actions)
        var done = scene.take()
        #expect(done == [.answerDrain(1)])
        scene.submit(8)
        scene.answer(1, 1)
        done = scene.take()
        #expect(done == [])
        scene.join(2)
        done = scene.take()
        #expect(done == [.send(8, to: 2, eventID: 1, attempt: 1, remainingNS: self.all)])
    }

    @Test("asks no more for a hook that the new version of a worker dropped")
    func rollingUpdate() {
        let scene = Scene()
        scene.join(1)
        scene.join(2, hooks: [1])
        #expect(scene.isAsked(2))
        scene.machine.drainRequested(by: 1, now: 0, actions: &scene.actions)
        #expect(!scene.isAsked(2))
        scene.lose(2)
        #expect(scene.isAsked(1))
    }

    @Test(
        "keeps an identity out whose workers died three times in a row, and lets it in again after 1 s"
    )
    func crashLoop() {
        let scene = Scene()
        for id in 1...4 as ClosedRange<UInt64> { scene.join(id, identity: "well\(id)", hooks: [3]) }
        for id in 10...12 as ClosedRange<UInt64> {
            scene.join(id, identity: "ill")
            scene.submit(id)
            scene.lose(id)
        }
        var answer = scene.knock(13, identity: "ill")
        #expect(answer == .quarantined(retryNS: Scene.second))
        scene.lose(13)
        scene.pass(Scene.second)
        answer = scene.knock(14, identity: "ill")
        #expect(answer == .welcome(concurrency: 1))
    }

    @Test("keeps no worker out that is killed after it has answered")
    func killed() {
        let scene = Scene()
        for id in 1...4 as ClosedRange<UInt64> { scene.join(id, identity: "well\(id)", hooks: [3]) }
        for id in 10...20 as ClosedRange<UInt64> {
            scene.join(id, identity: "ill")
            scene.submit(id * 2)
            scene.answer(id, 1)
            scene.submit(id * 2 + 1)
            scene.lose(id)
        }
        let answer = scene.knock(21, identity: "ill")
        #expect(answer == .welcome(concurrency: 1))
    }

    @Test("gets no questions when more than half of the last 20 failed, but a trial every 500 ms")
    func breaker() {
        let scene = Scene()
        scene.join(1)
        for ticket in 1...20 as ClosedRange<UInt64> {
            scene.submit(ticket)
            if ticket <= 9 { scene.answer(1, Int64(ticket)) } else { scene.pass(self.all) }
            // Too late; it gives the credit back and counts for nothing.
            if ticket > 9 { scene.answer(1, Int64(ticket)) }
        }
        _ = scene.take()
        scene.submit(21)
        var done = scene.take()
        #expect(done == [.fail(21, .breaker_open, worker: nil)])
        scene.pass(500_000_000)
        scene.submit(22)
        scene.submit(23)
        done = scene.take()
        #expect(done.count == 2)
        #expect(done.last == .fail(23, .breaker_open, worker: nil))
        // A bad answer closes the breaker too.
        scene.answer(1, 21, failure: .worker_error)
        _ = scene.take()
        scene.submit(24)
        done = scene.take()
        #expect(done == [.send(24, to: 1, eventID: 22, attempt: 1, remainingNS: self.all)])
    }

    @Test(
        "counts a bad answer as a failure of its question, not of the worker or the pool",
        arguments: [PoolFailure.worker_error, .invalid_verdict]
    )
    func wrongAnswers(_ failure: PoolFailure) {
        let scene = Scene()
        for id in 1...3 as ClosedRange<UInt64> { scene.join(id) }
        for ticket in 1...60 as ClosedRange<UInt64> {
            scene.submit(ticket)
            guard case .send(ticket, let worker, let eventID, _, _)? = scene.take().first else {
                Issue.record("\(ticket) was not sent")
                return
            }
            scene.answer(worker, eventID, failure: failure)
            let done = scene.take()
            #expect(done == [.fail(ticket, failure, worker: worker)])
        }
        let readyCount = scene.machine.readyCount
        #expect(readyCount == 3)
    }

    @Test("counts an answer whose file was not taken as a failure")
    func answerRefused() {
        let scene = Scene()
        scene.join(1)
        scene.submit(7)
        scene.answer(1, 1)
        scene.machine.answerRefused(from: 1)
        let snapshot = scene.machine.snapshot(now: scene.now)
        #expect(snapshot.served == 0 && snapshot.failed == 1)
        #expect(snapshot.workers.map(\.served) == [0] && snapshot.workers.map(\.failed) == [1])
    }

    @Test("does not count an event that is too large for the worker as its failure")
    func tooLarge() {
        let scene = Scene()
        for id in 1...3 as ClosedRange<UInt64> { scene.join(id) }
        for ticket in 1...60 as ClosedRange<UInt64> {
            scene.submit(ticket)
            guard case .send(ticket, let worker, let eventID, _, _)? = scene.take().first else {
                Issue.record("\(ticket) was not sent")
                return
            }
            scene.machine.couldNotSend(
                to: worker,
                eventID: eventID,
                now: scene.now,
                actions: &scene.actions
            )
            let done = scene.take()
            #expect(done == [.fail(ticket, .event_too_large, worker: worker)])
        }
    }

    @Test("fails what a worker may not have as if there were no worker")
    func notForThisWorker() {
        let scene = Scene()
        scene.join(1)
        scene.submit(7)
        guard case .send(7, let worker, let eventID, _, _)? = scene.take().first else {
            Issue.record("it was not sent")
            return
        }
        scene.machine.couldNotSend(
            to: worker,
            eventID: eventID,
            as: .no_worker,
            now: scene.now,
            actions: &scene.actions
        )
        #expect(scene.take() == [.fail(7, .no_worker, worker: worker)])
    }

    @Test("is still empty after a worker joined that only observes")
    func observer() {
        let scene = Scene()
        scene.join(1, hooks: [], observed: [9])
        #expect(scene.isAsked(0))
        scene.submit(7, hook: 0)
        scene.pass(3 * Scene.second)
        let done = scene.take()
        #expect(done == [.fail(7, .no_worker, worker: nil)])
    }

    @Test("is not empty after a worker joined that registers no hook; it declines everything")
    func nothingNamed() {
        let scene = Scene()
        scene.join(1, hooks: [])
        #expect(!scene.isAsked(0))
        let readyCount = scene.machine.readyCount
        #expect(readyCount == 1)
    }

    @Test("asks at the hooks of workers that are gone until told to forget them, after a minute")
    func hooksWithoutWorker() {
        let scene = Scene()
        scene.join(1, hooks: [1], name: "old")
        scene.join(2, hooks: [2], name: "new")
        scene.lose(1)
        var unserved = scene.machine.hooksWithoutWorker
        #expect(unserved == HookNumbers(hook: 1))
        scene.pass(59 * Scene.second)
        var forgotten = scene.machine.forgetHooks(now: scene.now, actions: &scene.actions)
        #expect(forgotten == [] && scene.isAsked(1))
        scene.pass(Scene.second)
        scene.lose(2)
        forgotten = scene.machine.forgetHooks(now: scene.now, actions: &scene.actions)
        #expect(forgotten == [] && scene.isAsked(1) && scene.isAsked(2), "no worker is ready")
        scene.join(3, hooks: [2], name: "new")
        scene.submit(7)
        _ = scene.take()
        forgotten = scene.machine.forgetHooks(now: scene.now, actions: &scene.actions)
        #expect(forgotten == HookNumbers(hook: 1) && !scene.isAsked(1) && scene.isAsked(2))
        unserved = scene.machine.hooksWithoutWorker
        #expect(unserved == [])
    }

    @Test("asks at the declared hooks and those of ready workers, and remembers no others")
    func hooksDeclared() {
        var settings = PoolSettings()
        settings.hooksDeclared = HookNumbers(hook: 1)
        settings.hooksOfEmptyPool = HookNumbers(hook: 0)
        let scene = Scene()
        scene.machine.reconfigured(settings, actions: &scene.actions)
        #expect(scene.isAsked(1) && !scene.isAsked(0))
        scene.join(1, hooks: [2])
        #expect(scene.isAsked(1) && scene.isAsked(2))
        scene.lose(1)
        #expect(scene.isAsked(1) && !scene.isAsked(2))
        settings.hooksDeclared = nil
        scene.machine.reconfigured(settings, actions: &scene.actions)
        #expect(!scene.isAsked(1) && scene.isAsked(2), "registered hooks are remembered meanwhile")
    }

    @Test("forgets one poison when the operator says so, and no other")
    func forgottenPoison() {
        let scene = Scene()
        scene.join(1)
        scene.submit(7)
        scene.lose(1)
        scene.join(2)
        scene.lose(2)
        scene.machine.forgetPoison(8)
        let isPoison = scene.machine.isPoison(7, now: scene.now)
        #expect(isPoison)
        scene.machine.forgetPoison(7)
        let isPoisonStill = scene.machine.isPoison(7, now: scene.now)
        #expect(!isPoisonStill)
    }

    @Test("starts the grace of a hook whose last worker left, while others are served")
    func graceOfHook() {
        let scene = Scene()
        scene.join(1, hooks: [1])
        scene.join(2, hooks: [2])
        scene.pass(10 * Scene.second)
        scene.lose(2)
        _ = scene.take()
        scene.submit(7, hook: 2)
        scene.submit(8, hook: 1)
        var done = scene.take()
        #expect(done == [.send(8, to: 1, eventID: 1, attempt: 1, remainingNS: self.all)])
        scene.join(3, hooks: [2])
        done = scene.take()
        #expect(done == [.send(7, to: 3, eventID: 1, attempt: 1, remainingNS: self.all)])
    }
}
