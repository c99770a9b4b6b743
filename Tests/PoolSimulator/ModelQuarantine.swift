import PoolCore

/// Which workers were kept out and why, by protocol/README.md §8.
///
/// The model keeps no record of health, so it never counts more failures or fewer quarantines than
/// the machine.
struct ModelQuarantine {
    private static let failures = 3
    /// The shortest quarantine.
    private static let shortestNS = PoolSimulator.second

    /// Failures of an identity that led to no quarantine yet; answers are not counted against them.
    private var failures: [String: Int] = [:]
    /// The workers that are certainly kept out, and since when.
    private var out: [(identity: String, sinceNS: UInt64)] = []

    mutating func failed(_ identity: String) { self.failures[identity, default: 0] += 1 }

    /// The worker joined again, or answered.
    mutating func isBack(_ identity: String) { self.out.removeAll { $0.identity == identity } }

    /// The machine keeps one more worker out while `others` workers are ready.
    ///
    /// - Returns: The rule that this breaks; `nil` if none.
    mutating func add(_ identity: String, others: Int, now: UInt64) -> String? {
        self.out.removeAll { now - $0.sinceNS >= Self.shortestNS }
        self.out.append((identity, now))
        let failures = self.failures[identity, default: 0]
        self.failures[identity] = max(0, failures - Self.failures)
        if failures < Self.failures { return "\(identity) is kept out after \(failures) failures" }
        if self.out.count > others {
            return "\(self.out.count) are kept out and \(others) are left"
        }
        return nil
    }
}
