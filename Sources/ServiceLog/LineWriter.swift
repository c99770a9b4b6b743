import Glibc
import Synchronization

/// Writes lines to a descriptor on a thread of its own, so that a reader that stops reading stops
/// only this thread.
///
/// Lines wait in a ``LineBuffer`` while the thread writes one batch. Lines that do not fit are
/// dropped and counted, and a line with the count is written in their place. The thread starts with
/// the first line and lives as long as the process.
final class LineWriter: Sendable {
    /// How many octets may wait; as many may be in the batch that is written: 1 MiB in all.
    static let maximumOctets = 524_288

    /// Several programs share one pipe, and only a write of at most so many octets goes into it
    /// whole (pipe(7), PIPE_BUF).
    static let atomicOctets = 4_096

    private static let stackOctets = 262_144

    private struct State {
        var buffer: LineBuffer
        var isStarted = false
        /// The thread waits for ``wakeUp``.
        var isWaiting = false
        /// The thread has taken a batch that is not written yet.
        var isWriting = false
        /// Makes the line that says how many were dropped.
        var droppedLine: (@Sendable (UInt64) -> [UInt8])?
    }

    private let descriptor: Int32
    private let state: Mutex<State>
    private let wakeUp = WakeUp()

    init(descriptor: Int32, maximumOctets: Int = LineWriter.maximumOctets) {
        self.descriptor = descriptor
        self.state = Mutex(State(buffer: LineBuffer(maximumOctets: maximumOctets)))
    }

    /// Sets the function that makes the line about dropped lines; without it, no such line is
    /// written.
    func sayDropped(_ line: @escaping @Sendable (UInt64) -> [UInt8]) {
        self.state.withLock { $0.droppedLine = line }
    }

    /// Takes a line, with its LF, and returns at once.
    func write(_ line: [UInt8]) {
        let next = self.state.withLock { state -> Next in
            state.buffer.append(line)
            guard state.isStarted else {
                state.isStarted = true
                return .start
            }
            guard state.isWaiting else { return .nothing }
            state.isWaiting = false
            return .wakeUp
        }
        switch next {
        case .nothing: break
        case .start: self.start()
        case .wakeUp: self.wakeUp.post()
        }
    }

    private enum Next {
        case nothing
        case start
        case wakeUp
    }

    /// Waits until everything is written, `limitMS` milliseconds at most.
    func flush(withinMS limitMS: Int64) {
        for _ in 0..<limitMS {
            let isDone = self.state.withLock { state in
                !state.isStarted || state.buffer.isEmpty && !state.isWriting
            }
            if isDone { return }
            var millisecond = timespec(tv_sec: 0, tv_nsec: 1_000_000)
            nanosleep(&millisecond, nil)
        }
    }

    // MARK: - The thread

    /// Starts the thread with every signal blocked: they are for the program's other threads.
    private func start() {
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, Self.stackOctets)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let writer = Unmanaged.passRetained(self)
        let code = pthread_create(
            &thread,
            &attributes,
            { argument in
                if let argument {
                    Unmanaged<LineWriter>.fromOpaque(argument).takeRetainedValue().run()
                }
                return nil
            },
            writer.toOpaque()
        )
        guard code != 0 else { return }
        // The thread could not be started: the next line tries again.
        writer.release()
        self.state.withLock { $0.isStarted = false }
    }

    private func run() {
        var missing: UInt64 = 0
        while true {
            let next = self.state.withLock { state -> (LineBuffer.Batch, State)? in
                state.isWriting = false
                guard let batch = state.buffer.drain() else {
                    state.isWaiting = true
                    return nil
                }
                state.isWriting = true
                return (batch, state)
            }
            guard let (batch, state) = next else {
                self.wakeUp.wait()
                continue
            }
            missing &+= batch.dropped &+ self.writeLines(batch.octets)
            if missing > 0, let line = state.droppedLine, self.writeLines(line(missing)) == 0 {
                missing = 0
            }
            self.state.withLock { $0.buffer.recycle(batch.octets) }
        }
    }

    /// - Returns: How many lines could not be written: a full disk, a reader that left.
    private func writeLines(_ octets: [UInt8]) -> UInt64 {
        octets.withUnsafeBytes { octets in
            var rest = octets[...]
            while !rest.isEmpty {
                let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.pieceOctets(rest)))
                guard self.writeAll(piece) else {
                    let lines = rest.count { $0 == UInt8(ascii: "\n") }
                    return UInt64(clamping: lines)
                }
                rest = rest.dropFirst(piece.count)
            }
            return 0
        }
    }

    /// As many whole lines as go into a pipe together; a longer line goes alone.
    static func pieceOctets(_ lines: Slice<UnsafeRawBufferPointer>) -> Int {
        guard lines.count > Self.atomicOctets else { return lines.count }
        let lineFeed = UInt8(ascii: "\n")
        let end =
            lines.prefix(Self.atomicOctets).lastIndex(of: lineFeed)
            ?? lines.firstIndex(of: lineFeed)
        return end.map { lines.distance(from: lines.startIndex, to: $0) + 1 } ?? lines.count
    }

    private func writeAll(_ octets: UnsafeRawBufferPointer) -> Bool {
        var rest = octets
        while !rest.isEmpty {
            let written = Glibc.write(self.descriptor, rest.baseAddress, rest.count)
            if written > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // Another program made the descriptor non-blocking.
                var entry = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&entry, 1, -1)
            default: return false
            }
        }
        return true
    }
}

/// A semaphore: `post` never waits, and one post ends one `wait`.
private final class WakeUp: @unchecked Sendable {
    /// POSIX makes its operations safe on any thread.
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() {
        self.semaphore.initialize(to: sem_t())
        sem_init(self.semaphore, 0, 0)
    }

    deinit {
        sem_destroy(self.semaphore)
        self.semaphore.deallocate()
    }

    func post() { sem_post(self.semaphore) }

    /// May return early, after a signal.
    func wait() { sem_wait(self.semaphore) }
}
