/// What the machine knows of one connection.
struct WorkerSlot {
    enum State: Equatable {
        /// Connected; hello is due.
        case greeting(until: UInt64)
        case ready
        /// Nothing is sent any more; it leaves when its last answer is out.
        case draining
    }

    /// An event that the worker has and has not answered.
    struct Held {
        /// `nil` once nobody waits for it.
        var ticket: PoolTicket?
        let sentNS: UInt64
        /// When the worker is closed for not answering.
        var zombieNS: UInt64
    }

    var state: State
    var hello = PoolHello(identity: "", name: "", concurrency: 0, asked: [])
    var held: [Int64: Held] = [:]
    var lastEventID: Int64 = 0
    /// Credits in use so far allowed: grows to the worker's concurrency with good answers.
    var rampedCredits = 0
    /// A suspect runs here alone.
    var isExclusive = false
    /// Its socket takes no more; since when.
    var blockedSinceNS: UInt64?
    var served: UInt64 = 0
    var failed: UInt64 = 0

    var credits: Int { min(self.hello.concurrency, self.rampedCredits) }

    func canTake(_ hook: HookMask) -> Bool {
        self.state == .ready && !self.isExclusive && self.blockedSinceNS == nil
            && self.held.count < self.credits && self.hello.asked.contains(hook)
    }

    /// Whether this worker is less busy than `other`, by outstanding events a credit.
    func isLessBusy(than other: WorkerSlot) -> Bool {
        self.held.count * other.credits < other.held.count * self.credits
    }
}

/// A question on its way.
struct TicketSlot {
    let hook: UInt8
    let mask: HookMask
    var deadlineNS: UInt64
    let latestDeadlineNS: UInt64
    var attempts = 0
    /// Workers that died with it.
    var deaths = 0
    /// It was there when a worker died, and is asked alone.
    var isSuspect = false
    /// Until then a suspect insists on being alone.
    var aloneUntilNS: UInt64 = 0
    var lastWorker: WorkerID?
    var place = Place.queued

    enum Place: Equatable {
        case queued
        case sent(WorkerID, Int64)
    }
}
