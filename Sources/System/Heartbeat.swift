import Glibc

/// Shows `gatepost run` or systemd that the event loops of this process run.
///
/// A process whose loop is blocked, by an endless loop in a plugin for example, lives but answers
/// nothing. Its heartbeats stop; then `gatepost run` or systemd ends it and starts it again.
package struct Heartbeat: Sendable {
    /// The environment variable with the descriptor that `gatepost run` reads.
    package static let variable = "GATEPOST_HEARTBEAT_FD"
    /// The longest pause between two beats, in milliseconds.
    package static let longestIntervalMS: Int64 = 1_000

    /// How often ``beat()`` is to be called, in milliseconds.
    package let intervalMS: Int64
    /// The write end of the pipe to `gatepost run`; −1 without one.
    private let descriptor: Int32
    private let isForSystemd: Bool

    /// The heartbeat of this process; `nil` if neither `gatepost run` nor systemd watches it.
    package static let current: Heartbeat? = {
        let descriptor = Systemd.take(Self.variable).flatMap { Int32($0) } ?? -1
        let watchdog = Self.systemdInterval(
            process: Systemd.take("WATCHDOG_PID").flatMap { pid_t($0) },
            microseconds: Systemd.take("WATCHDOG_USEC").flatMap { Int64($0) }
        )
        guard descriptor > 2 || watchdog != nil else { return nil }
        if descriptor > 2 {
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        }
        return Self(
            intervalMS: watchdog ?? Self.longestIntervalMS,
            descriptor: descriptor > 2 ? descriptor : -1,
            isForSystemd: watchdog != nil
        )
    }()

    /// How often to notify systemd, in milliseconds: twice as often as its watchdog checks, and at
    /// least once a second; `nil` if it has none.
    ///
    /// See sd_watchdog_enabled(3).
    static func systemdInterval(process: pid_t?, microseconds: Int64?) -> Int64? {
        guard process == nil || process == getpid(), let microseconds, microseconds > 0 else {
            return nil
        }
        return min(Self.longestIntervalMS, max(1, microseconds / 2_000))
    }

    /// Sends one heartbeat; never blocks.
    package func beat() {
        if self.descriptor >= 0 {
            var octet: UInt8 = 1
            _ = write(self.descriptor, &octet, 1)
        }
        if self.isForSystemd { Systemd.notify("WATCHDOG=1", waits: false) }
    }
}
