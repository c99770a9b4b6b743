import NIOCore
import Synchronization

/// The transactions with hops that are kept open between two questions of a client's transaction.
///
/// Each is kept for a limited time, and all together are limited: what is not kept is begun anew when the
/// next question comes.
final class ProxyTransactions: Sendable {
    private struct Kept {
        /// The client's transaction.
        let id: String
        let dialogue: NextHopDialogue
        /// Ascends: the lowest was kept longest.
        let number: UInt64
        let timer: Scheduled<Void>
    }

    private struct State {
        /// By the client's session, which has one transaction at a time.
        var kept: [String: Kept] = [:]
        /// Questions under way: each uses one transaction.
        var used = 0
        var lastNumber: UInt64 = 0
        var isStopped = false

        mutating func remove(_ session: String) -> Kept? {
            let kept = self.kept.removeValue(forKey: session)
            kept?.timer.cancel()
            return kept
        }
    }

    private let loop: any EventLoop
    private let limit: Int
    private let time: TimeAmount
    private let state = Mutex(State())

    /// - Parameters:
    ///   - loop: Where the time is kept.
    ///   - limit: Transactions at once, those in use included.
    ///   - time: How long one waits for the next question.
    init(loop: any EventLoop, limit: Int, time: TimeAmount) {
        self.loop = loop
        self.limit = limit
        self.time = time
    }

    /// How many are kept.
    var count: Int { self.state.withLock { $0.kept.count } }

    /// A question of a client's transaction begins; ``leave()`` has to follow.
    ///
    /// - Returns: The hop's transaction, if this worker keeps it.
    func enter(_ session: String, _ id: String) -> NextHopDialogue? {
        let kept = self.state.withLock { state in
            state.used += 1
            return state.remove(session)
        }
        guard var dialogue = kept?.dialogue, kept?.id == id else {
            kept?.dialogue.release()
            return nil
        }
        dialogue.wasKept = true
        return dialogue
    }

    func leave() { self.state.withLock { $0.used -= 1 } }

    /// A new transaction is about to begin: the one that waits longest makes room, if there are too many.
    func makeRoom() {
        let oldest = self.state.withLock { state -> Kept? in
            guard state.kept.count + state.used > self.limit,
                let session = state.kept.min(by: { $0.value.number < $1.value.number })?.key
            else { return nil }
            return state.remove(session)
        }
        oldest?.dialogue.release()
    }

    /// Keeps a hop's transaction for the next question of a client's.
    func keep(_ dialogue: NextHopDialogue, _ session: String, _ id: String) {
        let over = self.state.withLock { state -> NextHopDialogue? in
            guard !state.isStopped else { return dialogue }
            let before = state.remove(session)
            state.lastNumber += 1
            let number = state.lastNumber
            let timer = self.loop.scheduleTask(in: self.time) { self.expired(session, number) }
            state.kept[session] = Kept(id: id, dialogue: dialogue, number: number, timer: timer)
            return before?.dialogue
        }
        over?.release()
    }

    /// A client's transaction is over.
    func end(_ session: String, _ id: String) {
        self.end(session) { $0.id == id }
    }

    /// A client's session is over.
    func endSession(_ session: String) {
        self.end(session) { _ in true }
    }

    /// No transaction is kept any more.
    func stop() {
        let kept = self.state.withLock { state in
            state.isStopped = true
            return state.kept.keys.compactMap { state.remove($0) }
        }
        for each in kept { each.dialogue.release() }
    }

    private func end(_ session: String, _ isOver: (Kept) -> Bool) {
        let kept = self.state.withLock { state in
            state.kept[session].map(isOver) == true ? state.remove(session) : nil
        }
        kept?.dialogue.release()
    }

    private func expired(_ session: String, _ number: UInt64) {
        self.end(session) { $0.number == number }
    }
}
