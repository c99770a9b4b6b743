import Synchronization
import System

/// The time of day as RFC 3339 in UTC; the text of a second is made once.
enum WallClock {
    private struct Cache {
        var second = -1
        var text = ""
    }

    private static let cache = Mutex(Cache())

    static func timestamp() -> String {
        let now = Int(UnixTime.milliseconds)
        let second = now / 1_000
        let text = self.cache.withLock { cache in
            if cache.second != second {
                cache.second = second
                cache.text = UTCTime(second).withoutZone
            }
            return cache.text
        }
        let millis = String(now % 1_000)
        return text + "." + String(repeating: "0", count: 3 - millis.utf8.count) + millis + "Z"
    }
}
