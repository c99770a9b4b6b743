import Configuration
import Logging
import PolicyKit
import Synchronization

/// A file as a value, which is made anew when the file has changed.
///
/// The path is looked at when the value is asked for, but not more often than each ``interval``. A file that cannot be
/// read any more leaves the last good value, and the log says so once for each change.
final class WatchedFile<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var stamp: FileStamp?
        var nextLook: ContinuousClock.Instant
    }

    let path: String
    private let interval: Duration
    private let logger: Logger
    private let read: @Sendable (String) throws -> Value
    private let state: Mutex<State>

    /// A file that is there.
    ///
    /// - Parameters:
    ///   - path: An absolute path.
    ///   - interval: How long a change may go unseen.
    ///   - logger: Where trouble is told.
    ///   - read: Makes the value of the file at a path; it may block.
    /// - Throws: What `read` throws about the file as it now is.
    init(
        _ path: String,
        every interval: Duration = .seconds(1),
        logger: Logger,
        read: @escaping @Sendable (String) throws -> Value
    ) throws {
        self.path = path
        self.interval = interval
        self.logger = logger
        self.read = read
        // The stamp first: a change that comes between is seen at the next look.
        let stamp = FileStamp(path: path)
        self.state = Mutex(
            State(value: try read(path), stamp: stamp, nextLook: .now + interval)
        )
    }

    /// Whether there is a file at `path`.
    static func isThere(_ path: String) -> Bool { FileStamp(path: path) != nil }

    /// The value of the file as it is, or as it was when it last could be read.
    func value() async throws -> Value? {
        let (value, isDue) = self.state.withLock { state in
            let now = ContinuousClock.now
            guard now >= state.nextLook else { return (state.value, false) }
            state.nextLook = now + self.interval
            return (state.value, true)
        }
        guard isDue else { return value }
        return try await withBlockingThread { self.look() }
    }

    private func look() -> Value? {
        let stamp = FileStamp(path: self.path)
        let (old, isSame) = self.state.withLock { ($0.value, $0.stamp == stamp) }
        if isSame { return old }
        do {
            let value = try self.read(self.path)
            self.state.withLock {
                $0.value = value
                $0.stamp = stamp
            }
            self.logger.info("\(self.path) has changed and was read again")
            return value
        } catch {
            self.state.withLock { $0.stamp = stamp }
            self.logger.error("\(self.path) has changed, and the old one stays: \(error)")
            return old
        }
    }
}
