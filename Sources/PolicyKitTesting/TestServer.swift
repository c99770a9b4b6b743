import Glibc
public import PolicyKit
import Synchronization

/// A server on loopback for tests: what a plugin's client talks to.
///
/// ```swift
/// let server = try TestServer { connection in
///     while let line = connection.readLine() { connection.write("you said \(line)") }
/// }
/// defer { server.stop() }
/// let session = try await TestSession([Echo.self], plugins: "echo \(server.address)")
/// ```
///
/// Each connection has a thread that runs the script, which may block. The connection is closed when
/// the script returns.
public final class TestServer: Sendable {
    /// One client, as a script sees it.
    ///
    /// Confined to the script's thread.
    public final class Connection {
        /// Which connection this is, from 1.
        public let number: Int
        private let descriptor: CInt
        private var unread: [UInt8] = []
        /// What of ``unread`` was read.
        private var position = 0

        fileprivate init(_ descriptor: CInt, number: Int) {
            self.descriptor = descriptor
            self.number = number
        }

        /// The next line with its end; `nil` at the end of the connection.
        public func readLine() -> String? {
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
        public func read(_ count: Int) -> [UInt8] {
            while self.unread.count - self.position < count, self.receive() {}
            let octets = Array(self.unread[self.position...].prefix(count))
            self.position += octets.count
            return octets
        }

        /// Everything up to the line with only a dot, and that line: what follows DATA in SMTP.
        public func readContent() -> [UInt8] {
            var content: [UInt8] = []
            while let line = self.readLineOctets() {
                content += line
                if line == [0x2E, 0x0D, 0x0A] { break }
            }
            return content
        }

        /// Sends the UTF-8 of a text.
        public func write(_ text: String) { self.write(Array(text.utf8)) }

        /// Sends octets; nothing if the client has closed.
        public func write(_ octets: [UInt8]) {
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
        public func waitForEnd() { while self.receive() { self.position = self.unread.count } }

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

    /// Where it listens; in a text as a line of `config/plugins` names it.
    public let address: ServerAddress
    private let descriptor: CInt
    private let script: @Sendable (Connection) -> Void
    private let counter = Mutex(0)

    /// Listens.
    ///
    /// - Parameters:
    ///   - unixPath: The path of a Unix socket, 107 octets at most; `nil`: a free port of 127.0.0.1.
    ///   - script: What each connection does.
    /// - Throws: ``TestServerError`` if it cannot listen there.
    public init(
        unixPath: String? = nil,
        _ script: @escaping @Sendable (Connection) -> Void
    ) throws {
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
                withUnsafeMutableBytes(of: &name[0].sun_path) {
                    $0.copyBytes(from: unixPath.utf8.prefix($0.count - 1))
                }
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
        guard let port else {
            let code = errno
            close(descriptor)
            throw TestServerError(code: code)
        }
        self.address =
            unixPath.map { .unix(path: $0) } ?? .tcp(host: "127.0.0.1", port: Int(port))
        Self.onThread { self.accept() }
    }

    /// How many connections there were so far.
    public var connections: Int { self.counter.withLock { $0 } }

    /// Accepts no more connections.
    public func stop() { shutdown(self.descriptor, Int32(SHUT_RDWR)) }

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

/// A server for tests cannot listen.
public struct TestServerError: Error {
    /// `errno`.
    public let code: Int32
}
