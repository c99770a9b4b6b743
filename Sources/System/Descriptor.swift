package import Glibc

/// An open file or folder, closed when the value goes.
///
/// Its calls block.
package struct Descriptor: ~Copyable, Sendable {
    private let number: Int32
    private let path: String

    /// - Parameters:
    ///   - path: The file; relative to the working directory if it does not begin with `/`.
    ///   - flags: Those of open(2); `O_CLOEXEC` is added.
    ///   - mode: The permissions of a file that is made.
    /// - Throws: Why it cannot be opened.
    package init(opening path: String, _ flags: Int32, mode: mode_t = 0) throws(SystemError) {
        let number = retrying { open(path, flags | O_CLOEXEC, mode) }
        guard number >= 0 else { throw SystemError("open", path, errno) }
        self.number = number
        self.path = path
    }

    /// Opens a file that is there, to read it.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - followsLinks: Whether the last part of `path` may be a symbolic link.
    /// - Throws: Why it cannot be opened.
    package init(reading path: String, followsLinks: Bool = true) throws(SystemError) {
        try self.init(opening: path, followsLinks ? O_RDONLY : O_RDONLY | O_NOFOLLOW)
    }

    deinit { close(self.number) }

    /// Waits until what was written is on stable storage.
    package func sync() throws(SystemError) {
        guard retrying({ fsync(self.number) }) == 0 else {
            throw SystemError("fsync", self.path, errno)
        }
    }

    /// Locks the file until this descriptor is closed (flock(2)).
    ///
    /// - Returns: False, and it is not locked, if another descriptor has it locked.
    package func lock() throws(SystemError) -> Bool {
        if retrying({ flock(self.number, LOCK_EX | LOCK_NB) }) == 0 { return true }
        guard errno == EWOULDBLOCK else { throw SystemError("lock", self.path, errno) }
        return false
    }

    package func setMode(_ mode: mode_t) throws(SystemError) {
        guard fchmod(self.number, mode) == 0 else { throw SystemError("chmod", self.path, errno) }
    }

    /// Writes all octets.
    package func write(_ octets: borrowing Span<UInt8>) throws(SystemError) {
        let code = octets.withUnsafeBytes { DescriptorCalls.write($0, to: self.number) }
        guard code == 0 else { throw SystemError("write", self.path, code) }
    }

    /// Reads with one call into `buffer`, from its octet `start` on.
    ///
    /// - Parameters:
    ///   - buffer: Where the octets go.
    ///   - start: Where in `buffer` the first one goes.
    ///   - offset: The place in the file, in octets.
    /// - Returns: How many octets were read; 0 at the end of the file.
    /// - Throws: Why the file cannot be read.
    package func read(
        into buffer: inout [UInt8],
        from start: Int,
        at offset: Int64
    ) throws(SystemError) -> Int {
        let count = buffer.withUnsafeMutableBytes { buffer in
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[start...])
            return retrying { pread(self.number, rest.baseAddress, rest.count, off_t(offset)) }
        }
        guard count >= 0 else { throw SystemError("read", self.path, errno) }
        return count
    }

    /// Reads `count` octets from `offset` on; fewer if the file ends before.
    package func read(_ count: Int, at offset: Int64) throws(SystemError) -> [UInt8] {
        var code: Int32 = 0
        let octets = [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            while used < count {
                let rest = UnsafeMutableRawBufferPointer(
                    rebasing: UnsafeMutableRawBufferPointer(buffer)[used..<count]
                )
                let place = off_t(offset) + off_t(used)
                let got = retrying { pread(self.number, rest.baseAddress, rest.count, place) }
                if got < 0 { code = errno }
                guard got > 0 else { return }
                used += got
            }
        }
        guard code == 0 else { throw SystemError("read", self.path, code) }
        return octets
    }

    /// Reads from where the file is to its end.
    ///
    /// - Returns: `nil` if there are more than `limit` octets.
    /// - Throws: Why the file cannot be read.
    package func readAll(limit: Int) throws(SystemError) -> [UInt8]? {
        var octets: [UInt8] = []
        while true {
            guard let chunk = DescriptorCalls.read(self.number) else {
                throw SystemError("read", self.path, errno)
            }
            guard !chunk.isEmpty else { return octets }
            octets += chunk
            guard octets.count <= limit else { return nil }
        }
    }
}
