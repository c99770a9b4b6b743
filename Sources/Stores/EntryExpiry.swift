/// When an entry expires, by the clock of a driver that has one.
struct EntryExpiry: Equatable {
    /// In Unix milliseconds.
    var time: Int64
    /// The whole lifetime, in milliseconds.
    let lifetime: Int64

    init(time: Int64, lifetime: Int64) {
        self.time = time
        self.lifetime = lifetime
    }

    /// A lifetime that begins now; ``StoreLimits/lifetime`` at most.
    init(_ lifetime: Duration, now: Int64) {
        self.lifetime = lifetime.storeMilliseconds
        self.time = now + self.lifetime
    }

    /// What is left at a time.
    func left(_ now: Int64) -> Duration { .milliseconds(self.time - now) }
}

extension Duration {
    /// Whole milliseconds, at least 0 and at most ``StoreLimits/lifetime``.
    var storeMilliseconds: Int64 {
        let (seconds, attoseconds) = max(.zero, min(self, StoreLimits.lifetime)).components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }
}

/// Notices that the clock was set back.
///
/// An entry expires at a time of the clock. If that is set back by a year, entries would stay a year longer, so a
/// driver gives them their lifetime anew then, from the new time on. If it is set forward, entries expire
/// earlier than they should: that cannot be told from time that passed.
struct EntryClock {
    /// Less than this is no more than clocks are corrected by in passing.
    static let toleratedMilliseconds: Int64 = 1_000

    private var latest = Int64.min

    /// - Returns: Whether the clock was set back since the last call.
    mutating func isSetBack(_ now: Int64) -> Bool {
        if self.latest != .min, now < self.latest - Self.toleratedMilliseconds {
            self.latest = now
            return true
        }
        self.latest = max(self.latest, now)
        return false
    }
}
