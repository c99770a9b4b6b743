import Glibc

/// A time in UTC, by the calendar.
package struct UTCTime {
    package let year: Int
    /// 1 to 12.
    package let month: Int
    /// 1 to 31.
    package let day: Int
    /// 0 is Sunday.
    package let weekday: Int
    /// The time of day with two digits each, for example `09:05:00`.
    package let timeOfDay: String

    /// - Parameter seconds: Unix time.
    package init(_ seconds: Int) {
        var seconds = time_t(seconds)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        self.year = Int(parts.tm_year) + 1_900
        self.month = Int(parts.tm_mon) + 1
        self.day = Int(parts.tm_mday)
        self.weekday = Int(parts.tm_wday)
        let clock = [parts.tm_hour, parts.tm_min, parts.tm_sec]
        self.timeOfDay = clock.map { Self.twoDigits(Int($0)) }.joined(separator: ":")
    }

    /// In the form of RFC 3339: `2026-01-31T09:05:00Z`.
    package var text: String { "\(self.withoutZone)Z" }

    /// ``text`` without its `Z`, so that a fraction of the second can follow.
    package var withoutZone: String {
        "\(self.year)-\(Self.twoDigits(self.month))-\(Self.twoDigits(self.day))T\(self.timeOfDay)"
    }

    private static func twoDigits(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
}
