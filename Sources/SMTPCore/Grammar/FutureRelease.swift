import Octets

/// How long the client wants its message to be held before it is released (HOLDFOR, HOLDUNTIL).
///
/// - Note: RFC 4865 §3.
package enum FutureRelease: Hashable, Sendable {
    /// HOLDFOR: so many seconds from MAIL on, 1 to 999,999,999.
    case after(seconds: Int)
    /// HOLDUNTIL: Unix seconds, rounded up.
    case until(seconds: Int64)

    /// When the message may be released, in Unix milliseconds; `nowMS` is the time of MAIL.
    package func releaseMS(nowMS: Int64) -> Int64 {
        switch self {
        case .after(let seconds): nowMS + Int64(seconds) * 1_000
        case .until(let seconds): seconds * 1_000
        }
    }
}

/// What EHLO says of FUTURERELEASE: how long a message is held at most.
///
/// - Note: RFC 4865 §3.
package struct FutureReleaseOffer: Hashable, Sendable {
    /// The time of EHLO, in Unix seconds.
    let nowSeconds: Int64
    /// The longest hold, in seconds: 1 to 999,999,999.
    let maximumSeconds: Int

    /// - Parameters:
    ///   - nowSeconds: The time of EHLO, in Unix seconds.
    ///   - maximumSeconds: The longest hold, in seconds; what is outside of 1 to 999,999,999 is set to the
    ///     nearest of these.
    package init(nowSeconds: Int64, maximumSeconds: Int) {
        self.nowSeconds = max(nowSeconds, 0)
        self.maximumSeconds = min(max(maximumSeconds, 1), FutureReleaseGrammar.mostSeconds)
    }

    /// The latest release that EHLO announces, in Unix seconds.
    var latestSeconds: Int64 { self.nowSeconds + Int64(self.maximumSeconds) }

    /// The line of EHLO: the keyword, the longest hold, the latest release.
    var keyword: [UInt8] {
        let latest = FutureReleaseGrammar.text(ofSeconds: self.latestSeconds)
        return Array("FUTURERELEASE \(self.maximumSeconds) \(latest)".utf8)
    }

    /// Whether the wish keeps to what EHLO announced.
    ///
    /// A time before EHLO is a mistake of the client's; one between EHLO and MAIL is over, and holds nothing.
    func allows(_ wish: FutureRelease) -> Bool {
        switch wish {
        case .after(let seconds): seconds <= self.maximumSeconds
        case .until(let seconds): (self.nowSeconds...self.latestSeconds).contains(seconds)
        }
    }
}

/// The values of HOLDFOR and HOLDUNTIL, and what EHLO says of them.
enum FutureReleaseGrammar {
    /// The greatest number of nine digits.
    static let mostSeconds = 999_999_999

    /// One to nine digits, the first of them not 0.
    ///
    /// - Note: RFC 4865 §3 (`future-release-integer`).
    static func interval(_ value: [UInt8]) -> FutureRelease? {
        guard (1...9).contains(value.count), value[0] != 0x30, let seconds = self.number(value[...])
        else { return nil }
        return .after(seconds: seconds)
    }

    /// A time of UTC, as in `2026-12-24T18:00:00Z`; a part of a second counts as a whole one.
    ///
    /// - Note: RFC 3339 §5.6, §5.7; RFC 4865 §3 wants UTC.
    static func dateTime(_ value: [UInt8]) -> FutureRelease? {
        // The longest has eleven digits behind the second.
        guard (20...32).contains(value.count) else { return nil }
        let marks: [(place: Int, octets: [UInt8])] = [
            (4, [0x2D]), (7, [0x2D]), (10, [0x54, 0x74]), (13, [0x3A]), (16, [0x3A]),
            (value.count - 1, [0x5A, 0x7A]),
        ]
        guard marks.allSatisfy({ $0.octets.contains(value[$0.place]) }),
            let year = self.number(value[0..<4]), let month = self.number(value[5..<7]),
            let day = self.number(value[8..<10]), let hour = self.number(value[11..<13]),
            let minute = self.number(value[14..<16]), let second = self.number(value[17..<19]),
            (1...12).contains(month), (1...self.days(of: month, year)).contains(day),
            hour <= 23, minute <= 59, second <= 60
        else { return nil }
        let fraction = value[19..<(value.count - 1)]
        guard fraction.isEmpty || fraction.first == .dot && self.areDigits(fraction.dropFirst())
        else { return nil }
        let isRoundedUp = fraction.dropFirst().contains { $0 != 0x30 }
        let time = hour * 3_600 + minute * 60 + second + (isRoundedUp ? 1 : 0)
        return .until(seconds: self.days(before: year, month, day) * 86_400 + Int64(time))
    }

    /// Unix seconds, not before 1970, as `2026-12-24T18:00:00Z`.
    static func text(ofSeconds seconds: Int64) -> String {
        var days = Int(seconds / 86_400)
        var (year, month) = (1970, 1)
        while days >= self.days(ofYear: year) {
            days -= self.days(ofYear: year)
            year += 1
        }
        while days >= self.days(of: month, year) {
            days -= self.days(of: month, year)
            month += 1
        }
        let time = Int(seconds % 86_400)
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(month))-\(two(days + 1))"
            + "T\(two(time / 3_600)):\(two(time / 60 % 60)):\(two(time % 60))Z"
    }

    /// The days from 1970-01-01 to a date of the Gregorian calendar, negative before it; `year` is 0 to 9999.
    private static func days(before year: Int, _ month: Int, _ day: Int) -> Int64 {
        var days = day - 1
        for each in 1..<month { days += self.days(of: each, year) }
        // 719,528 days lie between 0000-01-01 and 1970-01-01; year 0 is a leap year.
        let leapDays = year == 0 ? 0 : 1 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400
        return Int64(days + year * 365 + leapDays - 719_528)
    }

    private static func days(ofYear year: Int) -> Int { self.isLeap(year) ? 366 : 365 }

    private static func days(of month: Int, _ year: Int) -> Int {
        switch month {
        case 2: self.isLeap(year) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private static func isLeap(_ year: Int) -> Bool {
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    private static func areDigits(_ octets: ArraySlice<UInt8>) -> Bool {
        !octets.isEmpty && octets.allSatisfy(\.isDigit)
    }

    /// At most nine digits as a number; `nil` if there is none, or another octet is among them.
    private static func number(_ octets: ArraySlice<UInt8>) -> Int? {
        guard self.areDigits(octets) else { return nil }
        return octets.reduce(0) { $0 * 10 + Int($1 &- 0x30) }
    }
}
