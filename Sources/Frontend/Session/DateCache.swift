import Glibc

/// A date as RFC 5322 §3.3 writes it, in UTC.
enum RFC5322Date {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `seconds` is Unix time.
    static func text(_ seconds: Int) -> String {
        var seconds = time_t(seconds)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let day = self.days[Int(parts.tm_wday) % 7]
        let month = self.months[Int(parts.tm_mon) % 12]
        return "\(day), \(parts.tm_mday) \(month) \(parts.tm_year + 1900) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) +0000"
    }
}

/// The date of this second, made once.
struct DateCache {
    private var seconds = Int.min
    private var octets: [UInt8] = []

    /// `seconds` is Unix time.
    mutating func text(_ seconds: Int) -> [UInt8] {
        if seconds != self.seconds {
            self.seconds = seconds
            self.octets = Array(RFC5322Date.text(seconds).utf8)
        }
        return self.octets
    }
}
