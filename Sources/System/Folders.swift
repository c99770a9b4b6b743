package import Glibc

/// Folders, with the permissions that they are to have, whatever the umask is.
package enum Folders {
    /// Makes the folder `path`, and the folders above it as ``make(above:)`` does; one that is there stays
    /// as it is.
    package static func make(_ path: String, mode: mode_t) throws(SystemError) {
        try Self.make(above: path)
        try Self.makeOne(path, mode: mode)
    }

    /// Makes the missing folders above `path`, 0755.
    package static func make(above path: String) throws(SystemError) {
        for index in path.indices.dropFirst() where path[index] == "/" {
            try Self.makeOne(String(path[..<index]), mode: 0o755)
        }
    }

    private static func makeOne(_ path: String, mode: mode_t) throws(SystemError) {
        guard access(path, F_OK) != 0 else { return }
        guard mkdir(path, mode) == 0 else {
            if errno == EEXIST { return }
            throw SystemError("mkdir", path, errno)
        }
        guard chmod(path, mode) == 0 else { throw SystemError("chmod", path, errno) }
    }
}

/// Files, made with the permissions that they are to have.
package enum Files {
    /// Makes an empty file; one that is there stays as it is, and is not even opened.
    ///
    /// - Throws: Why it cannot be made.
    package static func makeIfMissing(_ path: String, mode: mode_t) throws(SystemError) {
        do throws(SystemError) {
            _ = try Descriptor(opening: path, O_RDWR | O_CREAT | O_EXCL, mode: mode)
        } catch {
            guard error.code == EEXIST else { throw error }
        }
    }
}
