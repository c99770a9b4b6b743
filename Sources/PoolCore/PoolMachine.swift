/// One pool of policy workers: which workers are connected, which worker gets each question, and
/// how each question ends.
///
/// The machine is pure: its owner tells it what happened, and it appends actions for the owner to
/// perform. It reads no clock and touches no socket. Each submitted ticket ends exactly once, in
/// one of four ways: an answer arrives that ``answerReceived(from:eventID:)`` calls `awaited`; the
/// machine appends ``PoolAction/fail(_:_:worker:)``; the machine appends
/// ``PoolAction/passOver(_:)``; or the owner cancels the ticket.
///
/// Rules for the owner:
/// - Times are monotonic nanoseconds.
/// - Each new ticket and each new worker gets a higher id than all before it.
/// - The owner performs the actions in their order.
/// - When it has closed a worker's connection, it calls
///   ``workerLost(_:now:isDeath:fingerprint:actions:)``.
/// - When it cannot perform a `send`, it calls ``couldNotSend(to:eventID:as:now:actions:)`` or
///   ``heldBack(from:eventID:now:actions:)``.
///
/// - Note: protocol/README.md §8.
package struct PoolMachine: ~Copyable, Sendable {
    /// How many hooks a ``HookNumbers`` can hold.
    static let hooks = 32

    package internal(set) var settings: PoolSettings
    /// Sorted by id; there are at most ``PoolSettings/maximumConnections``.
    var workers: [WorkerSlot] = []
    var tickets: [PoolTicket: TicketSlot] = [:]
    /// For each hook, the tickets that wait and may go to any worker that serves the hook.
    var queues = [TicketQueue](repeating: TicketQueue(), count: PoolMachine.hooks)
    /// Tickets that wait and may go to some workers only: suspects, and tickets that were sent
    /// before.
    ///
    /// Oldest first.
    var retries: [Retry] = []
    /// Whether a worker may be kept free for a suspect (``WorkerSlot/isReserved``).
    var mayHaveReservations = false
    /// How many tickets wait, in `queues` and in `retries`.
    var queued = 0
    /// The hooks whose queue is not empty.
    var waiting: HookNumbers = []

    /// The hooks that at least one ready worker serves, even if it has no free credit.
    var served: HookNumbers = []
    package internal(set) var readyCount = 0
    /// For each name of a worker, the hooks that workers of this name registered.
    ///
    /// They are kept when the last worker of the name is gone, so that a crash does not let mail
    /// pass unchecked.
    var registered: [String: RegisteredHooks] = [:]
    /// The hooks that workers registered whose names did not fit in `registered`.
    var registeredByFurtherNames: HookNumbers = []
    /// The hooks that ready workers registered.
    var registeredNow: HookNumbers = []
    /// The hooks at which this pool is asked; `nil` if no worker was ever ready and the operator
    /// declared no hooks.
    var asked: HookNumbers?
    /// For each hook: until then, tickets wait even if no worker serves the hook.
    var graceUntilNS: [UInt64]
    /// The time of the last ``timePassed(now:fingerprint:actions:)``.
    var lastTimeNS: UInt64
    /// No deadline passes before this time.
    var nextDeadlineNS = UInt64.max

    var health = WorkerHealth()
    var breaker = PoolBreaker()
    var poison = PoisonMemory()
    package internal(set) var stale = StaleCounts()
    /// Answers that were used, and questions that failed, since the start.
    var counts = (served: 0 as UInt64, failed: 0 as UInt64)

    /// The hooks that workers of one name registered.
    struct RegisteredHooks: Sendable {
        var mask: HookNumbers
        /// When the last ready worker of this name left; `nil` while one is ready.
        var goneSinceNS: UInt64?
    }

    /// Answers for which no session waited.
    package struct StaleCounts: Sendable, Equatable {
        package var late: UInt64 = 0
        package var duplicate: UInt64 = 0
        package var unknown: UInt64 = 0
    }

    package init(settings: PoolSettings, now: UInt64) {
        self.settings = settings
        self.lastTimeNS = now
        self.graceUntilNS = [UInt64](repeating: now &+ settings.graceNS, count: PoolMachine.hooks)
        self.asked = settings.hooksDeclared
    }

    // MARK: - What the owner asks

    /// Whether sessions ask this pool at `hook`.
    package func isAsked(_ hook: UInt8) -> Bool {
        (self.asked ?? self.settings.hooksOfEmptyPool).contains(HookNumbers(hook: hook))
    }

    /// Of the workers that observe `hook`, one of each name: the one that holds the fewest events.
    package func observers(of hook: UInt8) -> [WorkerID] {
        let mask = HookNumbers(hook: hook)
        var chosen: [Int] = []
        for (index, worker) in self.workers.enumerated()
        where worker.hello.observed.contains(mask) && worker.state == .ready
            && worker.blockedSinceNS == nil
        {
            let rival = chosen.firstIndex {
                self.workers[$0].hello.name == worker.hello.name
            }
            if let rival {
                guard worker.held.count < self.workers[chosen[rival]].held.count else { continue }
                chosen[rival] = index
            } else {
                chosen.append(index)
            }
        }
        return chosen.map { self.workers[$0].id }
    }

    /// How many events the worker has not answered yet.
    package func outstanding(on id: WorkerID) -> Int {
        self.index(of: id).map { self.workers[$0].held.count } ?? 0
    }

    /// Whether the worker may get events, now or when a credit is free.
    package func isReady(_ id: WorkerID) -> Bool {
        self.index(of: id).map { self.workers[$0].state == .ready } ?? false
    }

    /// How many tickets have not ended.
    package var openTickets: Int { self.tickets.count }

    /// Whether one worker died or hung while a question with this fingerprint was all that it held.
    package func isSuspect(_ fingerprint: UInt64, now: UInt64) -> Bool {
        self.poison.isSuspect(fingerprint, now: now)
    }

    /// The same for two workers.
    package func isPoison(_ fingerprint: UInt64, now: UInt64) -> Bool {
        self.poison.isKnown(fingerprint, now: now)
    }

    /// Whether any fingerprint is remembered; while none is, the owner need not compute one.
    package var remembersPoison: Bool { !self.poison.isEmpty }

    /// Lets the question be asked again; an operator asks for it after the plugin was mended.
    package mutating func forgetPoison(_ fingerprint: UInt64) { self.poison.forget(fingerprint) }

    // MARK: - Positions

    func index(of id: WorkerID) -> Int? {
        var low = 0
        var high = self.workers.count
        while low < high {
            let middle = (low + high) / 2
            if self.workers[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < self.workers.count && self.workers[low].id == id ? low : nil
    }

    func queue(of hook: UInt8) -> Int { Int(hook) & (PoolMachine.hooks - 1) }
}
