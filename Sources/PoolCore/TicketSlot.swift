/// What the machine knows of a question that has not ended.
struct TicketSlot: Sendable {
    /// The question fails when this many connections ended while they held it.
    ///
    /// A first that held other events too, and two that held nothing else, make it poison.
    static let maximumLosses = 3

    enum Place: Equatable {
        /// The ticket waits in the queue of its hook, for any worker.
        case queued
        /// The ticket waits among the retries, for some workers only.
        case retried
        /// The worker holds it as the event with this id.
        case sent(WorkerID, Int64)
    }

    var hook: UInt8
    var deadlineNS: UInt64
    var latestDeadlineNS: UInt64
    /// Whether it is a trial of the breaker.
    let isTrial: Bool
    var place = Place.queued
    /// How often it was sent.
    var attempts = 0
    /// A worker died while it held this question, or died or hung while it held nothing else than
    /// one with the same fingerprint: the question is sent only to a worker that holds nothing
    /// else.
    var isSuspect = false
    /// Known once a worker died or hung while this question was all that it held.
    var fingerprint: UInt64?
    /// How many connections ended while they held it.
    var losses = 0

    var mask: HookNumbers { HookNumbers(hook: self.hook) }
}

/// A ticket that waits for one of some workers, not for any that serves its hook.
struct Retry: Sendable {
    let ticket: PoolTicket
    let mask: HookNumbers
    /// Whether it must be the only event that its worker holds.
    let isSuspect: Bool
    let deadlineNS: UInt64
    /// The worker that handed it back; it gets it again only if no other worker serves the hook.
    let avoided: WorkerID?
    /// The earliest time at which `avoided` may get it again.
    let notBeforeNS: UInt64
}

/// The tickets that wait at one hook for any worker, oldest first.
///
/// When a ticket no longer waits, its entry stays, stale, until it is the first or until the stale
/// entries outnumber the others.
struct TicketQueue: Sendable {
    /// How many stale entries are always allowed.
    static let slack = 64

    private var entries: [PoolTicket] = []
    private var head = 0
    /// How many tickets wait; stale entries do not count.
    private(set) var count = 0

    /// The oldest entry, stale or not.
    var first: PoolTicket? { self.head < self.entries.count ? self.entries[self.head] : nil }

    /// All entries, stale or not.
    var entriesLeft: ArraySlice<PoolTicket> { self.entries[self.head...] }

    var hasStaleEntries: Bool { self.entries.count - self.head > self.count }

    mutating func append(_ ticket: PoolTicket) {
        self.entries.append(ticket)
        self.count += 1
    }

    /// Removes the oldest entry; `wasWaiting` is false if it was stale.
    mutating func dropFirst(wasWaiting: Bool) {
        guard self.head < self.entries.count else { return }
        self.head += 1
        if wasWaiting { self.count -= 1 }
        if self.head == self.entries.count {
            self.entries.removeAll(keepingCapacity: true)
            self.head = 0
        } else if self.head >= Self.slack, self.head * 2 >= self.entries.count {
            self.entries.removeSubrange(..<self.head)
            self.head = 0
        }
    }

    /// A ticket no longer waits, so its entry is stale.
    ///
    /// When too many are, all entries for which `isWaiting` is false are removed.
    mutating func ticketLeft(_ isWaiting: (PoolTicket) -> Bool) {
        self.count -= 1
        guard self.entries.count - self.head > 2 * self.count + Self.slack else { return }
        self.entries.removeSubrange(..<self.head)
        self.head = 0
        self.entries.removeAll { !isWaiting($0) }
    }
}
