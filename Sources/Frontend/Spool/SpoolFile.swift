import Glibc
import NIOCore
import NIOPosix
import System

/// The spool file of one message; the thread pool writes it, never the event loop.
///
/// Confined to its event loop. At most one write is under way; octets that are appended meanwhile
/// wait here. The session stops reading while ``isBusy``, so only few wait.
final class SpoolFile {
    let path: String
    /// Octets taken so far, written or waiting.
    private(set) var size = 0
    /// The first failure; nothing is written after it.
    private(set) var failure: SystemError?

    private let loop: any EventLoop
    private let threads: NIOThreadPool
    private var waiting: [UInt8] = []
    private var state = State.idle
    private var descriptor: Int32 = -1
    /// Called once, when all octets are written or a write failed.
    private var whenWritten: (() -> Void)?

    private enum State {
        case idle
        case writing
        /// The file is removed once a write that is under way has ended.
        case discarded
    }

    init(path: String, loop: any EventLoop, threads: NIOThreadPool) {
        self.path = path
        self.loop = loop
        self.threads = threads
    }

    /// Whether a write is under way: then the session appends no more than it has already read.
    var isBusy: Bool { self.state == .writing }

    /// Octets that wait to be written.
    var waitingOctets: Int { self.waiting.count }

    /// Appends `octets` to the file.
    func append(_ octets: [UInt8]) {
        guard self.state != .discarded else { return }
        self.size += octets.count
        if self.waiting.isEmpty { self.waiting = octets } else { self.waiting += octets }
        self.writeNext()
    }

    /// Calls `body` on the loop once all octets appended so far are written, or a write failed.
    ///
    /// It is never called before `flush` returns, so the caller can finish its own changes first.
    func flush(_ body: @escaping () -> Void) {
        guard self.state == .writing || !self.waiting.isEmpty else {
            return self.loop.assumeIsolated().execute(body)
        }
        self.whenWritten = body
    }

    /// Whether the file has been made, or could not be; an empty message needs a file too.
    private var isCreated: Bool { self.descriptor >= 0 || self.failure != nil }

    /// Removes the file; the callback of ``flush(_:)`` is not called any more.
    func discard() {
        self.whenWritten = nil
        let wasWriting = self.state == .writing
        self.state = .discarded
        self.waiting = []
        if !wasWriting { self.remove() }
    }

    private func writeNext() {
        guard self.state == .idle, !self.waiting.isEmpty || !self.isCreated else { return }
        guard self.failure == nil else {
            self.waiting = []
            return self.written()
        }
        self.state = .writing
        let chunk = self.waiting
        self.waiting = []
        let (path, descriptor) = (self.path, self.descriptor)
        self.threads.runIfActive(eventLoop: self.loop) {
            try SpoolFileCalls.append(chunk, to: descriptor, path: path)
        }
        .assumeIsolated()
        .whenComplete { self.writeEnded($0) }
    }

    private func writeEnded(_ result: Result<Int32, any Error>) {
        switch result {
        case .success(let descriptor): self.descriptor = descriptor
        case .failure(let error as SystemError): self.failure = error
        case .failure(let error): self.failure = SystemError("\(error)", self.path, EIO)
        }
        guard self.state == .writing else { return self.remove() }
        self.state = .idle
        if self.waiting.isEmpty { self.written() } else { self.writeNext() }
    }

    private func written() {
        let body = self.whenWritten
        self.whenWritten = nil
        body?()
    }

    private func remove() {
        let (path, descriptor) = (self.path, self.descriptor)
        self.descriptor = -1
        self.threads.submit { _ in
            if descriptor >= 0 { close(descriptor) }
            unlink(path)
        }
    }
}

@available(*, unavailable)
extension SpoolFile: Sendable {}

/// The system calls of a spool file; run on the thread pool.
enum SpoolFileCalls {
    /// Writes all of `octets`; the first call opens the file.
    ///
    /// `descriptor` is what the last call returned, −1 at the first call. Returns the open
    /// descriptor; when it throws a ``SystemError``, it has closed the descriptor.
    static func append(
        _ octets: [UInt8],
        to descriptor: Int32,
        path: String,
        mode: mode_t = 0o640
    ) throws -> Int32 {
        var descriptor = descriptor
        if descriptor < 0 {
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
            descriptor = open(path, flags, mode)
            guard descriptor >= 0 else { throw SystemError("create", path, errno) }
            if mode != 0o600, fchmod(descriptor, mode) != 0 {
                let code = errno
                close(descriptor)
                throw SystemError("chmod", path, code)
            }
        }
        let code = DescriptorCalls.write(octets, to: descriptor)
        guard code == 0 else {
            close(descriptor)
            throw SystemError("write", path, code)
        }
        return descriptor
    }
}
