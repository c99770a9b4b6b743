import Glibc

/// systemd, if it started this process as a service of type `notify`.
enum ServiceManager {
    /// The socket's path, taken out of the environment: children must not speak for this process.
    private static let address: String? = {
        defer { unsetenv("NOTIFY_SOCKET") }
        return getenv("NOTIFY_SOCKET").map { String(cString: $0) }
    }()

    /// Takes the socket's path; call it before any child is started.
    static func prepare() { _ = Self.address }

    /// Sends one state (`READY=1`), as sd_notify(3); without a service manager it does nothing.
    static func notify(_ state: String) {
        guard let path = self.address, !path.isEmpty else { return }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        var octets = Array(path.utf8)
        if octets.first == UInt8(ascii: "@") { octets[0] = 0 }
        guard octets.count < MemoryLayout.size(ofValue: name.sun_path) else { return }
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: octets) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + octets.count)
        withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                _ = sendto(descriptor, state, state.utf8.count, 0, address, length)
            }
        }
    }
}
