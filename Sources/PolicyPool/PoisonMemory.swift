/// Fingerprints of questions that were there at two deaths, for an hour.
struct PoisonMemory: Sendable {
    static let deathsOfPoison = 2
    static let lifetimeNS: UInt64 = 3_600_000_000_000
    static let capacity = 4_096

    private var untilNS: [UInt64: UInt64] = [:]
    private var nextSweepNS: UInt64 = 0

    var isEmpty: Bool { self.untilNS.isEmpty }
    var count: Int { self.untilNS.count }

    func isKnown(_ fingerprint: UInt64, now: UInt64) -> Bool {
        (self.untilNS[fingerprint] ?? 0) > now
    }

    /// Keeps one more; at the capacity the older half is let go.
    mutating func remember(_ fingerprint: UInt64, now: UInt64) {
        if self.untilNS.count >= Self.capacity, self.untilNS[fingerprint] == nil {
            let middle = self.untilNS.values.sorted()[self.untilNS.count / 2]
            self.untilNS = self.untilNS.filter { $0.value > middle }
        }
        self.untilNS[fingerprint] = now &+ Self.lifetimeNS
    }

    mutating func forget(_ fingerprint: UInt64) { self.untilNS[fingerprint] = nil }

    mutating func forget(now: UInt64) {
        guard now >= self.nextSweepNS, !self.untilNS.isEmpty else { return }
        self.nextSweepNS = now &+ Self.lifetimeNS / 60
        self.untilNS = self.untilNS.filter { $0.value > now }
    }
}
