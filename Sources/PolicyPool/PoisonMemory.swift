/// Fingerprints of questions that a worker died or hung with while it had nothing else, for an hour.
///
/// One such end makes a suspect, which is asked alone; the second makes poison, which is asked no
/// more. An end in company counts for none of those that were there: it may have been another's.
struct PoisonMemory: Sendable {
    static let deathsOfPoison = 2
    static let lifetimeNS: UInt64 = 3_600_000_000_000
    static let capacity = 4_096

    private struct Record {
        var deaths: Int
        var untilNS: UInt64
    }

    private var records: [UInt64: Record] = [:]
    private var nextSweepNS: UInt64 = 0

    var isEmpty: Bool { self.records.isEmpty }
    var count: Int { self.records.count }

    private func deaths(_ fingerprint: UInt64, now: UInt64) -> Int {
        guard let record = self.records[fingerprint], record.untilNS > now else { return 0 }
        return record.deaths
    }

    /// Whether it is poison.
    func isKnown(_ fingerprint: UInt64, now: UInt64) -> Bool {
        self.deaths(fingerprint, now: now) >= Self.deathsOfPoison
    }

    /// Whether a worker ended with it once.
    func isSuspect(_ fingerprint: UInt64, now: UInt64) -> Bool {
        self.deaths(fingerprint, now: now) > 0
    }

    /// Counts one more; true if it is poison now.
    ///
    /// At the capacity the older half is let go.
    mutating func died(_ fingerprint: UInt64, now: UInt64) -> Bool {
        if self.records.count >= Self.capacity, self.records[fingerprint] == nil {
            let middle = self.records.values.map(\.untilNS).sorted()[self.records.count / 2]
            self.records = self.records.filter { $0.value.untilNS > middle }
        }
        let deaths = self.deaths(fingerprint, now: now) + 1
        self.records[fingerprint] = Record(deaths: deaths, untilNS: now &+ Self.lifetimeNS)
        return deaths >= Self.deathsOfPoison
    }

    /// A worker answered it, and lives: it is a suspect no more.
    mutating func survived(_ fingerprint: UInt64) {
        guard let record = self.records[fingerprint], record.deaths < Self.deathsOfPoison else {
            return
        }
        self.records[fingerprint] = nil
    }

    mutating func forget(_ fingerprint: UInt64) { self.records[fingerprint] = nil }

    mutating func forget(now: UInt64) {
        guard now >= self.nextSweepNS, !self.records.isEmpty else { return }
        self.nextSweepNS = now &+ Self.lifetimeNS / 60
        self.records = self.records.filter { $0.value.untilNS > now }
    }
}
