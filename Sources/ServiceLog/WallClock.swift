import Glibc
import Synchronization

/// The time of day as RFC 3339 in UTC; the text of a second is made once.
enum WallClock {
    private struct Cache {
        var second = time_t(-1)
        var text = ""
    }

    private static let cache = Mutex(Cache())

    static func timestamp() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let second = now.tv_sec
        let text = self.cache.withLock { cache in
            if cache.second != second {
                cache.second = second
                cache.text = self.format(second)
            }
            return cache.text
        }
        let millis = String(now.tv_nsec / 1_000_000)
        return text + "." + String(repeating: "0", count: 3 - millis.utf8.count) + millis + "Z"
    }

    private static func format(_ second: time_t) -> String {
        var second = second
        var parts = tm()
        gmtime_r(&second, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }
}
