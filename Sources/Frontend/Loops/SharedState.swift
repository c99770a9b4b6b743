import Configuration
import NIOCore
import NIOPosix
import Synchronization

/// What all event loops of a frontend share; any of them may use it.
///
/// The locks are taken when a session begins or ends, at a login, and at each tick: no command of a
/// client waits for another loop.
final class SharedState: Sendable {
    let loops: LoopDirectory
    let threads: NIOThreadPool
    let spool: SpoolDirectory
    let controlFiles: ControlFiles
    let evidence: PoisonEvidence
    let connections: SharedConnectionLimits
    let memory: SharedMemoryBudget
    /// Failed logins by client address.
    let failedLogins = SharedFailedLogins<String>()
    /// Failed logins by user.
    let failedLoginsOfUsers = SharedFailedLogins<UserKey>()
    /// Of each listener, in the order of the configuration.
    let greetingPasses: [SharedGreetingPasses]
    let suspects = SuspectClaims()
    /// The numbers of the workers' connections, by the names of the pools.
    let workerNumbers: [String: WorkerNumbers]

    /// `maximums` are those of `configuration`, as far as the descriptors allow.
    init(
        _ configuration: FrontendConfiguration,
        maximums: ConnectionLimits.Maximums,
        spool: SpoolDirectory,
        controlFiles: ControlFiles,
        loops: [any EventLoop],
        threads: NIOThreadPool
    ) {
        self.loops = LoopDirectory(loops)
        self.threads = threads
        self.spool = spool
        self.controlFiles = controlFiles
        self.evidence = PoisonEvidence(folder: spool.poisonPath, loop: loops[0], threads: threads)
        self.connections = SharedConnectionLimits(maximums)
        self.memory = SharedMemoryBudget(
            octets: configuration.limits.memoryOctets,
            loops: loops.count
        )
        self.greetingPasses = configuration.listeners.map {
            SharedGreetingPasses(lifetimeMilliseconds: $0.greetingPassTTLMS)
        }
        self.workerNumbers = Dictionary(
            configuration.pools.map { ($0.name, WorkerNumbers()) },
            uniquingKeysWith: { first, _ in first }
        )
    }
}

/// Numbers the connections of a pool's workers from 1, on all loops together.
final class WorkerNumbers: Sendable {
    private let last = Atomic<UInt64>(0)

    func next() -> UInt64 { self.last.wrappingAdd(1, ordering: .relaxed).newValue }
}

/// ``ConnectionLimits`` of all loops together.
final class SharedConnectionLimits: Sendable {
    private let limits: Mutex<ConnectionLimits>

    init(_ maximums: ConnectionLimits.Maximums) { self.limits = Mutex(ConnectionLimits(maximums)) }

    func use<Result>(_ body: (inout sending ConnectionLimits) -> sending Result) -> sending Result {
        self.limits.withLock(body)
    }
}

/// ``FailedLogins`` of all loops together.
final class SharedFailedLogins<Key: Hashable & Sendable>: Sendable {
    private let logins = Mutex(FailedLogins<Key>())

    func count(_ key: Key, now: Int64) -> Int { self.logins.withLock { $0.count(key, now: now) } }

    func failed(_ key: Key, rememberedMS: Int64, now: Int64) {
        self.logins.withLock { $0.failed(key, rememberedMS: rememberedMS, now: now) }
    }
}

/// ``GreetingPasses`` of a listener on all loops together.
final class SharedGreetingPasses: Sendable {
    private let passes: Mutex<GreetingPasses>

    init(lifetimeMilliseconds: Int64) {
        self.passes = Mutex(GreetingPasses(lifetimeMilliseconds: lifetimeMilliseconds))
    }

    func hasPassed(_ address: String, now: Int64) -> Bool {
        self.passes.withLock { $0.hasPassed(address, now: now) }
    }

    func passed(_ address: String, now: Int64) {
        self.passes.withLock { $0.passed(address, now: now) }
    }

    func setLifetime(milliseconds: Int64) {
        self.passes.withLock { $0.lifetimeMilliseconds = milliseconds }
    }
}

/// ``MemoryBudget`` of all loops together.
final class SharedMemoryBudget: Sendable {
    private let state: Mutex<State>

    private struct State {
        var budget: MemoryBudget
        /// What the sessions of each loop held when it last measured, in octets.
        var held: [Int]
    }

    init(octets: Int, loops: Int) {
        self.state = Mutex(
            State(
                budget: MemoryBudget(octets: octets),
                held: Array(repeating: 0, count: loops)
            )
        )
    }

    /// A new budget, in octets; 0 is no limit.
    func setBudget(octets: Int) { self.state.withLock { $0.budget.octets = octets } }

    /// What a measurement found.
    struct Finding {
        /// Whether no session and no transaction may begin.
        let isUsedUp: Bool
        /// Whether this measurement changed that.
        let hasChanged: Bool
        /// What the sessions of all loops hold, and the budget, in octets.
        let held: Int
        let budget: Int
    }

    /// The sessions of a loop hold `held` octets.
    func measured(loop: Int, held: Int) -> Finding {
        self.state.withLock { state in
            state.held[loop] = held
            let sum = state.held.reduce(0, +)
            let hasChanged = state.budget.measured(sum)
            return Finding(
                isUsedUp: state.budget.isUsedUp,
                hasChanged: hasChanged,
                held: sum,
                budget: state.budget.octets
            )
        }
    }
}
