import Glibc
import Synchronization

/// A server on loopback for tests: one thread a connection, each runs a script that may block.
final class FakeTCPServer: Sendable {
    /// One client, as a script sees it.
    ///
    /// Confined to the script's thread.
    final class Connection {
        /// Which connection this is, from 1.
        let number: Int
        private let descriptor: CInt
        private var unread: [UInt8] = []
        /// What of ``unread`` was read.
        private var position = 0

        fileprivate init(_ descriptor: CInt, number: Int) {
            self.descriptor = descriptor
            self.number = number
        }

        /// The next line with its end; `nil` at the end of the connection.
        func readLine() -> String? {
            self.readLineOctets().map { String(decoding: $0, as: UTF8.self) }
        }

        private func readLineOctets() -> [UInt8]? {
            var searched = self.position
            while true {
                if let end = self.unread[searched...].firstIndex(of: 0x0A) {
                    defer { self.position = end + 1 }
                    return Array(self.unread[self.position...end])
                }
                searched = self.unread.count - self.position
                guard self.receive() else { return nil }
            }
        }

        /// So many octets, or fewer at the end of the connection.
        func read(_ count: Int) -> [UInt8] {
            while self.unread.count - self.position < count, self.receive() {}
            let octets = Array(self.unread[self.position...].prefix(count))
            self.position += octets.count
            return octets
        }

        /// Everything up to the line with the dot, the dot included.
        func readContent() -> [UInt8] {
            var content: [UInt8] = []
            while let line = self.readLineOctets() {
                content += line
                if line == [0x2E, 0x0D, 0x0A] { break }
            }
            return content
        }

        func write(_ text: String) { self.write(Array(text.utf8)) }

        func write(_ octets: [UInt8]) {
            var rest = octets[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes {
                    send(self.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return }
                rest = rest.dropFirst(count)
            }
        }

        /// Waits until the client closes.
        func waitForEnd() { while self.receive() { self.position = self.unread.count } }

        private func receive() -> Bool {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = recv(self.descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { return false }
            self.unread.removeFirst(self.position)
            self.position = 0
            self.unread += buffer[..<count]
            return true
        }
    }

    /// For `config/plugins`: a path, or `127.0.0.1:PORT`.
    let address: String
    private let descriptor: CInt
    private let script: @Sendable (Connection) -> Void
    private let counter = Mutex(0)

    /// Listens at `unixPath`, or on TCP if that is `nil`.
    init(unixPath: String? = nil, _ script: @escaping @Sendable (Connection) -> Void) throws {
        self.script = script
        let family = unixPath == nil ? AF_INET : AF_UNIX
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        var storage = sockaddr_storage()
        var length: socklen_t
        if let unixPath {
            length = withUnsafeMutableBytes(of: &storage) { storage in
                let name = storage.assumingMemoryBound(to: sockaddr_un.self)
                name[0].sun_family = sa_family_t(AF_UNIX)
                withUnsafeMutableBytes(of: &name[0].sun_path) { $0.copyBytes(from: unixPath.utf8) }
                return socklen_t(MemoryLayout<sockaddr_un>.size)
            }
        } else {
            length = withUnsafeMutableBytes(of: &storage) { storage in
                let name = storage.assumingMemoryBound(to: sockaddr_in.self)
                name[0].sin_family = sa_family_t(AF_INET)
                name[0].sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
                return socklen_t(MemoryLayout<sockaddr_in>.size)
            }
        }
        let port = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name -> UInt16? in
                guard bind(descriptor, name, length) == 0, listen(descriptor, 100) == 0,
                    getsockname(descriptor, name, &length) == 0
                else { return nil }
                return name.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    UInt16(bigEndian: $0.pointee.sin_port)
                }
            }
        }
        guard let port else { throw FakeServerError.cannotListen }
        self.address = unixPath ?? "127.0.0.1:\(port)"
        Self.onThread { self.accept() }
    }

    /// Connections so far.
    var connections: Int { self.counter.withLock { $0 } }

    func stop() { shutdown(self.descriptor, Int32(SHUT_RDWR)) }

    private func accept() {
        while true {
            let client = Glibc.accept(self.descriptor, nil, nil)
            guard client >= 0 else { break }
            let number = self.counter.withLock { count in
                count += 1
                return count
            }
            Self.onThread {
                self.script(Connection(client, number: number))
                shutdown(client, Int32(SHUT_RDWR))
                close(client)
            }
        }
        close(self.descriptor)
    }

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private static func onThread(_ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            },
            Unmanaged.passRetained(Body(body)).toOpaque()
        )
        pthread_detach(thread)
    }
}
