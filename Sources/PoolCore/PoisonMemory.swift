/// The fingerprints of questions that were all that a worker held when it died or hung.
///
/// After the first such worker the question is a suspect: it is sent only to a worker that holds
/// nothing else. After the second it is poison: it is not sent any more. Both are forgotten after
/// an hour. If the worker held several events, none of them is counted, because we do not know
/// which of them killed it.
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

    /// Whether the question is poison.
    func isKnown(_ fingerprint: UInt64, now: UInt64) -> Bool {
        self.deaths(fingerprint, now: now) >= Self.deathsOfPoison
    }

    /// Whether the question is a suspect, or poison.
    func isSuspect(_ fingerprint: UInt64, now: UInt64) -> Bool {
        self.deaths(fingerprint, now: now) > 0
    }

    /// Counts a worker that died or hung with the question.
    ///
    /// When the memory is full, it forgets its older half.
    ///
    /// - Returns: Whether the question is poison now.
    mutating func workerDied(with fingerprint: UInt64, now: UInt64) -> Bool {
        if self.records.count >= Self.capacity, self.records[fingerprint] == nil {
            let middle = self.records.values.map(\.untilNS).sorted()[self.records.count / 2]
            self.records = self.records.filter { $0.value.untilNS > middle }
        }
        let deaths = self.deaths(fingerprint, now: now) + 1
        self.records[fingerprint] = Record(deaths: deaths, untilNS: now &+ Self.lifetimeNS)
        return deaths >= Self.deathsOfPoison
    }

    /// A worker answered the question and lives, so the question is no longer a suspect.
    ///
    /// - Returns: Whether it was one; what is poison stays poison.
    mutating func workerSurvived(_ fingerprint: UInt64) -> Bool {
        guard let record = self.records[fingerprint], record.deaths < Self.deathsOfPoison else {
            return false
        }
        self.records[fingerprint] = nil
        return true
    }

    mutating func forget(_ fingerprint: UInt64) { self.records[fingerprint] = nil }

    /// Forgets what is older than an hour.
    mutating func forgetOld(now: UInt64) {
        guard now >= self.nextSweepNS, !self.records.isEmpty else { return }
        self.nextSweepNS = now &+ Self.lifetimeNS / 60
        self.records = self.records.filter { $0.value.untilNS > now }
    }
}
