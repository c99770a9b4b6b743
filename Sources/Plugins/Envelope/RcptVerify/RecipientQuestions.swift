import NIOCore
import PolicyKit
import Synchronization

/// Asks a source about recipients: about each once at a time, not too many at once, and for a while nothing after it
/// failed.
///
/// Safe from any task.
final class RecipientQuestions: Sendable {
    private struct State {
        /// Those who wait for an answer, by what they ask for.
        var waiting: [Bytes: [EventLoopPromise<RecipientFinding>]] = [:]
        /// What the source is being asked now.
        var asked: Set<Bytes> = []
        var rest: SourceRest
    }

    /// How many questions may wait for each one that is asked.
    private static let waitingForEach = 16
    /// A source answers at its deadline; who asked waits so much longer.
    private static let grace = Duration.milliseconds(200)

    let source: any RecipientSource
    private let turns: Turns
    private let eventLoop: any EventLoop
    private let state: Mutex<State>

    init(
        _ source: any RecipientSource,
        atOnce: Int,
        rest: Duration,
        on eventLoop: any EventLoop
    ) {
        self.source = source
        self.turns = Turns(atOnce: atOnce, longestLine: atOnce * Self.waitingForEach)
        self.eventLoop = eventLoop
        self.state = Mutex(State(rest: SourceRest(time: rest)))
    }

    /// How many wait for the answer to a question.
    func waiting(for key: Bytes) -> Int { self.state.withLock { $0.waiting[key]?.count ?? 0 } }

    /// Asks, or waits for the answer if the same is being asked.
    ///
    /// - Parameters:
    ///   - recipient: Whom the question is about.
    ///   - key: The same for all who ask the same.
    ///   - time: How long the source may take.
    /// - Returns: What is known, and whether this call was the one that asked.
    /// - Throws: What the event loop throws when it is gone.
    func finding(
        _ recipient: AskedRecipient,
        key: Bytes,
        within time: Duration
    ) async throws -> (finding: RecipientFinding, isFirst: Bool) {
        let promise = self.eventLoop.makePromise(of: RecipientFinding.self)
        let latest = ContinuousClock.now + max(time, .milliseconds(1))
        let isFirst = self.state.withLock { state in
            state.waiting[key, default: []].append(promise)
            return state.waiting[key]?.count == 1
        }
        let timer = self.eventLoop.scheduleTask(in: TimeAmount(max(time, .zero) + Self.grace)) {
            if isFirst { self.isLate(key) }
            promise.succeed(.unknown("no answer in time", isOut: false))
        }
        defer { timer.cancel() }
        if isFirst {
            Task {
                let finding = await self.ask(recipient, key, until: latest)
                for promise in self.answered(key) { promise.succeed(finding) }
            }
        }
        let finding = try await promise.futureResult.get()
        return (finding, isFirst)
    }

    private func ask(
        _ recipient: AskedRecipient,
        _ key: Bytes,
        until latest: ContinuousClock.Instant
    ) async -> RecipientFinding {
        // A failure is known before the line is full of questions that would fail.
        if let known = self.resting() { return known }
        let finding = try? await self.turns.take { () -> RecipientFinding in
            if let known = self.resting() { return known }
            guard ContinuousClock.now < latest else {
                return .unknown("no turn in time", isOut: false)
            }
            self.state.withLock { _ = $0.asked.insert(key) }
            let finding = await self.source.finding(recipient, until: latest)
            self.state.withLock { state in
                state.asked.remove(key)
                if case .unknown(_, let isOut) = finding {
                    if isOut { state.rest.failed(at: .now) }
                } else {
                    state.rest.worked()
                }
            }
            return finding
        }
        return finding ?? .unknown("too many questions at once", isOut: false)
    }

    private func resting() -> RecipientFinding? {
        guard self.state.withLock({ $0.rest.isResting(at: .now) }) else { return nil }
        return .unknown("left alone, because it failed a short time ago", isOut: false)
    }

    /// The source did not even say in time that it has no answer: it is left alone for a while.
    func isLate(_ key: Bytes) {
        self.state.withLock { state in
            if state.asked.contains(key) { state.rest.failed(at: .now) }
        }
    }

    private func answered(_ key: Bytes) -> [EventLoopPromise<RecipientFinding>] {
        self.state.withLock { $0.waiting.removeValue(forKey: key) ?? [] }
    }
}
