/// One pool of policy workers: who is connected, who is asked, and what becomes of each event.
///
/// Pure: it is told what happened and appends what is to be done; it reads no clock and touches no
/// socket. Every ticket that is submitted gets exactly one outcome: the owner delivers the answer
/// that ``answerReceived(from:eventID:)`` says is awaited, or a ``PoolAction/fail(_:_:worker:)`` or a
/// ``PoolAction/passOver(_:)`` is appended, or the owner cancels it.
///
/// The owner keeps to this: times are monotonic nanoseconds and never go back; ids of tickets and of
/// workers ascend and are never used again; actions are done in their order; a worker that is to be
/// closed is soon reported as lost; a `send` that is not done is reported as
/// ``couldNotSend(to:eventID:now:actions:)``.
///
/// - Note: protocol/README.md, "Deadlines, credits, dispatch" and "Failure is not a verdict".
package struct PoolMachine: ~Copyable, Sendable {
    /// Hooks that a ``HookMask`` can name.
    static let hooks = 32

    package internal(set) var settings: PoolSettings
    /// In the order of their ids, which is that of their coming; few, so a search is a short one.
    var workers: [WorkerSlot] = []
    var tickets: [PoolTicket: TicketSlot] = [:]
    /// Tickets that wait for any worker that serves their hook, by hook.
    var queues = [TicketQueue](repeating: TicketQueue(), count: PoolMachine.hooks)
    /// Tickets that were sent before, by age; they may not go to every worker.
    var retries: [Retry] = []
    /// Whether some worker is kept free for a suspect.
    var mayHaveReservations = false
    /// How many tickets wait, in `queues` and in `retries`.
    var queued = 0
    /// Hooks whose queue is not empty.
    var waiting: HookMask = []

    /// Hooks that some ready worker serves, busy or not.
    var served: HookMask = []
    package internal(set) var readyCount = 0
    /// What each kind of worker last named: asked even while none of them is there, unless the operator
    /// declared what is.
    var named: [String: NamedHooks] = [:]
    /// What kinds named for which there was no more room in `named`.
    var namedByOthers: HookMask = []
    /// What workers name that are there.
    var namedNow: HookMask = []
    /// All that is asked; `nil` if no worker was ever there and nothing is declared.
    var asked: HookMask?
    /// Until when events wait for a worker that serves their hook, by hook.
    var graceUntilNS: [UInt64]
    /// When time was last said to have passed.
    var lastTimeNS: UInt64
    /// No deadline passes before then.
    var nextDeadlineNS = UInt64.max

    var health = WorkerHealth()
    var breaker = PoolBreaker()
    var poison = PoisonMemory()
    package internal(set) var stale = StaleCounts()
    /// Answers that were used, and events that failed, since the start.
    var counts = (served: 0 as UInt64, failed: 0 as UInt64)

    /// The hooks of one kind of worker.
    struct NamedHooks: Sendable {
        var mask: HookMask
        /// Since when no worker of this kind is there.
        var goneSinceNS: UInt64?
    }

    /// Answers that nobody waited for.
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

    /// Whether the pool is to be asked about `hook` at all.
    package func isAsked(_ hook: UInt8) -> Bool {
        (self.asked ?? self.settings.hooksOfEmptyPool).contains(HookMask(hook: hook))
    }

    /// One worker of each name that observes `hook`: the one with the least to do.
    package func observers(of hook: UInt8) -> [WorkerID] {
        let mask = HookMask(hook: hook)
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

    /// Events that the worker has and has not answered.
    package func outstanding(on id: WorkerID) -> Int {
        self.index(of: id).map { self.workers[$0].held.count } ?? 0
    }

    /// Whether the worker may be sent events, now or when it has the time.
    package func isReady(_ id: WorkerID) -> Bool {
        self.index(of: id).map { self.workers[$0].state == .ready } ?? false
    }

    /// Tickets that have no outcome yet.
    package var openTickets: Int { self.tickets.count }

    /// Whether a question with this fingerprint already cost a worker.
    package func isSuspect(_ fingerprint: UInt64, now: UInt64) -> Bool {
        self.poison.isSuspect(fingerprint, now: now)
    }

    /// Whether a question with this fingerprint already cost two workers.
    package func isPoison(_ fingerprint: UInt64, now: UInt64) -> Bool {
        self.poison.isKnown(fingerprint, now: now)
    }

    /// Whether there is any fingerprint to compare with, so that none need be computed.
    package var remembersPoison: Bool { !self.poison.isEmpty }

    /// The question may be asked again: its author says that the plugin is mended.
    package mutating func forgetPoison(_ fingerprint: UInt64) { self.poison.forget(fingerprint) }

    // MARK: - Places

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
