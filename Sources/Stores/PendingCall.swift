import NIOCore
import Synchronization

/// A call that waits for its answer, for a certain time at most.
///
/// The first end counts: the answer, the end of the time, or that the caller waits no more.
final class PendingCall<Value: Sendable>: Sendable {
    private struct State {
        var promise: EventLoopPromise<Value>?
        var timer: Scheduled<Void>?
    }

    private let state: Mutex<State>
    private let answer: EventLoopFuture<Value>

    /// - Parameters:
    ///   - eventLoop: What measures the time.
    ///   - time: The time.
    ///   - place: What is called, for the failure.
    ///   - onTimeout: Is told on the event loop that the time is over, before the caller is.
    init(
        on eventLoop: any EventLoop,
        within time: Duration,
        of place: String,
        onTimeout: @escaping @Sendable (PendingCall) -> Void = { _ in }
    ) {
        let promise = eventLoop.makePromise(of: Value.self)
        self.answer = promise.futureResult
        self.state = Mutex(State(promise: promise))
        let timer = eventLoop.scheduleTask(in: TimeAmount(time)) { [weak self] in
            let milliseconds = Int64(time / .milliseconds(1))
            let error = StoreError(.unavailable, "\(place): no answer within \(milliseconds) ms")
            guard let self else { return }
            onTimeout(self)
            self.end(.failure(error))
        }
        self.state.withLock { $0.timer = timer }
    }

    var isOver: Bool { self.state.withLock { $0.promise == nil } }

    func end(_ result: Result<Value, any Error>) {
        let ended = self.state.withLock { state in
            defer { state = State() }
            return state
        }
        ended.timer?.cancel()
        ended.promise?.completeWith(result)
    }

    /// Waits for the end.
    ///
    /// - Throws: What the call ended with; `CancellationError` if the task is cancelled.
    func value() async throws -> Value {
        try await withTaskCancellationHandler {
            try await self.answer.get()
        } onCancel: {
            self.end(.failure(CancellationError()))
        }
    }
}
