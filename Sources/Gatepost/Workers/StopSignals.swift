import CLinux
import Glibc

/// Waits for SIGINT and SIGTERM, so that the command can say bye to the frontends before it ends.
struct StopSignals {
    private let descriptor: Int32

    /// Blocks both signals: from now on they do not end the process.
    init() {
        var mask = sigset_t()
        sigemptyset(&mask)
        sigaddset(&mask, SIGINT)
        sigaddset(&mask, SIGTERM)
        sigprocmask(SIG_BLOCK, &mask, nil)
        self.descriptor = gatepost_signal_descriptor(&mask)
    }

    /// Waits until a signal comes, `other` can be read, or the time is over.
    ///
    /// - Parameters:
    ///   - other: A descriptor; -1 for none.
    ///   - seconds: The longest wait; 0 does not wait.
    /// - Returns: Whether a signal has come, now or before.
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
