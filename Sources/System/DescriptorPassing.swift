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
        if code == 0 { code = Self.send(descriptor, to: socket) }
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

    /// Sends one octet 0 and a descriptor.
    ///
    /// The control message is a `cmsghdr` and an `int` behind it, filled up to whole words, as CMSG_LEN(3) and CMSG_SPACE(3)
    /// say: Swift has no macros with arguments.
    ///
    /// - Returns: 0, or the `errno` of the failure.
    private static func send(_ descriptor: Int32, to socket: Int32) -> Int32 {
        let headerOctets = MemoryLayout<cmsghdr>.size
        let octets = headerOctets + MemoryLayout<Int32>.size
        let word = MemoryLayout<Int>.size
        return withUnsafeTemporaryAllocation(
            byteCount: (octets + word - 1) / word * word,
            alignment: MemoryLayout<cmsghdr>.alignment
        ) { control in
            control.initializeMemory(as: UInt8.self, repeating: 0)
            var header = cmsghdr()
            header.cmsg_len = octets
            header.cmsg_level = SOL_SOCKET
            header.cmsg_type = Int32(SCM_RIGHTS)
            control.storeBytes(of: header, as: cmsghdr.self)
            control.storeBytes(of: descriptor, toByteOffset: headerOctets, as: Int32.self)
            var content: UInt8 = 0
            return withUnsafeMutablePointer(to: &content) { content in
                var part = iovec(iov_base: content, iov_len: 1)
                return withUnsafeMutablePointer(to: &part) { part in
                    var message = msghdr()
                    message.msg_iov = part
                    message.msg_iovlen = 1
                    message.msg_control = control.baseAddress
                    message.msg_controllen = control.count
                    let count = retrying { sendmsg(socket, &message, Int32(MSG_NOSIGNAL)) }
                    return count == 1 ? 0 : errno
                }
            }
        }
    }
}

extension ClientSocket.Failure {
    /// A call of the system that failed.
    fileprivate init(_ call: String, _ code: Int32) {
        self.init(description: "cannot \(call): \(String(cString: strerror(code)))")
    }
}
