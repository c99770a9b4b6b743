import CLinux
import Glibc

/// Servers on a Unix socket that take a file as an open descriptor, for a thread that may wait.
package enum DescriptorPassing {
    /// Sends a request, then an octet 0 with a descriptor of a file, and takes the answer up to the end of the
    /// connection.
    ///
    /// The server reads the file from its start, whatever it may open itself.
    ///
    /// - Parameters:
    ///   - request: What goes first.
    ///   - file: The path of the file; a symbolic link is not followed.
    ///   - path: The path of the socket.
    ///   - deadline: When the answer must have come.
    ///   - limit: The most octets of the answer.
    /// - Returns: The answer.
    /// - Throws: Why there is none.
    package static func exchange(
        _ request: [UInt8],
        file: String,
        unixSocket path: String,
        until deadline: ContinuousClock.Instant,
        limit: Int
    ) throws(ClientSocket.Failure) -> [UInt8] {
        let descriptor = retrying { open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) }
        guard descriptor >= 0 else { throw ClientSocket.Failure("open \(file)", errno) }
        defer { close(descriptor) }
        let socket = try ClientSocket.connect(unixSocket: path)
        defer { ClientSocket.close(socket) }
        var code = DescriptorCalls.send(request, to: socket)
        if code == 0 { code = gatepost_send_descriptor(socket, descriptor) }
        guard code == 0 else { throw ClientSocket.Failure("ask \(path)", code) }
        var answer: [UInt8] = []
        while true {
            let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
            guard left > 0 else { throw ClientSocket.Failure("ask \(path)", ETIMEDOUT) }
            var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            let count = retrying { poll(&entry, 1, Int32(clamping: Int64(left.rounded(.up)))) }
            guard count > 0 else { continue }
            guard let octets = DescriptorCalls.read(socket) else {
                throw ClientSocket.Failure("ask \(path)", errno)
            }
            guard !octets.isEmpty else { return answer }
            answer += octets
            guard answer.count <= limit else { throw ClientSocket.Failure("ask \(path)", EMSGSIZE) }
        }
    }
}

extension ClientSocket.Failure {
    /// A call of the system that failed.
    fileprivate init(_ call: String, _ code: Int32) {
        self.init(description: "cannot \(call): \(String(cString: strerror(code)))")
    }
}
