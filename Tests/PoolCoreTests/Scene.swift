import PoolCore
import Testing

/// A pool whose hook 1 is ordinary and whose hook 2 has side effects; deadlines of 20 s.
final class Scene {
    static let second: UInt64 = 1_000_000_000

    var machine: PoolMachine
    var now: UInt64 = 0
    var actions: [PoolAction] = []
    /// The fingerprints of tickets; a ticket that is not in it has its own number.
    var fingerprints: [PoolTicket: UInt64] = [:]

    init(queueLimit: Int = 1_000) {
        var settings = PoolSettings()
        settings.hooksWithSideEffects = HookNumbers(hook: 2)
        settings.hooksOfEmptyPool = HookNumbers(hook: 0)
        settings.queueLimit = queueLimit
        self.machine = PoolMachine(settings: settings, now: 0)
    }

    func change(_ change: (inout PoolSettings) -> Void) {
        var settings = self.machine.settings
        change(&settings)
        self.machine.reconfigured(settings, actions: &self.actions)
    }

    func join(
        _ id: WorkerID,
        identity: String? = nil,
        concurrency: Int = 1,
        hooks: [UInt8] = [1, 2],
        observed: [UInt8] = [],
        name: String = "one"
    ) {
        let answer = self.knock(
            id,
            identity: identity,
            concurrency: concurrency,
            hooks: hooks,
            observed: observed,
            name: name
        )
        #expect(answer == .welcome(concurrency: concurrency))
        self.machine.workerReady(id, now: self.now, actions: &self.actions)
    }

    /// A worker connects and says hello.
    func knock(
        _ id: WorkerID,
        identity: String? = nil,
        concurrency: Int = 1,
        hooks: [UInt8] = [1, 2],
        observed: [UInt8] = [],
        name: String = "one"
    ) -> HelloAnswer {
        let isAdmitted = self.machine.workerConnected(id, now: self.now)
        #expect(isAdmitted)
        let hello = PoolHello(
            identity: identity ?? "\(id)",
            name: name,
            concurrency: concurrency,
            asked: HookNumbers(hooks.map { HookNumbers(hook: $0) }),
            observed: HookNumbers(observed.map { HookNumbers(hook: $0) })
        )
        return self.machine.helloReceived(from: id, hello, now: self.now)
    }

    func submit(_ ticket: PoolTicket, hook: UInt8 = 1, fingerprint: UInt64? = nil) {
        self.fingerprints[ticket] = fingerprint
        self.machine.submit(
            ticket,
            hook: hook,
            fingerprint: fingerprint ?? ticket,
            now: self.now,
            actions: &self.actions
        )
    }

    func cancel(_ ticket: PoolTicket) {
        let fingerprint = self.fingerprints[ticket] ?? ticket
        self.machine.cancelled(ticket, fingerprint: { fingerprint }, actions: &self.actions)
    }

    func answer(_ id: WorkerID, _ eventID: Int64, failure: PoolFailure? = nil) {
        self.machine.answered(
            from: id,
            eventID: eventID,
            failure: failure,
            now: self.now,
            actions: &self.actions
        )
    }

    func lose(_ id: WorkerID) {
        self.machine.workerLost(id, now: self.now, fingerprint: { $0 }, actions: &self.actions)
    }

    func pass(_ nanoseconds: UInt64) {
        self.now += nanoseconds
        let known = self.fingerprints
        self.machine.timePassed(
            now: self.now,
            fingerprint: { known[$0] ?? $0 },
            actions: &self.actions
        )
    }

    // `#expect` would copy the machine, which cannot be copied: so it gets copies of single values.

    var openTickets: Int { self.machine.openTickets }

    func isAsked(_ hook: UInt8) -> Bool { self.machine.isAsked(hook) }

    func isPoison(_ fingerprint: UInt64, now: UInt64) -> Bool {
        self.machine.isPoison(fingerprint, now: now)
    }

    func meaning(of eventID: Int64, from id: WorkerID) -> PoolAnswer {
        self.machine.answerReceived(from: id, eventID: eventID)
    }

    /// The actions since the last call.
    func take() -> [PoolAction] {
        defer { self.actions = [] }
        return self.actions
    }
}
