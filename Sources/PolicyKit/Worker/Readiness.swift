import Glibc

/// Tells whoever started the worker that it serves.
enum Readiness {
    /// Prints the line that starts with `ready`, and notifies systemd where it asked for that.
    static func announce(_ name: String, _ pool: String) {
        let line = Array("ready \(name) pid \(getpid()) pool \(pool)\n".utf8)
        _ = write(STDOUT_FILENO, line, line.count)
        self.notifySystemd("READY=1")
    }

    /// sd_notify(3): one datagram to the socket that NOTIFY_SOCKET names.
    private static func notifySystemd(_ state: String) {
        guard let path = getenv("NOTIFY_SOCKET").map({ String(cString: $0) }), !path.isEmpty else {
            return
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var name = Array(path.utf8)
        if name.first == UInt8(ascii: "@") {
            name[0] = 0  // the abstract namespace
        }
        let isShort = withUnsafeMutableBytes(of: &address.sun_path) { buffer in
            guard name.count < buffer.count else { return false }
            buffer.copyBytes(from: name)
            return true
        }
        guard isShort else { return }
        let descriptor = socket(
            AF_UNIX,
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            0
        )
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                sendto(descriptor, state, state.utf8.count, Int32(MSG_NOSIGNAL), pointer, length)
            }
        }
    }
}
