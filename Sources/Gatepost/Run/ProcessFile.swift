import Glibc

/// `<runtime_directory>/gatepost.pid`: the process of `gatepost run`, for `kill`.
///
/// Locked as long as the process lives, however it ends, so that a second `gatepost run` on the same
/// folder finds out before it takes the sockets of the first.
struct ProcessFile {
    private let descriptor: Int32
    private let path: String

    enum Failure: Error {
        case isRunning(path: String)
        case cannotWrite(path: String, reason: String)
    }

    init(directory: String) throws(Failure) {
        self.path = "\(directory)/gatepost.pid"
        Self.makeFolders(directory)
        let descriptor = open(self.path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw .cannotWrite(path: self.path, reason: String(cString: strerror(errno)))
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw .isRunning(path: self.path)
        }
        let text = "\(getpid())\n"
        guard ftruncate(descriptor, 0) == 0,
            write(descriptor, text, text.utf8.count) == text.utf8.count
        else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            throw .cannotWrite(path: self.path, reason: reason)
        }
        self.descriptor = descriptor
    }

    /// Removes the file; call it last.
    func remove() {
        unlink(self.path)
        close(self.descriptor)
    }

    private static func makeFolders(_ directory: String) {
        for index in directory.indices.dropFirst() where directory[index] == "/" {
            mkdir(String(directory[..<index]), 0o755)
        }
        mkdir(directory, 0o750)
    }
}
