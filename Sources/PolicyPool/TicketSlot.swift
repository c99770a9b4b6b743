/// A question on its way.
struct TicketSlot: Sendable {
    /// So many connections may end with it before it fails; one in company and two alone make poison.
    static let mostLosses = 3

    enum Place: Equatable {
        /// In the queue of its hook, for any worker.
        case queued
        /// Among the retries, for some workers only.
        case retried
        case sent(WorkerID, Int64)
    }

    var hook: UInt8
    var deadlineNS: UInt64
    var latestDeadlineNS: UInt64
    /// Sent to see whether the pool is well again.
    let isTrial: Bool
    var place = Place.queued
    /// Sent so often.
    var attempts = 0
    /// A worker died with it, alone or in company, or one ended with it before: it is asked alone.
    var isSuspect = false
    /// What it is known by, once a worker ended with it alone.
    var fingerprint: UInt64?
    /// Connections that ended with it, dead or closed by us.
    var losses = 0

    var mask: HookMask { HookMask(hook: self.hook) }
}

/// A ticket that waits, and may not go to any worker that serves its hook.
struct Retry: Sendable {
    let ticket: PoolTicket
    let mask: HookMask
    /// It wants a worker for itself.
    let isSuspect: Bool
    let deadlineNS: UInt64
    /// Who handed it back unbegun; another is asked, if any other serves the hook.
    let avoided: WorkerID?
    /// Not before then is it sent to the one to be avoided.
    let notBeforeNS: UInt64
}

/// Tickets of one hook that wait for any worker that serves it, oldest first.
///
/// A ticket that is gone stays until it is met, or until those outnumber the others.
struct TicketQueue: Sendable {
    /// Room for tickets that are gone before the queue is swept.
    static let slack = 64

    private var entries: [PoolTicket] = []
    private var head = 0
    /// Tickets that really wait.
    private(set) var count = 0

    /// The oldest entry, gone or not.
    var first: PoolTicket? { self.head < self.entries.count ? self.entries[self.head] : nil }

    /// All entries, gone or not.
    var entriesLeft: ArraySlice<PoolTicket> { self.entries[self.head...] }

    /// Whether some entry is of a ticket that is gone.
    var hasGone: Bool { self.entries.count - self.head > self.count }

    mutating func append(_ ticket: PoolTicket) {
        self.entries.append(ticket)
        self.count += 1
    }

    /// Drops the oldest entry.
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

    /// One of its tickets is gone; the entry stays until `isWaiting` is asked for all.
    mutating func left(_ isWaiting: (PoolTicket) -> Bool) {
        self.count -= 1
        guard self.entries.count - self.head > 2 * self.count + Self.slack else { return }
        self.entries.removeSubrange(..<self.head)
        self.head = 0
        self.entries.removeAll { !isWaiting($0) }
    }
}
