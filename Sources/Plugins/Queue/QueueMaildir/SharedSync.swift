import NIOConcurrencyHelpers
import Synchronization

/// Syncs of one folder that wait at the same time share one.
///
/// A sync covers what was done before it began. So a delivery that comes while a sync is under way
/// waits for its end, and shares the next sync with all deliveries that came meanwhile: a busy folder is synced as often as the
/// disk can, and not once a message.
///
/// May be used from any thread; blocks.
final class SharedSync: Sendable {
    private enum Phase {
        case idle
        case underWay
    }

    private struct State {
        /// Each call has a number: the last one given, and the last one that a sync has covered.
        var asked: UInt64 = 0
        var covered: UInt64 = 0
        /// By the call's number: the error of the failed sync that covered it.
        var failures: [UInt64: MaildirError] = [:]
    }

    private let perform: @Sendable () throws(MaildirError) -> Void
    private let phase = ConditionLock(value: Phase.idle)
    private let state = Mutex(State())

    init(_ perform: @escaping @Sendable () throws(MaildirError) -> Void) { self.perform = perform }

    /// How many calls there were so far.
    var asked: UInt64 { self.state.withLock(\.asked) }

    /// Returns when a sync is over that began after this call.
    ///
    /// - Throws: The error of that sync, to each call that shared it.
    func sync() throws(MaildirError) {
        let number = self.state.withLock { state in
            state.asked += 1
            return state.asked
        }
        self.phase.lock(whenValue: .idle)
        let (isCovered, failure, last) = self.state.withLock { state in
            (state.covered >= number, state.failures.removeValue(forKey: number), state.asked)
        }
        guard !isCovered else {
            self.phase.unlock(withValue: .idle)
            if let failure { throw failure }
            return
        }
        self.phase.unlock(withValue: .underWay)
        let result = Result { () throws(MaildirError) in try self.perform() }
        self.state.withLock { state in
            if case .failure(let error) = result {
                for other in (state.covered + 1)...last where other != number {
                    state.failures[other] = error
                }
            }
            state.covered = last
        }
        self.phase.lock()
        self.phase.unlock(withValue: .idle)
        try result.get()
    }
}
