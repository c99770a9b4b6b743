import Synchronization

/// Lets a few tasks at a time do what costs a lot; the others wait in a line that has an end.
///
/// Safe from any task.
final class Turns: Sendable {
    private enum Entry {
        case turn, full, cancelled
    }

    private struct State {
        var running = 0
        var lastNumber: UInt64 = 0
        /// In the order of their arrival; the number tells them apart.
        var line: [(number: UInt64, entry: CheckedContinuation<Entry, Never>)] = []
    }

    private let atOnce: Int
    private let longestLine: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - atOnce: How many do it at the same time, at least 1.
    ///   - longestLine: How many may wait for it.
    init(atOnce: Int, longestLine: Int) {
        self.atOnce = atOnce
        self.longestLine = longestLine
    }

    /// How many wait.
    var waiting: Int { self.state.withLock(\.line.count) }

    /// Does `body` when it is its turn.
    ///
    /// - Returns: `nil` if the line is full; `body` was not called.
    /// - Throws: What `body` throws; `CancellationError` if the task was cancelled while it waited.
    func take<Value>(_ body: () async throws -> Value) async throws -> Value? {
        switch await self.enter() {
        case .full: return nil
        case .cancelled: throw CancellationError()
        case .turn: break
        }
        defer { self.leave() }
        return try await body()
    }

    private func enter() async -> Entry {
        let number = self.state.withLock { state in
            state.lastNumber += 1
            return state.lastNumber
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { entry in
                // A task is marked as cancelled before `onCancel` looks into the line.
                let known = self.state.withLock { state -> Entry? in
                    if Task.isCancelled { return .cancelled }
                    if state.running < self.atOnce {
                        state.running += 1
                        return .turn
                    }
                    guard state.line.count < self.longestLine else { return .full }
                    state.line.append((number, entry))
                    return nil
                }
                if let known { entry.resume(returning: known) }
            }
        } onCancel: {
            self.state.withLock { state in
                state.line.firstIndex { $0.number == number }.map {
                    state.line.remove(at: $0).entry
                }
            }?.resume(returning: .cancelled)
        }
    }

    /// The next in the line has its turn.
    private func leave() {
        self.state.withLock { state in
            guard state.line.isEmpty else { return state.line.removeFirst().entry as Optional }
            state.running -= 1
            return nil
        }?.resume(returning: .turn)
    }
}
