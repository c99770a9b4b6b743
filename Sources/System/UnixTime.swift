import Glibc

/// The time of day as Unix counts it: since 1970, without leap seconds.
package enum UnixTime {
    package static var seconds: Int { Self.now.tv_sec }

    package static var milliseconds: Int64 {
        let now = Self.now
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }

    private static var now: timespec {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time
    }
}
