import Synchronization
import System

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
    private let wakeUp = Semaphore()

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
            Machine.sleep(milliseconds: 1)
        }
    }

    // MARK: - The thread

    private func start() {
        let isStarted = BackgroundThread.start(stackOctets: Self.stackOctets) { self.run() }
        // The thread could not be started: the next line tries again.
        if !isStarted { self.state.withLock { $0.isStarted = false } }
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
                guard DescriptorCalls.writeWaiting(piece, to: self.descriptor) == 0 else {
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
}
