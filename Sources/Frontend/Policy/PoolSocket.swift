import Glibc

/// The place of a pool's Unix socket: taken by one frontend, never stolen from another.
///
/// A lock on `<runtime_directory>/<frontend id>.lock` says who owns the id; a socket file found
/// under the lock is stale, and still is only removed when nobody answers on it (hardening 61–66).
struct PoolSocketPlace {
    /// Longest path that fits `sockaddr_un`, without its NUL.
    static let maximumPathOctets = 107

    let path: String

    init(runtimeDirectory: String, pool: String, frontendID: String) {
        self.path = "\(runtimeDirectory)/pools/\(pool)/\(frontendID).sock"
    }

    /// Makes the folder and removes a stale socket.
    ///
    /// - Throws: ``SystemError`` when the path is too long, is no socket, or somebody answers on it.
    func prepare() throws {
        guard self.path.utf8.count <= Self.maximumPathOctets else {
            throw SystemError("bind (at most 107 octets fit)", self.path, ENAMETOOLONG)
        }
        try Self.makeFolders(above: self.path)
        var facts = stat()
        let folder = String(self.path[..<(self.path.lastIndex(of: "/") ?? self.path.startIndex)])
        guard lstat(folder, &facts) == 0 else { throw SystemError("look at", folder, errno) }
        guard facts.st_mode & S_IFMT == S_IFDIR, facts.st_mode & (S_IWOTH) == 0 else {
            throw UnsafePlace(path: folder)
        }
        guard lstat(self.path, &facts) == 0 else {
            if errno == ENOENT { return }
            throw SystemError("look at", self.path, errno)
        }
        guard facts.st_mode & S_IFMT == S_IFSOCK else {
            throw SystemError("bind (remove what is there, it is no socket)", self.path, EEXIST)
        }
        guard try !self.isAnswered() else {
            throw SystemError("bind (another frontend answers there)", self.path, EADDRINUSE)
        }
        guard unlink(self.path) == 0 || errno == ENOENT else {
            throw SystemError("remove the stale socket", self.path, errno)
        }
    }

    private func isAnswered() throws -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw SystemError("make a socket for", self.path, errno) }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: self.path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return result == 0 || errno == EAGAIN
    }

    /// Makes the folders above `path`, 0755; those that are there stay as they are.
    static func makeFolders(above path: String) throws {
        var folder = ""
        for part in path.split(separator: "/").dropLast() {
            folder += "/" + part
            guard mkdir(folder, 0o755) == 0 || errno == EEXIST || errno == EROFS else {
                throw SystemError("mkdir", folder, errno)
            }
        }
    }
}

/// Holds a frontend's id for as long as the process lives.
final class InstanceLock {
    private let descriptor: Int32

    /// - Throws: ``SystemError`` with `EWOULDBLOCK` when another process holds the id.
    init(runtimeDirectory: String, frontendID: String) throws {
        let path = "\(runtimeDirectory)/\(frontendID).lock"
        try PoolSocketPlace.makeFolders(above: path)
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o640)
        guard descriptor >= 0 else { throw SystemError("open", path, errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            _ = Glibc.close(descriptor)
            throw SystemError("lock (is another frontend of this id running?)", path, code)
        }
        self.descriptor = descriptor
    }

    deinit { _ = Glibc.close(self.descriptor) }
}

/// A folder in which anybody could put a socket of his own.
struct UnsafePlace: Error, CustomStringConvertible {
    let path: String

    var description: String {
        "\(self.path) is no folder, or anybody can write to it; chmod o-w it, or remove what is there"
    }
}
