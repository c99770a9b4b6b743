import System

/// A date as RFC 5322 §3.3 writes it, in UTC.
enum RFC5322Date {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `seconds` is Unix time.
    static func text(_ seconds: Int) -> String {
        let time = UTCTime(seconds)
        let weekday = self.days[time.weekday % 7]
        let month = self.months[(time.month + 11) % 12]
        return "\(weekday), \(time.day) \(month) \(time.year) \(time.timeOfDay) +0000"
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
