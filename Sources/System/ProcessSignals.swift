import CLinux
import Glibc

/// What signals do to a program of Gatepost, except those that are requests (SIGTERM, SIGHUP).
package enum ProcessSignals {
    /// Signals that mean a crash: a trap, a bad address, `abort`.
    private static let crashes = [SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGBUS, SIGSEGV, SIGQUIT]
    /// Signals without a use here, whose default would end the process.
    private static let harmless = [SIGUSR1, SIGUSR2, SIGPIPE]

    /// Prepares this process; call it first.
    ///
    /// A crash closes all descriptors before anything else, so that the peers of this process see
    /// its end at once. Swift's runtime would write a backtrace first, and a kernel a core file;
    /// both take seconds in which sockets of a dead process stay open. No backtrace is written
    /// unless the operator set `SWIFT_BACKTRACE`; then it is written after the descriptors are
    /// closed.
    ///
    /// SIGUSR1, SIGUSR2 and SIGPIPE do nothing. They get an empty handler and are not ignored,
    /// because a program that a plugin starts would inherit that.
    package static func prepare() {
        let keepsBacktrace: Int32 = getenv("SWIFT_BACKTRACE") == nil ? 0 : 1
        for signal in Self.crashes { gatepost_close_on_crash(signal, keepsBacktrace) }
        for number in Self.harmless { signal(number) { _ in } }
    }

    /// Marks every descriptor but the standard ones close-on-exec.
    ///
    /// NIO's sockets are not: a program that a plugin starts would keep the worker's connection
    /// open after the worker is gone.
    package static func closeDescriptorsOnExec() {
        _ = gatepost_close_on_exec(3)
    }
}
