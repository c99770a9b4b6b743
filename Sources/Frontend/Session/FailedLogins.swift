import Octets
import SASLprep

/// How many logins failed lately, by client address or by user.
///
/// It has a limit: a further key is not counted until another one's failures are forgotten.
struct FailedLogins<Key: Hashable> {
    /// Keys that are counted at once.
    static var capacity: Int { 10_000 }
    /// Milliseconds between two looks for what can be forgotten, while there is no room.
    private static var sweepMS: Int64 { 1_000 }

    private struct Count {
        var failures = 0
        /// Monotonic milliseconds.
        var forgottenAt: Int64
    }

    private var counts: [Key: Count] = [:]
    private var sweptAt = Int64.min

    /// How many are remembered; `now` is monotonic milliseconds.
    func count(_ key: Key, now: Int64) -> Int {
        guard let count = self.counts[key], count.forgottenAt > now else { return 0 }
        return count.failures
    }

    /// A login failed; each one prolongs how long all of the key's are remembered.
    mutating func failed(_ key: Key, rememberedMS: Int64, now: Int64) {
        var count = self.counts[key] ?? Count(forgottenAt: .min)
        if count.forgottenAt <= now { count.failures = 0 }
        count.failures += 1
        count.forgottenAt = now + rememberedMS
        guard self.counts[key] != nil || self.hasRoom(now) else { return }
        self.counts[key] = count
    }

    private mutating func hasRoom(_ now: Int64) -> Bool {
        guard self.counts.count >= Self.capacity else { return true }
        guard self.sweptAt == .min || now - self.sweptAt >= Self.sweepMS else { return false }
        self.sweptAt = now
        self.counts = self.counts.filter { $0.value.forgottenAt > now }
        return self.counts.count < Self.capacity
    }
}

/// What stands for a user in the table: of its name a hash alone is kept, for names are as long as a client
/// wants, and some are passwords in the wrong place.
struct UserKey: Hashable {
    private let hash: Int

    /// The case of ASCII letters does not count, nor which of the spellings it is that SASLprep makes one.
    init(_ user: [UInt8]) {
        var hasher = Hasher()
        for octet in StringPreparation.prepared(user) ?? user { hasher.combine(octet.lowerCased) }
        self.hash = hasher.finalize()
    }
}
