/// One connection of a worker, never used again.
package typealias WorkerID = UInt64

/// One question of a session to a pool; the same over all its attempts.
package typealias PoolTicket = UInt64

/// A set of hooks by their number, which the machine does not interpret.
package struct HookMask: OptionSet, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package init(hook: UInt8) { self.rawValue = 1 << UInt32(hook & 31) }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// Why an event got no verdict that can be used; the names are protocol/failure.md's.
package enum PoolFailure: String, Error, Sendable, CaseIterable {
    /// The connection of its worker ended.
    case worker_lost
    /// The worker answered `error`.
    case worker_error
    /// No answer in time.
    case deadline
    /// The verdict breaks a rule.
    case invalid_verdict
    /// It does not fit the worker's `max_frame`, even without its optional parts.
    case event_too_large
    /// Every worker is busy and the queue is full.
    case queue_full
    /// No worker serves the hook, and none came within the grace.
    case no_worker
    /// Too many events of this pool failed; it is left alone for a while.
    case breaker_open
    /// Two workers died or hung with it and nothing else.
    case poison
}

/// What one pool is allowed; times in nanoseconds.
package struct PoolSettings: Sendable, Equatable {
    /// For one hook.
    package struct Deadline: Sendable, Equatable {
        /// From the question to the answer, waiting for a worker included.
        package var ordinaryNS: UInt64
        /// The same with all the `progress` that a worker may send.
        package var maximumNS: UInt64

        package init(ordinaryNS: UInt64, maximumNS: UInt64) {
            self.ordinaryNS = ordinaryNS
            self.maximumNS = max(ordinaryNS, maximumNS)
        }
    }

    /// By number of hook; a hook beyond the list takes ``ordinaryDeadline``.
    package var deadlines: [Deadline] = []
    package var ordinaryDeadline = Deadline(ordinaryNS: 20_000_000_000, maximumNS: 120_000_000_000)
    /// Hooks with side effects: not asked twice unless the worker said `idempotent`.
    package var hooksWithSideEffects: HookMask = []
    /// Asked whoever is there, and nothing else is remembered of workers that are gone; `nil`: what
    /// workers named is.
    package var hooksDeclared: HookMask?
    /// Hooks of a kind that is gone for less are not forgotten.
    package var hooksRememberedNS: UInt64 = 60_000_000_000
    /// Asked while no worker was ever there.
    package var hooksOfEmptyPool: HookMask = []
    /// After start or after the last worker left, events wait so long.
    package var graceNS: UInt64 = 3_000_000_000
    /// Past its deadline an answer may come so late; then its worker is closed.
    package var zombieNS: UInt64 = 30_000_000_000
    /// A worker that says nothing for so long is asked `ping`.
    package var pingNS: UInt64 = 5_000_000_000
    /// A connection says hello within this.
    package var handshakeNS: UInt64 = 5_000_000_000
    package var queueLimit = 1_000
    package var maximumConnections = 64
    package var maximumConcurrency = 1_024

    package init() {}

    func deadline(_ hook: UInt8) -> Deadline {
        Int(hook) < self.deadlines.count ? self.deadlines[Int(hook)] : self.ordinaryDeadline
    }
}

/// What a worker said of itself, as far as the machine cares.
package struct PoolHello: Sendable, Equatable {
    /// Name, instance and user: whose failures count together.
    package var identity: String
    package var name: String
    package var concurrency: Int
    package var asked: HookMask
    package var observed: HookMask
    package var idempotent: HookMask

    package init(
        identity: String,
        name: String,
        concurrency: Int,
        asked: HookMask,
        observed: HookMask = [],
        idempotent: HookMask = []
    ) {
        self.identity = identity
        self.name = name
        self.concurrency = concurrency
        self.asked = asked
        self.observed = observed
        self.idempotent = idempotent
    }
}

/// What the pool's owner does next; in order.
package enum PoolAction: Equatable, Sendable {
    /// Write the event to the worker; `remainingNS` is what is left of its deadline.
    case send(PoolTicket, to: WorkerID, eventID: Int64, attempt: Int, remainingNS: UInt64)
    /// The ticket is over without a verdict.
    case fail(PoolTicket, PoolFailure, worker: WorkerID?)
    /// Tell the worker that nobody waits any more; one answer is still expected.
    case cancelEvent(WorkerID, eventID: Int64, reason: CancelReason)
    /// Say `ping`: nothing has come from the worker for a while.
    case ping(WorkerID)
    /// Say `bye` and close.
    case close(WorkerID, CloseReason)
    /// Say `drain`: nothing is sent to this worker any more.
    case answerDrain(WorkerID)
    /// The ticket is poison: keep the evidence.
    case poison(PoolTicket)
    /// Nobody in the pool names the hook after all: as if every plugin had declined.
    case passOver(PoolTicket)

    // swift-format-ignore: AlwaysUseLowerCamelCase
    package enum CancelReason: String, Sendable {
        case client_gone
        case deadline
        case shutdown
    }

    // swift-format-ignore: AlwaysUseLowerCamelCase
    package enum CloseReason: String, Sendable {
        /// No hello in time.
        case handshake
        /// It did not read what it was sent.
        case slow_reader
        /// It did not answer long past a deadline, or long after a `ping` with no event left to answer.
        case zombie
        /// It failed too often in a row.
        case quarantined
    }
}

/// What the id of an answer means.
package enum PoolAnswer: Equatable, Sendable {
    /// Somebody waits for it.
    case awaited(PoolTicket)
    /// Nobody waits any more: the deadline passed or the client left. Frees the credit.
    case late
    /// It was answered before.
    case duplicate
    /// It was never sent on this connection.
    case unknown
}

/// How a hello is answered.
package enum HelloAnswer: Equatable, Sendable {
    case welcome(concurrency: Int)
    case full
    case quarantined(retryNS: UInt64)
}
