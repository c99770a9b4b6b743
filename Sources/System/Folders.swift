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

    /// The names in a folder, without `.` and `..`, in no order.
    ///
    /// - Throws: Why it cannot be read.
    package static func names(in path: String) throws(SystemError) -> [String] {
        guard let stream = opendir(path) else { throw SystemError("read", path, errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { octets in
                String(decoding: octets.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
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
    /// The octets of a regular file.
    ///
    /// - Throws: Why they cannot be told; `EINVAL` if it is something else than a file.
    package static func size(_ path: String) throws(SystemError) -> Int64 {
        var facts = stat()
        guard lstat(path, &facts) == 0 else { throw SystemError("look at", path, errno) }
        guard facts.st_mode & S_IFMT == S_IFREG else { throw SystemError("look at", path, EINVAL) }
        return Int64(facts.st_size)
    }

    /// Copies all octets of a file to an open descriptor.
    ///
    /// - Throws: Why it cannot be read, or the descriptor takes no more.
    package static func copy(_ path: String, to target: Int32) throws(SystemError) {
        let file = try Descriptor(reading: path, followsLinks: false)
        var offset: Int64 = 0
        while true {
            let piece = try file.read(65_536, at: offset)
            guard !piece.isEmpty else { return }
            let code = DescriptorCalls.write(piece, to: target)
            guard code == 0 else { throw SystemError("copy", path, code) }
            offset += Int64(piece.count)
        }
    }

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
