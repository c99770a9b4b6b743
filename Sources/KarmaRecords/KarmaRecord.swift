package import Addresses
package import PolicyProtocol

/// What is kept of a client's earlier sessions: the value of an entry of the plugin `karma`.
package struct KarmaRecord: Sendable, Hashable {
    /// What a session's karma is judged by.
    package struct Rules: Sendable, Hashable {
        /// A session whose karma is this far from 0, or farther, is good or bad.
        package var strikes: Int
        /// How far below 0 the history must be for the penalty box.
        package var negative: Int
        /// The days in the penalty box.
        package var penaltyDays: Int

        package init(strikes: Int, negative: Int, penaltyDays: Int) {
            self.strikes = strikes
            self.negative = negative
            self.penaltyDays = penaltyDays
        }
    }

    /// What a session was.
    package enum Ending: Sendable, Hashable {
        case nice
        case neutral
        case naughty
        /// Naughty, and the client is not to come back for so many days.
        case penalty(days: Int)
    }

    /// The name of the plugin, so of its part of the store.
    package static let plugin = "karma"
    /// How long a record is kept after the last session, unless the plugin's line says otherwise.
    package static let usualLifetime = Duration.seconds(60 * Self.day)
    /// A count goes no further.
    package static let most = 1_000_000_000
    private static let day: Int64 = 86_400

    /// Until when the client is in the penalty box, in Unix seconds; 0: it is not.
    package var until: Int64 = 0
    /// Bad sessions.
    package var naughty = 0
    /// Good sessions.
    package var nice = 0
    /// All sessions that changed this record.
    package var connects = 0
    /// When it was changed last, in Unix seconds.
    package var seen: Int64 = 0

    package init() {}

    /// Good less bad sessions.
    package var history: Int { self.nice - self.naughty }

    /// Reads `UNTIL:NAUGHTY:NICE:CONNECTS:SEEN`, decimal numbers.
    ///
    /// - Returns: `nil` if it is anything else.
    package init?(_ value: Bytes) {
        guard let numbers = value.decimals(count: 5),
            numbers[1...3].allSatisfy({ $0 <= Self.most })
        else { return nil }
        self.until = numbers[0]
        self.naughty = Int(numbers[1])
        self.nice = Int(numbers[2])
        self.connects = Int(numbers[3])
        self.seen = numbers[4]
    }

    /// The value of the entry.
    package var value: Bytes {
        Bytes("\(self.until):\(self.naughty):\(self.nice):\(self.connects):\(self.seen)")
    }

    /// The key of a client: its IPv4 address, or the /64 of its IPv6 address.
    package static func key(_ address: IPAddress) -> Bytes {
        Bytes(address.isIPv6 ? "\(address.clientNetwork)/64" : "\(address)")
    }

    /// Whether the client is in the penalty box.
    package func isPenalized(at now: Int64) -> Bool { self.until > now }

    /// The days that are left in the penalty box, part of a day counted as one; 0: it is not there.
    package func penaltyDays(at now: Int64) -> Int64 {
        self.isPenalized(at: now) ? (self.until - now + Self.day - 1) / Self.day : 0
    }

    /// Counts a session.
    ///
    /// - Parameters:
    ///   - karma: What the session's karma was.
    ///   - rules: What it is judged by.
    ///   - now: Unix seconds.
    /// - Returns: What the session was.
    package mutating func count(karma: Int, by rules: Rules, at now: Int64) -> Ending {
        self.connects = min(self.connects + 1, Self.most)
        self.seen = now
        if karma >= rules.strikes {
            self.nice = min(self.nice + 1, Self.most)
            return .nice
        }
        guard karma <= -rules.strikes else { return .neutral }
        self.naughty = min(self.naughty + 1, Self.most)
        guard self.history <= -rules.negative else { return .naughty }
        var days = rules.penaltyDays
        // A client that never was good stays away longer each time.
        if self.nice == 0, self.history < -5 { days += min(self.naughty, 365) }
        self.capture(days: days, at: now)
        return .penalty(days: days)
    }

    /// Puts the client into the penalty box, or leaves it there for longer.
    package mutating func capture(days: Int, at now: Int64) {
        self.until = max(self.until, now + Int64(days) * Self.day)
        self.seen = now
    }

    /// How long the entry is to be kept: `lifetime`, and as long as the penalty lasts.
    package func lifetime(_ lifetime: Duration, at now: Int64) -> Duration {
        max(lifetime, .seconds(max(0, self.until - now)))
    }
}
