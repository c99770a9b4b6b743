/// How long answers took, in buckets of powers of two of microseconds.
///
/// Bucket `n` counts the answers that took less than 2ⁿ µs and at least half of that: bucket 0 less
/// than 1 µs, bucket 10 about 1 ms, bucket 20 about 1 s.
package struct LatencyHistogram: Sendable, Equatable {
    /// The last bucket also counts the answers that took longer: 17 minutes and more.
    static let buckets = 32
    /// When this many answers are counted, all counts are halved, so that newer answers weigh more.
    static let memory: UInt32 = 100_000

    private var counts: [UInt32] = []
    private var total: UInt32 = 0

    mutating func record(nanoseconds: UInt64) {
        if self.counts.isEmpty { self.counts = [UInt32](repeating: 0, count: Self.buckets) }
        if self.total >= Self.memory { self.halve() }
        let microseconds = nanoseconds / 1_000
        let bits = UInt64.bitWidth - microseconds.leadingZeroBitCount
        self.counts[min(bits, Self.buckets - 1)] += 1
        self.total += 1
    }

    /// Adds the answers that another histogram counted.
    mutating func add(_ other: LatencyHistogram) {
        guard !other.counts.isEmpty else { return }
        if self.counts.isEmpty { self.counts = [UInt32](repeating: 0, count: Self.buckets) }
        for bucket in self.counts.indices { self.counts[bucket] += other.counts[bucket] }
        self.total += other.total
    }

    private mutating func halve() {
        for bucket in self.counts.indices { self.counts[bucket] /= 2 }
        self.total = self.counts.reduce(0, +)
    }

    /// The time in microseconds within which `percent` of the answers came, rounded up to a power
    /// of two.
    ///
    /// - Returns: `nil` before the first answer.
    package func microseconds(percent: UInt64) -> UInt64? {
        guard self.total > 0 else { return nil }
        let wanted = (UInt64(self.total) * percent + 99) / 100
        var sum: UInt64 = 0
        for (bucket, count) in self.counts.enumerated() {
            sum += UInt64(count)
            if sum >= wanted { return 1 << UInt64(bucket) }
        }
        return 1 << UInt64(Self.buckets - 1)
    }
}
