/// Counts, for each identity of a worker, how often in a row it missed a deadline or was lost with
/// events, and keeps failing workers out for a while (quarantine).
///
/// A worker that reconnects keeps its identity.
struct WorkerHealth: Sendable {
    /// The credits of a worker that connects; good answers raise them to its concurrency.
    static let firstCredits = 4
    static let failuresOfQuarantine = 3
    static let firstBackoffNS: UInt64 = 1_000_000_000
    static let longestBackoffNS: UInt64 = 60_000_000_000
    /// An identity without a failure for this long is forgotten.
    static let horizonNS: UInt64 = 600_000_000_000
    /// How many identities are remembered.
    static let capacity = 1_024

    private struct Record {
        var failuresInARow = 0
        var quarantines = 0
        /// How many workers of this identity are kept out until `untilNS`: copies of a worker may
        /// share one.
        var out = 0
        var untilNS: UInt64 = 0
        var lastNS: UInt64 = 0
    }

    private var records: [String: Record] = [:]

    var count: Int { self.records.count }

    /// Whether failures of this identity are remembered.
    func isKnown(_ identity: String) -> Bool { self.records[identity] != nil }

    /// Whether workers of this identity were in quarantine and have not answered since.
    func isOnProbation(_ identity: String) -> Bool {
        (self.records[identity]?.quarantines ?? 0) > 0
    }

    /// A worker said hello; decides whether it may join.
    ///
    /// It may join before its quarantine ends if otherwise more workers would be kept out than are
    /// `ready`.
    ///
    /// - Returns: For how many nanoseconds it is still kept out; `nil` if it may join.
    mutating func admits(_ identity: String, now: UInt64, ready: Int) -> UInt64? {
        guard var record = self.records[identity], record.untilNS > now else { return nil }
        // A worker that reconnects during the quarantine counts as kept out, even if all workers of
        // its identity were let in early.
        if record.out == 0 { record.out = 1 }
        let isLetIn = self.out(now: now) + record.out - (self.records[identity]?.out ?? 0) > ready
        if isLetIn { record.out -= 1 }
        self.records[identity] = record
        return isLetIn ? nil : record.untilNS - now
    }

    mutating func answered(_ identity: String) { self.records[identity] = nil }

    /// Counts a failure of a worker.
    ///
    /// The nth quarantine lasts 1 s · 2ⁿ⁻¹, at most 60 s. Never more than half of the pool is kept
    /// out.
    ///
    /// `others` is how many workers besides this one are ready. If the worker answered on this
    /// connection before it failed (`hasAnswered`), this failure is the first in a row: an operator who
    /// kills or restarts healthy workers causes no quarantine.
    ///
    /// - Returns: Whether the worker is kept out from now on.
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

    /// How many workers are kept out now.
    func out(now: UInt64) -> Int {
        self.records.values.reduce(0) { $1.untilNS > now ? $0 + $1.out : $0 }
    }

    private mutating func forgetHalf() {
        let times = self.records.values.map(\.lastNS).sorted()
        let middle = times[times.count / 2]
        self.records = self.records.filter { $0.value.lastNS > middle }
    }

    mutating func forgetOld(now: UInt64) {
        guard !self.records.isEmpty,
            self.records.values.contains(where: { now &- $0.lastNS >= Self.horizonNS })
        else { return }
        self.records = self.records.filter { now &- $0.value.lastNS < Self.horizonNS }
    }
}
