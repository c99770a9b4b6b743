import PolicyPool

/// Who was kept out and why, as protocol/README.md §8 has it, as far as it can be known without a record
/// of health: never more failures or fewer absences than the machine counts.
struct ModelQuarantine {
    private static let failures = 3
    /// The shortest quarantine.
    private static let shortestNS = PoolSimulator.second

    /// Failures of an identity that led to no quarantine yet; answers are not counted against them.
    private var failures: [String: Int] = [:]
    /// Who is out for certain, and since when.
    private var out: [(identity: String, sinceNS: UInt64)] = []

    mutating func failed(_ identity: String) { self.failures[identity, default: 0] += 1 }

    /// It came in again, or did well.
    mutating func isBack(_ identity: String) { self.out.removeAll { $0.identity == identity } }

    /// One more is kept out while so many others are ready; what is wrong with that, or `nil`.
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
