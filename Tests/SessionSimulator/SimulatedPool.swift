import PolicyCore
import PolicyProtocol
import PoolCore
import SessionPlay

/// A pool machine, the workers of its pool, and the sessions that wait.
final class SimulatedPool {
    let number: Int
    let profile: PoolProfile
    var machine: PoolMachine
    var workers: [SimulatedWorker] = []
    var askers: [PoolTicket: SimulatedSession] = [:]
    /// How often the event of a ticket was written.
    var written: [PoolTicket: Int] = [:]
    var actions: [PoolAction] = []
    var lastTicket: PoolTicket = 0
    var lastWorker: WorkerID = 0

    init(_ number: Int, _ profile: PoolProfile, now: UInt64) {
        self.number = number
        self.profile = profile
        var settings = PoolSettings()
        settings.ordinaryDeadline = PoolSettings.Deadline(
            ordinaryNS: 2_000_000_000,
            maximumNS: 5_000_000_000
        )
        settings.zombieNS = 3_000_000_000
        settings.graceNS = 300_000_000
        settings.queueLimit = 6
        settings.hooksRememberedNS = 1_000_000_000
        settings.hooksWithSideEffects = [HookNumbers(hook: Hook.queue.index)]
        settings.hooksOfEmptyPool = HookNumbers(hook: Hook.connect.index)
        settings.maximumConnections = 6
        self.machine = PoolMachine(settings: settings, now: now)
    }

    func submit(_ session: SimulatedSession, hook: Hook, now: UInt64) -> PoolTicket {
        self.lastTicket += 1
        self.askers[self.lastTicket] = session
        self.machine.submit(
            self.lastTicket,
            hook: hook.index,
            fingerprint: nil,
            now: now,
            actions: &self.actions
        )
        return self.lastTicket
    }

    func cancel(_ ticket: PoolTicket) {
        self.askers[ticket] = nil
        self.machine.cancelled(ticket, fingerprint: { ticket }, actions: &self.actions)
    }

    func timePassed(now: UInt64) {
        for worker in self.workers { self.machine.workerHeard(worker.id, now: now) }
        self.machine.timePassed(now: now, fingerprint: { $0 }, actions: &self.actions)
    }

    /// Tells sessions what the workers registered.
    func updateProfile(_ demand: PolicyDemand, _ profiles: [PoolProfile]) {
        var asked = HookSet()
        for hook in Hook.allCases where self.machine.isAsked(hook.index) {
            asked.insert(HookSet(hook))
        }
        let wants = PoolWants(
            self.workers.filter { self.machine.isReady($0.id) }.map(\.hello),
            asked: asked
        )
        self.profile.update(wants, hasReadyWorker: self.machine.readyCount > 0)
        demand.update(profiles)
    }
}

/// One worker: what it registered, and the events that it holds.
final class SimulatedWorker {
    let id: WorkerID
    let hello: WorkerHello
    var held: [SimulatedEvent] = []
    var isDead = false

    init(_ id: WorkerID, _ hello: WorkerHello) {
        self.id = id
        self.hello = hello
    }
}

struct SimulatedEvent {
    let id: Int64
    let ticket: PoolTicket
    /// The hook that the worker is at.
    var hook: Hook
    /// The hooks that it may go on to.
    var ahead: [Hook]
}
