import CLinux
import Glibc

/// SIGINT and SIGTERM as something to wait for, so that the frontends are told before this ends.
struct StopSignals {
    private let descriptor: Int32

    /// Blocks both signals: from here on they end nothing by themselves.
    init() {
        var mask = sigset_t()
        sigemptyset(&mask)
        sigaddset(&mask, SIGINT)
        sigaddset(&mask, SIGTERM)
        sigprocmask(SIG_BLOCK, &mask, nil)
        self.descriptor = signalfd(-1, &mask, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
    }

    /// Waits until a signal comes, `other` can be read, or the time is over.
    ///
    /// - Parameters:
    ///   - other: A descriptor; -1 waits for a signal alone.
    ///   - seconds: The longest wait; 0 looks without waiting.
    /// - Returns: Whether a signal has come; it still has when asked again.
    func hasCome(before other: Int32 = -1, seconds: Int) -> Bool {
        var descriptors = [self.descriptor, other].map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        while poll(&descriptors, nfds_t(descriptors.count), Int32(clamping: seconds * 1_000)) < 0 {
            guard errno == EINTR else { return false }
        }
        return descriptors[0].revents != 0
    }
}
