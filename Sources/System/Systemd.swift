import Glibc

/// Notifies systemd of this process's state, and takes the sockets that systemd opened.
///
/// systemd passes both in the environment. ``prepare()`` removes them from it, so that no child
/// notifies systemd or takes the sockets instead. If systemd did not start this process, nothing
/// happens.
package enum Systemd {
    /// A socket that systemd opened before the process started.
    package struct PassedSocket: Sendable, Equatable {
        /// `FileDescriptorName=` of the socket unit; default the unit's name.
        package let name: String
        /// The caller that takes it closes it.
        package let descriptor: Int32
    }

    private static let notifyAddress: String? = Self.take("NOTIFY_SOCKET")

    /// The sockets of this process, in the order of the socket units; empty if there are none.
    ///
    /// They are marked close-on-exec. See sd_listen_fds_with_names(3).
    package static let sockets: [PassedSocket] = {
        let process = Self.take("LISTEN_PID").flatMap { pid_t($0) }
        let count = Self.take("LISTEN_FDS").flatMap { Int32($0) } ?? 0
        let sockets = Self.sockets(
            process: process,
            count: count,
            names: Self.take("LISTEN_FDNAMES") ?? ""
        )
        for socket in sockets { _ = fcntl(socket.descriptor, F_SETFD, FD_CLOEXEC) }
        return sockets
    }()

    static func sockets(process: pid_t?, count: Int32, names: String) -> [PassedSocket] {
        guard process == getpid(), (1...1_024).contains(count) else { return [] }
        let names = names.split(separator: ":", omittingEmptySubsequences: false)
        return (0..<count).map { index in
            let name = Int(index) < names.count ? String(names[Int(index)]) : ""
            return PassedSocket(name: name, descriptor: 3 + index)
        }
    }

    /// Finds the socket of each listener: the one whose `FileDescriptorName=` is the listener's
    /// name.
    ///
    /// Sockets whose name no listener has, or that come after one of the same name, are returned as
    /// `unmatched`.
    package static func match(
        _ sockets: [PassedSocket],
        listeners: [String]
    ) -> (matched: [String: Int32], unmatched: [PassedSocket]) {
        var matched: [String: Int32] = [:]
        var unmatched: [PassedSocket] = []
        for socket in sockets {
            if listeners.contains(socket.name), matched[socket.name] == nil {
                matched[socket.name] = socket.descriptor
            } else {
                unmatched.append(socket)
            }
        }
        return (matched, unmatched)
    }

    /// Reads and removes systemd's variables; call it first, before any thread or child starts.
    package static func prepare() {
        _ = Self.notifyAddress
        _ = Self.sockets
        _ = Heartbeat.current
    }

    /// Sends one state (`READY=1`, `RELOADING=1`, `STOPPING=1`, `WATCHDOG=1`), as sd_notify(3)
    /// does.
    ///
    /// - Parameters:
    ///   - state: The text of the notification.
    ///   - waits: Whether to wait while systemd's socket is full; otherwise the notification is
    ///     dropped.
    package static func notify(_ state: String, waits: Bool = true) {
        guard let address = self.notifyAddress.flatMap({ UnixSocketAddress($0) }) else { return }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let flags = waits ? 0 : Int32(MSG_DONTWAIT)
        _ = address.send(state, from: descriptor, flags: flags)
    }

    /// Removes a variable from the environment.
    ///
    /// - Returns: Its value; `nil` if it was not set.
    static func take(_ variable: String) -> String? {
        defer { unsetenv(variable) }
        return getenv(variable).map { String(cString: $0) }
    }
}
