import Configuration
import Glibc
import System

/// The place of a Unix socket, mostly a pool's: taken by one frontend, never stolen from another.
///
/// A lock on `<runtime_directory>/<frontend id>.lock` says who owns the id; a socket file found
/// under the lock is stale, and is removed only if no process answers on it.
struct PoolSocketPlace {
    let path: String

    /// The place of a pool's socket on an event loop, which is counted from 0.
    init(runtimeDirectory: String, pool: String, frontendID: String, loop: Int) {
        self.path = FrontendConfiguration.socketPath(
            runtimeDirectory: runtimeDirectory,
            pool: pool,
            frontendID: frontendID,
            loop: loop
        )
    }

    /// The place of a listener's Unix socket, to which the same applies.
    init(path: String) {
        self.path = path
    }

    /// Makes the folder and removes a stale socket.
    ///
    /// - Throws: ``SystemError`` when the path is too long, is no socket, or a process answers on it;
    ///   ``UnsafePlace`` when the folder or the socket is another user's.
    func prepare() throws {
        guard self.path.utf8.count <= UnixSocketAddress.maximumPathOctets else {
            throw SystemError("bind (at most 107 octets fit)", self.path, ENAMETOOLONG)
        }
        try Folders.make(above: self.path)
        var facts = stat()
        let folder = String(self.path[..<(self.path.lastIndex(of: "/") ?? self.path.startIndex)])
        guard lstat(folder, &facts) == 0 else { throw SystemError("look at", folder, errno) }
        if let reason = LockFile.trouble(ofFolder: facts) {
            throw UnsafePlace(path: folder, reason: reason)
        }
        guard lstat(self.path, &facts) == 0 else {
            if errno == ENOENT { return }
            throw SystemError("look at", self.path, errno)
        }
        guard facts.st_mode & S_IFMT == S_IFSOCK else {
            throw SystemError("bind (remove what is there, it is no socket)", self.path, EEXIST)
        }
        guard facts.st_uid == geteuid() else {
            throw UnsafePlace(path: self.path, reason: LockFile.anotherUser(facts.st_uid))
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
        guard let address = UnixSocketAddress(self.path) else { return false }
        return address.connect(descriptor) == 0 || errno == EAGAIN
    }
}

/// Holds a frontend's id for as long as the process lives.
final class InstanceLock {
    private let file: LockFile

    /// - Throws: ``SystemError`` with `EWOULDBLOCK` when another process holds the id;
    ///   ``UnsafePlace`` when the folder or the file is another user's.
    init(runtimeDirectory: String, frontendID: String) throws {
        let name = "\(frontendID).lock"
        try Folders.make(runtimeDirectory, mode: 0o755)
        do throws(LockFile.Failure) {
            self.file = try LockFile(name, in: runtimeDirectory, mode: 0o640)
        } catch {
            switch error {
            case .held(let path):
                let call = "lock (is another frontend of this id running?)"
                throw SystemError(call, path, EWOULDBLOCK)
            case .foreign(let path, let reason): throw UnsafePlace(path: path, reason: reason)
            case .failed(let call, let path, let code): throw SystemError(call, path, code)
            }
        }
    }

    deinit { self.file.close() }
}

/// A folder, file or socket that is not this user's alone; `reason` says what to do.
struct UnsafePlace: Error, CustomStringConvertible {
    let path: String
    let reason: String

    var description: String { "\(self.path) \(self.reason)" }
}
