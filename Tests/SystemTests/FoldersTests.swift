import Glibc
import System
import Testing

@Suite struct FoldersTests {
    private static func mode(_ path: String) -> mode_t? {
        var facts = stat()
        return lstat(path, &facts) == 0 ? facts.st_mode & 0o7777 : nil
    }

    @Test func `a folder has the mode that was asked for, and those above it 0755`() throws {
        let base = "/tmp/folders-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        defer { for path in ["/a/b/c", "/a/b", "/a", ""] { rmdir(base + path) } }
        // The usual umask would take the group's right to write.
        try Folders.make(base + "/a/b/c", mode: 0o1777)
        #expect(Self.mode(base + "/a/b/c") == 0o1777)
        for path in ["", "/a", "/a/b"] { #expect(Self.mode(base + path) == 0o755) }
        // What is there stays as it is.
        chmod(base + "/a", 0o700)
        try Folders.make(base + "/a/b/c", mode: 0o700)
        try Folders.make(above: base + "/a/b/c")
        #expect(Self.mode(base + "/a/b/c") == 0o1777)
        #expect(Self.mode(base + "/a") == 0o700)
    }

    @Test func `a folder that cannot be made is named`() {
        let error = #expect(throws: SystemError.self) {
            try Folders.make("/proc/none/folder", mode: 0o700)
        }
        #expect(error?.subject == "/proc/none")
    }
}

@Suite struct TCPSocketTests {
    /// Connects to a port of 127.0.0.1; 0 or `errno`.
    private static func connect(to port: in_port_t) -> Int32 {
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(client) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(client, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return result == 0 ? 0 : errno
    }

    @Test func `it is bound, and open only when it listens`() throws {
        let descriptor = try TCPSocket.bound(host: "127.0.0.1", port: 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let named = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &size)
            }
        }
        #expect(named == 0 && address.sin_port != 0)
        #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
        #expect(Self.connect(to: address.sin_port) == ECONNREFUSED)
        #expect(listen(descriptor, 1) == 0)
        #expect(Self.connect(to: address.sin_port) == 0)
    }

    @Test(arguments: [
        ("192.0.2.1", 25, "192.0.2.1:25", EADDRNOTAVAIL),
        ("2001:db8::1", 25, "[2001:db8::1]:25", EADDRNOTAVAIL),
        ("no-address", 25, "no-address:25", EADDRNOTAVAIL),
    ])
    func `an address that cannot be bound is named`(
        host: String,
        port: Int,
        subject: String,
        code: Int32
    ) {
        let error = #expect(throws: SystemError.self) {
            close(try TCPSocket.bound(host: host, port: port))
        }
        #expect(error == SystemError("listen on", subject, code))
    }
}
