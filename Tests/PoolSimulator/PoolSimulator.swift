package import PoolCore

/// Plays sessions and workers against a pool machine: at random, but the same for the same seed.
///
/// It compares each action of the machine with a model of its own, and after each step it checks
/// the invariants. The first violation ends the run.
package struct PoolSimulator: ~Copyable {
    /// A rule that the machine broke.
    package struct Violation: Error {
        package let step: Int
        package let rule: String
    }

    /// How often each thing happened, to check that everything did.
    package struct Counts: Equatable {
        package var submitted = 0
        package var sent = 0
        package var answered = 0
        package var stale = 0
        package var handedBack = 0
        package var heldBack = 0
        package var pinged = 0
        package var forgotten = 0
        package var wentAhead = 0
        package var cancelled = 0
        package var passedOver = 0
        package var poisoned = 0
        package var hangsAlone = 0
        package var retried = 0
        package var workers = 0
        package var deaths = 0
        package var refused = 0
        package var closed: [PoolAction.CloseReason: Int] = [:]
        package var failed: [PoolFailure: Int] = [:]
    }

    static let hooks = 6
    static let kinds = 4
    /// The last hooks have side effects.
    static let firstHookWithSideEffects: UInt8 = 4
    static let millisecond: UInt64 = 1_000_000
    static let second: UInt64 = 1_000_000_000

    /// In this many steps, everything that can happen happens.
    static let stepsForAll = 1_000_000

    let seed: UInt64
    /// From this step on, lines are kept in ``logLines``.
    let logFrom: Int
    var random: Randomness
    var machine: PoolMachine
    let settings: PoolSettings
    var now: UInt64 = 1_000
    var step = 0
    var weather = Weather()
    var workers: [ModelWorker] = []
    var tickets: [PoolTicket: ModelTicket] = [:]
    /// The keys of `tickets`, to choose one at random; keys of ended tickets are dropped when
    /// chosen.
    var candidates: [PoolTicket] = []
    var lastTicket: PoolTicket = 0
    var lastWorker: WorkerID = 0
    var actions: [PoolAction] = []
    /// Workers whose sockets became full while `actions` are performed: further events are held
    /// back.
    var filled: Set<WorkerID> = []
    /// By fingerprint.
    var suspicions: [UInt64: ModelSuspicion] = [:]
    var breaker = ModelBreaker()
    /// The time of the machine's last `timePassed`.
    var tickedNS: UInt64 = 1_000
    /// The ticket that this step submits.
    var submitting: PoolTicket?
    /// The hooks that workers of each name registered when one was last ready.
    var named = [HookNumbers?](repeating: nil, count: PoolSimulator.kinds)
    /// The part of `named` that is certain.
    var namedForSure = [HookNumbers](repeating: [], count: PoolSimulator.kinds)
    /// What each ready worker of a name had registered when the last step ended.
    var present = [[HookNumbers]](repeating: [], count: PoolSimulator.kinds)
    /// When a worker of each name was last ready.
    var presentNS = [UInt64](repeating: 0, count: PoolSimulator.kinds)
    /// When a hook may have lost its last worker.
    var servedUntilNS = [UInt64](repeating: 0, count: PoolSimulator.hooks)
    /// Workers that were ready when the step began.
    var readyBefore = 0
    /// How many of them were quarantined in the step.
    var quarantinedNow = 0
    var quarantine = ModelQuarantine()
    /// The ticket of the action `poison`, whose failure must follow.
    var poisonToFail: PoolTicket?
    package internal(set) var counts = Counts()
    let log = StepLog()

    package init(seed: UInt64, logFrom: Int = .max) {
        self.seed = seed
        self.logFrom = logFrom
        self.random = Randomness(seed: seed)
        var settings = PoolSettings()
        settings.ordinaryDeadline = PoolSettings.Deadline(
            ordinaryNS: 2 * Self.second,
            maximumNS: 5 * Self.second
        )
        settings.deadlines = [
            PoolSettings.Deadline(ordinaryNS: Self.second / 4, maximumNS: Self.second / 4)
        ]
        settings.zombieNS = 3 * Self.second
        settings.pingNS = Self.second
        settings.hooksRememberedNS = 2 * Self.second
        settings.hooksOfEmptyPool = HookNumbers(hook: 0)
        settings.hooksWithSideEffects = [HookNumbers(hook: 4), HookNumbers(hook: 5)]
        settings.queueLimit = 100
        settings.maximumConnections = 48
        settings.maximumConcurrency = 16
        self.settings = settings
        self.machine = PoolMachine(settings: settings, now: self.now)
    }

    /// The last lines.
    package var logLines: [String] { self.log.lines }

    /// Runs `steps` steps, then lets everything come to rest.
    package mutating func run(steps: Int) throws(Violation) {
        while self.step < steps {
            self.step += 1
            if self.step % 20_000 == 1 {
                self.weather = Weather.all[self.random.below(Weather.all.count)]
            }
            self.submitting = nil
            self.readyBefore = self.workers.count { self.machine.isReady($0.id) }
            self.quarantinedNow = 0
            try self.oneStep()
            try self.perform()
            try self.checkAfterStep()
            if self.step % 100_000 == 0 || self.step == steps { try self.comeToRest() }
        }
        if self.step >= Self.stepsForAll { try self.checkAllHappened() }
    }

    func check(
        _ isTrue: Bool,
        _ rule: @autoclosure () -> String
    ) throws(Violation) {
        guard !isTrue else { return }
        throw Violation(step: self.step, rule: rule())
    }

    func record(_ text: @autoclosure () -> String) {
        guard self.step >= self.logFrom else { return }
        self.log.lines.append("\(self.step) \(self.now / Self.millisecond)ms \(text())")
    }
}

/// A class, so that a line can be added while the simulator is being changed.
final class StepLog {
    var lines: [String] = []
}
