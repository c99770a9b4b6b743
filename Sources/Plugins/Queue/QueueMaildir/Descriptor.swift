import Glibc

/// An open file or folder, closed when it goes.
struct Descriptor: ~Copyable {
    let number: CInt
    private let path: String

    init(opening path: String, _ flags: CInt, mode: mode_t = 0) throws(MaildirError) {
        let number = retrying { open(path, flags | O_CLOEXEC, mode) }
        guard number >= 0 else { throw MaildirError("open \(path)") }
        self.number = number
        self.path = path
    }

    deinit { close(self.number) }

    /// Waits until what was written is on stable storage.
    func sync() throws(MaildirError) {
        guard retrying({ fsync(self.number) }) == 0 else {
            throw MaildirError("fsync \(self.path)")
        }
    }

    func setMode(_ mode: mode_t) throws(MaildirError) {
        guard fchmod(self.number, mode) == 0 else { throw MaildirError("chmod \(self.path)") }
    }

    func write(_ octets: borrowing Span<UInt8>) throws(MaildirError) {
        var written = 0
        while written < octets.count {
            let count = octets.extracting(written..<octets.count).withUnsafeBytes { rest in
                retrying { Glibc.write(self.number, rest.baseAddress, rest.count) }
            }
            guard count > 0 else { throw MaildirError("write \(self.path)") }
            written += count
        }
    }

    /// Reads up to `buffer.count - start` octets into `buffer` from `start` on; 0 at the end.
    func read(
        into buffer: inout [UInt8],
        from start: Int,
        at offset: Int64
    ) throws(MaildirError) -> Int {
        let count = buffer.withUnsafeMutableBytes { buffer in
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[start...])
            return retrying { pread(self.number, rest.baseAddress, rest.count, off_t(offset)) }
        }
        guard count >= 0 else { throw MaildirError("read \(self.path)") }
        return count
    }
}

/// Makes a system call again as long as signals interrupt it.
func retrying<Result: FixedWidthInteger>(_ call: () -> Result) -> Result {
    while true {
        let result = call()
        guard result == -1, errno == EINTR else { return result }
    }
}
