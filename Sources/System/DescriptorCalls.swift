import Glibc

/// read(2), write(2) and send(2) on an open descriptor, called again when a signal interrupts them.
package enum DescriptorCalls {
    package static let standardOutput: Int32 = 1
    package static let standardError: Int32 = 2

    /// Reads what one call gives, at most 64 KiB.
    ///
    /// - Returns: Empty at the end of the file; `nil` after a failure, and `errno` says which.
    package static func read(_ descriptor: Int32) -> [UInt8]? {
        var count = 0
        let chunk = [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, initialized in
            count = retrying { Glibc.read(descriptor, buffer.baseAddress, buffer.count) }
            initialized = max(0, count)
        }
        return count < 0 ? nil : chunk
    }

    /// Writes all octets.
    ///
    /// - Returns: 0, or the `errno` of the failure; `ENOSPC` if a call wrote nothing.
    package static func write(_ octets: UnsafeRawBufferPointer, to descriptor: Int32) -> Int32 {
        Self.putAll(octets) { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    }

    /// Writes all octets.
    ///
    /// - Returns: 0, or the `errno` of the failure; `ENOSPC` if a call wrote nothing.
    package static func write(_ octets: [UInt8], to descriptor: Int32) -> Int32 {
        octets.withUnsafeBytes { Self.write($0, to: descriptor) }
    }

    /// Sends all octets over a connected socket, without SIGPIPE.
    ///
    /// - Returns: 0, or the `errno` of the failure.
    package static func send(_ octets: [UInt8], to socket: Int32) -> Int32 {
        octets.withUnsafeBytes { buffer in
            Self.putAll(buffer) {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
        }
    }

    /// Writes all octets, and waits while a descriptor that is non-blocking takes none.
    ///
    /// - Returns: 0, or the `errno` of the failure.
    package static func writeWaiting(
        _ octets: UnsafeRawBufferPointer,
        to descriptor: Int32
    ) -> Int32 {
        Self.putAll(octets) { rest in
            while true {
                let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                guard count < 0, errno == EAGAIN else { return count }
                var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&entry, 1, -1)
            }
        }
    }

    private static func putAll(
        _ octets: UnsafeRawBufferPointer,
        _ put: (UnsafeRawBufferPointer) -> Int
    ) -> Int32 {
        var rest = octets
        while !rest.isEmpty {
            let count = retrying { put(rest) }
            guard count > 0 else { return count == 0 ? ENOSPC : errno }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        }
        return 0
    }
}

/// Makes a system call again as long as signals interrupt it.
package func retrying<Result: FixedWidthInteger>(_ call: () -> Result) -> Result {
    while true {
        let result = call()
        guard result == -1, errno == EINTR else { return result }
    }
}
