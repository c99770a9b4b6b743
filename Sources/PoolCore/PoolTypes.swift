/// The number of one worker's connection.
///
/// A worker that reconnects gets a new one.
package typealias WorkerID = UInt64

/// The number of one question of a session to this pool.
///
/// It stays the same when the question is sent again.
package typealias PoolTicket = UInt64

/// A set of hooks, each by its number; the machine does not know what a number stands for.
///
/// A hook is the bit that it is in PolicyProtocol's `HookSet`, where hooks have names.
package struct HookNumbers: OptionSet, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package init(hook: UInt8) { self.rawValue = 1 << UInt32(hook & 31) }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// Why a question got no usable verdict.
///
/// The names are those of protocol/failure.md.
package enum PoolFailure: String, Error, Sendable, CaseIterable {
    /// The connection of the worker that had the event ended.
    case worker_lost
    /// The worker answered `error`.
    case worker_error
    /// No answer came before the deadline.
    case deadline
    /// The verdict breaks a rule of protocol/verdicts.md.
    case invalid_verdict
    /// The event is larger than the worker's `max_frame`, even without its optional parts.
    case event_too_large
    /// No credit is free and the queue is full.
    case queue_full
    /// No worker serves the hook, and none came during the grace.
    case no_worker
    /// Too many events of this pool got no answer, so the breaker is open.
    case breaker_open
    /// Two workers died or hung while this question was all that they held.
    case poison
}

/// The limits of one pool; times in nanoseconds.
package struct PoolSettings: Sendable, Equatable {
    /// How long a question at one hook may take.
    package struct Deadline: Sendable, Equatable {
        /// From the question to the answer; waiting for a worker counts.
        package var ordinaryNS: UInt64
        /// The longest time to which `progress` can extend it.
        package var maximumNS: UInt64

        package init(ordinaryNS: UInt64, maximumNS: UInt64) {
            self.ordinaryNS = ordinaryNS
            self.maximumNS = max(ordinaryNS, maximumNS)
        }
    }

    /// Indexed by the number of the hook; a hook beyond the end has ``ordinaryDeadline``.
    package var deadlines: [Deadline] = []
    package var ordinaryDeadline = Deadline(ordinaryNS: 20_000_000_000, maximumNS: 120_000_000_000)
    /// At these hooks a question whose worker was lost is asked again only if that worker said
    /// `idempotent`.
    package var hooksWithSideEffects: HookNumbers = []
    /// The hooks that the operator declared: they are asked even while no worker is ready, and the
    /// hooks of workers that are gone are not asked.
    ///
    /// `nil`: the operator declared none, and the hooks that workers registered are remembered.
    package var hooksDeclared: HookNumbers?
    /// How long the last worker of a name must be gone before its hooks can be forgotten.
    package var hooksRememberedNS: UInt64 = 60_000_000_000
    /// The hooks that are asked until the first worker is ready.
    package var hooksOfEmptyPool: HookNumbers = []
    /// How long questions wait for a worker after the start, or after the last worker left.
    package var graceNS: UInt64 = 3_000_000_000
    /// How long after its deadline an answer may still come; then the worker is closed.
    package var zombieNS: UInt64 = 30_000_000_000
    /// How long a worker may be silent before it gets a `ping`.
    package var pingNS: UInt64 = 5_000_000_000
    /// How long after connecting a worker may take to say hello.
    package var handshakeNS: UInt64 = 5_000_000_000
    package var queueLimit = 1_000
    package var maximumConnections = 64
    package var maximumConcurrency = 1_024

    package init() {}

    func deadline(_ hook: UInt8) -> Deadline {
        Int(hook) < self.deadlines.count ? self.deadlines[Int(hook)] : self.ordinaryDeadline
    }
}

/// The parts of a worker's `hello` that the machine uses.
package struct PoolHello: Sendable, Equatable {
    /// Name, instance and user.
    ///
    /// Failures of all connections with one identity are counted together.
    package var identity: String
    package var name: String
    package var concurrency: Int
    package var asked: HookNumbers
    package var observed: HookNumbers
    package var idempotent: HookNumbers

    package init(
        identity: String,
        name: String,
        concurrency: Int,
        asked: HookNumbers,
        observed: HookNumbers = [],
        idempotent: HookNumbers = []
    ) {
        self.identity = identity
        self.name = name
        self.concurrency = concurrency
        self.asked = asked
        self.observed = observed
        self.idempotent = idempotent
    }
}

/// What the pool's owner is to do next.
package enum PoolAction: Equatable, Sendable {
    /// Write the event to the worker; `remainingNS` is the time until its deadline.
    case send(PoolTicket, to: WorkerID, eventID: Int64, attempt: Int, remainingNS: UInt64)
    /// The ticket ends without a verdict. `worker` had the event last; `nil` if no worker had it.
    case fail(PoolTicket, PoolFailure, worker: WorkerID?)
    /// Write `cancel`: the session no longer waits. The worker still answers the event once.
    case cancelEvent(WorkerID, eventID: Int64, reason: CancelReason)
    /// Write `ping`.
    case ping(WorkerID)
    /// Write `bye` and close the connection.
    case close(WorkerID, CloseReason)
    /// Write `drain`: this worker gets no more events.
    case answerDrain(WorkerID)
    /// The ticket's question is poison: keep its event for the plugin's author. `fail` follows.
    case poison(PoolTicket)
    /// The ticket ends as if every plugin had declined: the pool is no longer asked at its hook.
    case passOver(PoolTicket)
    /// A worker died or hung with the question and nothing else: tell the pool's other machines, if
    /// there are any (``PoolMachine/deathCountedElsewhere(with:now:)``).
    case deathCounted(UInt64)
    /// A worker answered a suspect and lives: tell the pool's other machines
    /// (``PoolMachine/suspicionClearedElsewhere(_:)``).
    case suspicionCleared(UInt64)

    // swift-format-ignore: AlwaysUseLowerCamelCase
    package enum CancelReason: String, Sendable, CaseIterable {
        case client_gone
        case deadline
        case shutdown
    }

    // swift-format-ignore: AlwaysUseLowerCamelCase
    package enum CloseReason: String, Sendable {
        /// The worker did not say hello in time.
        case handshake
        /// The worker did not read for ``PoolSettings/zombieNS``.
        case slow_reader
        /// The worker did not answer an event for ``PoolSettings/zombieNS`` after its deadline, or
        /// a `ping` for as long while it held no event.
        case zombie
        /// The worker failed too often in a row.
        case quarantined
    }
}

/// What the event id in an answer refers to.
package enum PoolAnswer: Equatable, Sendable {
    /// An event for whose answer a session waits.
    case awaited(PoolTicket)
    /// An event for which no session waits any more: the deadline passed or the client left. The
    /// answer frees the worker's credit.
    case late
    /// An event that the worker answered before.
    case duplicate
    /// No event that was sent on this connection.
    case unknown
}

/// How a hello is answered.
package enum HelloAnswer: Equatable, Sendable {
    case welcome(concurrency: Int)
    case full
    case quarantined(retryNS: UInt64)
}
