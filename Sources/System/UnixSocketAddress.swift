import Glibc

/// The address of a Unix socket: a path, or a name in the abstract namespace.
package struct UnixSocketAddress {
    /// The longest path, without its NUL.
    package static let maximumPathOctets = 107

    private var address = sockaddr_un()
    private let length: socklen_t

    /// `path` is a path, or `@` and a name in the abstract namespace.
    ///
    /// - Returns: `nil` if it is empty or too long.
    package init?(_ path: String) {
        var octets = Array(path.utf8)
        guard !octets.isEmpty, octets.count <= Self.maximumPathOctets else { return nil }
        if octets[0] == UInt8(ascii: "@") { octets[0] = 0 }
        self.address.sun_family = sa_family_t(AF_UNIX)
        self.length = socklen_t(MemoryLayout<sa_family_t>.size + octets.count)
        withUnsafeMutableBytes(of: &self.address.sun_path) { $0.copyBytes(from: octets) }
    }

    /// Connects `socket`; 0, or -1 and `errno` says why.
    package func connect(_ socket: Int32) -> Int32 {
        self.withAddress { Glibc.connect(socket, $0, $1) }
    }

    /// Binds `socket` to it; 0, or -1 and `errno` says why.
    package func bind(_ socket: Int32) -> Int32 {
        self.withAddress { Glibc.bind(socket, $0, $1) }
    }

    /// Sends one datagram from `socket`; -1 if that fails, and `errno` says why.
    package func send(_ text: String, from socket: Int32, flags: Int32) -> Int {
        self.withAddress { sendto(socket, text, text.utf8.count, flags, $0, $1) }
    }

    private func withAddress<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        withUnsafePointer(to: self.address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, self.length) }
        }
    }
}
