import PolicyKit

/// What is kept of a client, or of a client with a sender and a recipient, that was seen.
struct GreylistRecord: Sendable, Hashable {
    /// The times that decide.
    struct Times: Sendable, Hashable {
        /// So long after the first try it is refused.
        var black: Duration
        /// So long after the first try another one counts; later ones begin anew.
        var window: Duration
        /// So long after the last pass it is known.
        var white: Duration
    }

    /// What is to be done with a try.
    enum Outcome: Sendable, Hashable {
        /// It is the first: refuse.
        case new
        /// It comes too early: refuse; it passes after this time.
        case early(Duration)
        /// It comes in time, and passes for the first time.
        case passed
        /// It passed before.
        case known
    }

    /// A pass counts, and makes the record last longer, once in this time.
    private static let renewal = Duration.seconds(3_600)

    /// When it was seen first, in Unix milliseconds.
    var first: Int64
    /// When it passed last, in Unix milliseconds; 0: it did not.
    var last: Int64 = 0
    /// How often it was refused.
    var refused = 0
    /// How often it passed, at most once an hour counted.
    var passed = 0

    init(first: Int64) { self.first = first }

    /// Reads `FIRST:LAST:REFUSED:PASSED`, decimal numbers.
    ///
    /// - Returns: `nil` if it is anything else.
    init?(_ value: Bytes) {
        guard let numbers = value.decimals(count: 4) else { return nil }
        self.first = numbers[0]
        self.last = numbers[1]
        self.refused = Int(numbers[2])
        self.passed = Int(numbers[3])
    }

    /// The value of the entry.
    var value: Bytes { Bytes("\(self.first):\(self.last):\(self.refused):\(self.passed)") }

    /// What a try makes of a record.
    ///
    /// - Parameters:
    ///   - record: What is kept; `nil`: nothing.
    ///   - now: Unix milliseconds.
    ///   - times: What decides.
    /// - Returns: What to do, what to keep, and for how long from now. An unchanged record need not be written.
    static func tried(
        _ record: GreylistRecord?,
        at now: Int64,
        _ times: Times
    ) -> (outcome: Outcome, record: GreylistRecord, lifetime: Duration) {
        guard var record, now >= record.first else { return Self.begun(at: now, times) }
        if record.passed > 0 {
            guard now - record.last <= times.white.wholeMilliseconds else {
                return Self.begun(at: now, times)
            }
            record.pass(at: now)
            return (.known, record, times.white)
        }
        let age = Duration.milliseconds(now - record.first)
        guard age <= times.window else { return Self.begun(at: now, times) }
        guard age >= times.black else {
            record.refused = min(record.refused + 1, 1_000_000)
            return (.early(times.black - age), record, max(times.window - age, .milliseconds(1)))
        }
        record.passed = 1
        record.last = now
        return (.passed, record, times.white)
    }

    private static func begun(
        at now: Int64,
        _ times: Times
    ) -> (outcome: Outcome, record: GreylistRecord, lifetime: Duration) {
        var record = GreylistRecord(first: now)
        record.refused = 1
        return (.new, record, times.window)
    }

    /// Counts a pass, unless one was counted within the last hour.
    mutating func pass(at now: Int64) {
        guard self.passed == 0 || now - self.last >= Self.renewal.wholeMilliseconds else { return }
        self.passed = min(self.passed + 1, 1_000_000)
        self.last = now
    }
}

extension Duration {
    /// Parts of a millisecond do not count.
    fileprivate var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = self.components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }
}
