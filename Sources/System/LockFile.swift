package import Glibc

/// A file that is locked for as long as a process lives, however it ends: the file of a process's
/// id, and the lock of a frontend's id.
///
/// Another user may have put something in the file's place. So links are not followed, and a file
/// of another user, or with a second name, is left as it is.
package struct LockFile {
    package let path: String
    package let descriptor: Int32

    package enum Failure: Error, CustomStringConvertible {
        /// Another process holds the lock.
        case held(path: String)
        /// The folder or the file is not this user's alone; `reason` goes on after the path.
        case foreign(path: String, reason: String)
        /// A system call failed with `code`, an `errno`.
        case failed(call: String, path: String, code: Int32)

        package var description: String {
            switch self {
            case .held(let path): "\(path) is locked by another process"
            case .foreign(let path, let reason): "\(path) \(reason)"
            case .failed(let call, let path, let code):
                "cannot \(call) \(path): \(String(cString: strerror(code)))"
            }
        }
    }

    /// Opens or makes the file `name` with permissions `mode` in `folder`, which is there, and
    /// locks it.
    package init(_ name: String, in folder: String, mode: mode_t) throws(Failure) {
        self.path = "\(folder)/\(name)"
        var facts = stat()
        guard stat(folder, &facts) == 0 else {
            throw .failed(call: "look at", path: folder, code: errno)
        }
        if let reason = Self.trouble(ofFolder: facts) {
            throw .foreign(path: folder, reason: reason)
        }
        let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
        self.descriptor = open(self.path, flags, mode)
        guard self.descriptor >= 0 else {
            if errno == ELOOP { throw .foreign(path: self.path, reason: "is a link; remove it") }
            throw .failed(call: "open", path: self.path, code: errno)
        }
        do throws(Failure) {
            try self.check()
            // The umask, or the process that made the file, may have left another mode.
            _ = fchmod(self.descriptor, mode)
            guard flock(self.descriptor, LOCK_EX | LOCK_NB) == 0 else {
                guard errno == EWOULDBLOCK else {
                    throw .failed(call: "lock", path: self.path, code: errno)
                }
                throw .held(path: self.path)
            }
        } catch {
            Glibc.close(self.descriptor)
            throw error
        }
    }

    package func close() { Glibc.close(self.descriptor) }

    private func check() throws(Failure) {
        var facts = stat()
        guard fstat(self.descriptor, &facts) == 0 else {
            throw .failed(call: "look at", path: self.path, code: errno)
        }
        guard facts.st_uid == geteuid() else {
            throw .foreign(path: self.path, reason: Self.anotherUser(facts.st_uid))
        }
        guard facts.st_mode & S_IFMT == S_IFREG, facts.st_nlink == 1 else {
            let reason = "is no plain file, or has a second name; remove it"
            throw .foreign(path: self.path, reason: reason)
        }
    }

    /// Why another user could put a file or a socket into a folder; `nil` if no other user can.
    package static func trouble(ofFolder facts: stat) -> String? {
        if facts.st_mode & S_IFMT != S_IFDIR { return "is no folder; remove what is there" }
        if facts.st_mode & S_IWOTH != 0 { return "can be written by anybody; chmod o-w it" }
        let isOwn = facts.st_uid == geteuid() || facts.st_uid == 0
        return isOwn ? nil : self.anotherUser(facts.st_uid)
    }

    /// The message for a file, folder or socket that belongs to another user, `uid`.
    package static func anotherUser(_ uid: uid_t) -> String {
        "belongs to another user (uid \(uid)); remove it, or start as that user"
    }
}
