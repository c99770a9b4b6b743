import Glibc
import PolicyKit

/// Reads the frontend's spool files; blocks, so to be called where that harms nobody.
enum SpoolFile {
    /// The octets of a file from one offset to another.
    ///
    /// - Throws: ``PluginError`` if the file cannot be read or is shorter than it should be.
    static func read(_ path: String, from start: Int64, to end: Int64) throws -> [UInt8] {
        guard end > start, start >= 0 else { return [] }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw Self.error("open", path) }
        defer { close(descriptor) }
        return try Self.read(descriptor, path, from: start, count: Int(end - start))
    }

    /// The octets of an open file.
    static func read(
        _ descriptor: CInt,
        _ path: String,
        from start: Int64,
        count: Int
    ) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            while used < count {
                let rest = UnsafeMutableRawBufferPointer(
                    rebasing: UnsafeMutableRawBufferPointer(
                        buffer
                    )[used..<count]
                )
                let got = pread(descriptor, rest.baseAddress, rest.count, off_t(start) + used)
                if got < 0, errno == EINTR { continue }
                guard got >= 0 else { throw Self.error("read", path) }
                guard got > 0 else {
                    throw PluginError("read \(path): the spool file is too short")
                }
                used += got
            }
        }
    }

    private static func error(_ action: String, _ path: String) -> PluginError {
        PluginError("\(action) \(path): \(String(cString: strerror(errno)))")
    }
}
