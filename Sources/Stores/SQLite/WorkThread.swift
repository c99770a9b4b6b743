import Synchronization
import System

/// A thread that does one piece of work after the other.
///
/// It starts with the first, and ends after ``close()``.
final class WorkThread: Sendable {
    typealias Work = @Sendable () -> Void

    private struct State {
        var waiting: [Work] = []
        var isStarted = false
        var isClosed = false
    }

    /// What the thread and its owner share: the owner may go first.
    private final class Queue: Sendable {
        let state = Mutex(State())
        let semaphore = Semaphore()

        func run() {
            while true {
                self.semaphore.wait()
                let (work, isOver) = self.state.withLock { state in
                    defer { state.waiting = [] }
                    return (state.waiting, state.isClosed)
                }
                for each in work { each() }
                if isOver { return }
            }
        }
    }

    /// The most pieces of work that wait.
    private let limit: Int
    private let queue = Queue()

    init(limit: Int) {
        self.limit = limit
    }

    deinit { self.close() }

    /// Has the thread do `work` later.
    ///
    /// - Returns: `false` if it will not: too much waits, there is no thread, or it was closed.
    func submit(_ work: @escaping Work) -> Bool {
        let isTaken = self.queue.state.withLock { state in
            guard !state.isClosed, state.waiting.count < self.limit else { return false }
            if !state.isStarted {
                let queue = self.queue
                state.isStarted = BackgroundThread.start(stackOctets: 262_144) { queue.run() }
                guard state.isStarted else { return false }
            }
            state.waiting.append(work)
            return true
        }
        if isTaken { self.queue.semaphore.post() }
        return isTaken
    }

    /// Ends the thread, after the work that waits.
    func close() {
        self.queue.state.withLock { $0.isClosed = true }
        self.queue.semaphore.post()
    }
}
