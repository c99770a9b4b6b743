/// How many logins failed from each client address lately.
///
/// It has a limit: a further address is not counted until another one's failures are forgotten.
struct FailedLogins {
    /// Addresses that are counted at once.
    static let capacity = 10_000
    /// Milliseconds between two looks for what can be forgotten, while there is no room.
    private static let sweepMS: Int64 = 1_000

    private struct Count {
        var failures = 0
        /// Monotonic milliseconds.
        var forgottenAt: Int64
    }

    private var byAddress: [String: Count] = [:]
    private var sweptAt = Int64.min

    /// Whether a client may try once more; `most` of 0 is no limit, `now` monotonic milliseconds.
    func mayLogIn(_ address: String, most: Int, now: Int64) -> Bool {
        guard most > 0, let count = self.byAddress[address], count.forgottenAt > now else {
            return true
        }
        return count.failures < most
    }

    /// A login from the address failed; each one prolongs how long all of them are remembered.
    mutating func failed(_ address: String, rememberedMS: Int64, now: Int64) {
        var count = self.byAddress[address] ?? Count(forgottenAt: .min)
        if count.forgottenAt <= now { count.failures = 0 }
        count.failures += 1
        count.forgottenAt = now + rememberedMS
        guard self.byAddress[address] != nil || self.hasRoom(now) else { return }
        self.byAddress[address] = count
    }

    private mutating func hasRoom(_ now: Int64) -> Bool {
        guard self.byAddress.count >= Self.capacity else { return true }
        guard self.sweptAt == .min || now - self.sweptAt >= Self.sweepMS else { return false }
        self.sweptAt = now
        self.byAddress = self.byAddress.filter { $0.value.forgottenAt > now }
        return self.byAddress.count < Self.capacity
    }
}
