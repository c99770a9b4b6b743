import Glibc

/// Connections to other servers, for a thread that may wait.
package enum ClientSocket {
    /// Why there is no connection.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let description: String

        init(description: String) { self.description = description }

        init(_ place: String, _ reason: String) {
            self.init(description: "cannot connect to \(place): \(reason)")
        }

        init(_ place: String, code: Int32) { self.init(place, String(cString: strerror(code))) }
    }

    /// Connects to the first address of `host` that takes the connection.
    ///
    /// An address that does not answer has its share of the time. Names are looked up by getaddrinfo(3), which
    /// takes as long as resolv.conf(5) says.
    ///
    /// - Parameters:
    ///   - host: A name or an IP address without brackets.
    ///   - port: The port.
    ///   - deadline: When all addresses must have been tried.
    /// - Returns: A descriptor, non-blocking and close-on-exec; the caller closes it.
    /// - Throws: Why the last of the addresses took no connection.
    package static func connect(
        host: String,
        port: Int,
        until deadline: ContinuousClock.Instant
    ) throws(Failure) -> Int32 {
        let place = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, "\(port)", &hints, &found)
        guard code == 0 else { throw Failure(place, String(cString: gai_strerror(code))) }
        defer { freeaddrinfo(found) }
        var failure = Failure(place, "no address")
        var next = found
        while let address = next?.pointee {
            let time = max(.zero, deadline - .now) / Self.count(next)
            do throws(Failure) {
                let socket = try Self.socket(address.ai_family, place)
                return try Self.connected(socket, place, within: time) {
                    Glibc.connect($0, address.ai_addr, address.ai_addrlen)
                }
            } catch {
                failure = error
            }
            next = address.ai_next
        }
        throw failure
    }

    /// Connects to a Unix socket.
    ///
    /// - Returns: A descriptor, non-blocking and close-on-exec; the caller closes it.
    package static func connect(unixSocket path: String) throws(Failure) -> Int32 {
        guard let address = UnixSocketAddress(path) else {
            throw Failure(path, code: ENAMETOOLONG)
        }
        let socket = try Self.socket(AF_UNIX, path)
        return try Self.connected(socket, path, within: .zero) { address.connect($0) }
    }

    /// Ends both directions: a call that reads from it or writes to it, also in another thread, returns at once.
    package static func shutDown(_ socket: Int32) { Glibc.shutdown(socket, Int32(SHUT_RDWR)) }

    package static func close(_ socket: Int32) { Glibc.close(socket) }

    /// How many addresses are left.
    private static func count(_ first: UnsafeMutablePointer<addrinfo>?) -> Int {
        var count = 0
        var next = first
        while let address = next?.pointee {
            count += 1
            next = address.ai_next
        }
        return count
    }

    private static func socket(_ family: Int32, _ place: String) throws(Failure) -> Int32 {
        let flags = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        let descriptor = Glibc.socket(family, Int32(flags), 0)
        guard descriptor >= 0 else { throw Failure(place, code: errno) }
        return descriptor
    }

    /// Closes `socket` if it cannot be connected.
    private static func connected(
        _ socket: Int32,
        _ place: String,
        within time: Duration,
        _ connect: (Int32) -> Int32
    ) throws(Failure) -> Int32 {
        var code = connect(socket) == 0 ? 0 : errno
        if code == EINPROGRESS { code = Self.result(of: socket, within: time) }
        guard code == 0 else {
            Self.close(socket)
            throw Failure(place, code: code)
        }
        return socket
    }

    /// 0, or the errno of a connection that was being made.
    private static func result(of socket: Int32, within time: Duration) -> Int32 {
        var entry = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
        let milliseconds = max(.zero, min(time, .seconds(3_600))) / .milliseconds(1)
        let count = retrying { poll(&entry, 1, Int32(milliseconds.rounded(.up))) }
        guard count != 0 else { return ETIMEDOUT }
        guard count > 0 else { return errno }
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno
    }
}
