/// Who was silent past a deadline, or lost with events, how often in a row; by the identity of the
/// worker, not by its connection.
struct WorkerHealth: Sendable {
    /// Credits that a worker starts with; good answers raise them to its concurrency.
    static let firstCredits = 4
    static let failuresOfQuarantine = 3
    static let firstBackoffNS: UInt64 = 1_000_000_000
    static let longestBackoffNS: UInt64 = 60_000_000_000
    /// What happened longer ago is forgotten.
    static let horizonNS: UInt64 = 600_000_000_000
    /// Identities remembered.
    static let capacity = 1_024

    private struct Record {
        var failuresInARow = 0
        var quarantines = 0
        /// Workers of this identity that are kept out until ``untilNS``: copies may share one.
        var out = 0
        var untilNS: UInt64 = 0
        var lastNS: UInt64 = 0
    }

    private var records: [String: Record] = [:]

    var count: Int { self.records.count }

    /// Whether anything bad is remembered of it.
    func isKnown(_ identity: String) -> Bool { self.records[identity] != nil }

    /// Whether it came back from quarantine and has not proved itself.
    func isOnProbation(_ identity: String) -> Bool {
        (self.records[identity]?.quarantines ?? 0) > 0
    }

    /// A worker knocks: how long it is still kept out, or `nil` if it may come in.
    ///
    /// It is let in early when more would be out than are `ready`.
    mutating func admits(_ identity: String, now: UInt64, ready: Int) -> UInt64? {
        guard var record = self.records[identity], record.untilNS > now else { return nil }
        // Who knocks is out, even if all of its kind that were were let in early.
        if record.out == 0 { record.out = 1 }
        let isLetIn = self.out(now: now) + record.out - (self.records[identity]?.out ?? 0) > ready
        if isLetIn { record.out -= 1 }
        self.records[identity] = record
        return isLetIn ? nil : record.untilNS - now
    }

    mutating func answered(_ identity: String) { self.records[identity] = nil }

    /// Counts a failure; true if the worker is to be kept out.
    ///
    /// The backoff: 1 s · 2ⁿ⁻¹, at most 60 s. 1st: 1 s, 4th: 8 s, 7th on: 60 s. Never more than half
    /// of the pool is out.
    /// `others` are the ready workers besides this one. One that `hasAnswered` before it failed proved
    /// itself, so its failure is the first of a row: who kills workers that are well, or restarts
    /// them, keeps none out.
    mutating func failed(
        _ identity: String,
        now: UInt64,
        others: Int,
        hasAnswered: Bool = false
    ) -> Bool {
        if self.records.count >= Self.capacity, self.records[identity] == nil {
            self.forgetHalf()
        }
        var record = self.records[identity] ?? Record()
        if hasAnswered { record.failuresInARow = 0 }
        record.failuresInARow += 1
        record.lastNS = now
        defer { self.records[identity] = record }
        guard record.failuresInARow >= Self.failuresOfQuarantine,
            self.out(now: now) + 1 <= others
        else { return false }
        let backoff = Self.firstBackoffNS << UInt64(min(record.quarantines, 6))
        record.out = (record.untilNS > now ? record.out : 0) + 1
        record.quarantines += 1
        record.failuresInARow = 0
        record.untilNS = now &+ min(backoff, Self.longestBackoffNS)
        return true
    }

    /// Workers that are kept out now.
    func out(now: UInt64) -> Int {
        self.records.values.reduce(0) { $1.untilNS > now ? $0 + $1.out : $0 }
    }

    private mutating func forgetHalf() {
        let times = self.records.values.map(\.lastNS).sorted()
        let middle = times[times.count / 2]
        self.records = self.records.filter { $0.value.lastNS > middle }
    }

    mutating func forget(now: UInt64) {
        guard !self.records.isEmpty,
            self.records.values.contains(where: { now &- $0.lastNS >= Self.horizonNS })
        else { return }
        self.records = self.records.filter { now &- $0.value.lastNS < Self.horizonNS }
    }
}
