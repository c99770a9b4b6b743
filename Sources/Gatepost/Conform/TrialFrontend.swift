import Glibc
import PolicyProtocol
import System

/// A frontend without SMTP: a folder of sockets, a spool with one message, and a worker that dials.
final class TrialFrontend {
    let pool: String
    let folder: String
    let samples: SampleEvents
    private let command: [String]
    private(set) var worker: TriedWorker?
    private var listener: Int32 = -1
    private var current: WorkerLink?

    private static let header = "From: Bob <bob@example.net>\r\nSubject: Gr\u{FC}\u{DF}e\r\n"
    private static let message = Array("\(header)\r\nHello,\r\n.dot\r\n".utf8)

    /// - Parameters:
    ///   - command: The worker's program and arguments.
    ///   - pool: The pool that it dials.
    ///   - folder: The runtime directory, which is there.
    /// - Throws: What cannot be made in the folder.
    init(_ command: [String], pool: String, folder: String) throws(SystemError) {
        self.command = command
        self.pool = pool
        self.folder = folder
        for part in ["pools", "pools/\(pool)", "spool", "spool/out", "spool/out/\(pool)"] {
            let path = "\(folder)/\(part)"
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
                throw SystemError("make", path, errno)
            }
        }
        let path = "\(folder)/spool/m1"
        let file = try Descriptor(opening: path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        try file.write(Self.message.span)
        self.samples = SampleEvents(
            message: (path, Self.message.count, Self.header.utf8.count)
        )
        try self.listen()
    }

    var socketPath: String { "\(self.folder)/pools/\(self.pool)/conform.sock" }

    /// Makes the socket anew, as a frontend that starts again.
    func listen() throws(SystemError) {
        if self.listener >= 0 { close(self.listener) }
        unlink(self.socketPath)
        let socket = Glibc.socket(
            AF_UNIX,
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            0
        )
        guard socket >= 0, let address = UnixSocketAddress(self.socketPath) else {
            throw SystemError(
                "make a socket at",
                self.socketPath,
                socket < 0 ? errno : ENAMETOOLONG
            )
        }
        self.listener = socket
        guard address.bind(socket) == 0, Glibc.listen(socket, 16) == 0 else {
            throw SystemError("listen at", self.socketPath, errno)
        }
    }

    /// Starts the worker, if it does not run.
    func start() throws(Nonconformity) {
        if let worker, worker.ends(within: 0) { self.reap() }
        guard self.worker == nil else { return }
        do throws(SystemError) {
            self.worker = try TriedWorker(self.command, runtimeDirectory: self.folder)
        } catch {
            throw Nonconformity(what: "it cannot be started: \(error)")
        }
    }

    /// The next connection of the worker, before its hello.
    func accept(within milliseconds: Int32 = 10_000) throws(Nonconformity) -> WorkerLink {
        var entry = pollfd(fd: self.listener, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, milliseconds) > 0 else {
            if let worker, worker.ends(within: 0), let ending = self.reap() {
                throw Nonconformity(what: "\(ending)")
            }
            throw Nonconformity(what: "it did not dial within \(milliseconds) ms")
        }
        let socket = Glibc.accept(self.listener, nil, nil)
        guard socket >= 0 else { throw Nonconformity(what: "its connection broke at once") }
        _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
        return WorkerLink(socket)
    }

    /// A connection that was welcomed: the last one if it still serves.
    func ready() throws(Nonconformity) -> WorkerLink {
        if let current { return current }
        try self.start()
        let link = try self.accept()
        _ = try link.readHello(pool: self.pool)
        try link.welcome(spool: "\(self.folder)/spool")
        self.current = link
        return link
    }

    /// The current connection is over, or is closed now.
    func drop() { self.current = nil }

    /// Takes the end of the worker, which is killed if it still runs.
    ///
    /// - Returns: How it ended; `nil` if none was started.
    @discardableResult
    func reap() -> TriedWorker.Ending? {
        defer { self.worker = nil }
        return self.worker?.reap()
    }

    /// Ends the worker and removes the files.
    func end() {
        self.current = nil
        self.reap()
        if self.listener >= 0 { close(self.listener) }
        unlink(self.socketPath)
        unlink("\(self.folder)/spool/m1")
        for part in [
            "spool/out/\(self.pool)", "spool/out", "spool", "pools/\(self.pool)", "pools", "",
        ] {
            rmdir("\(self.folder)/\(part)")
        }
    }
}
