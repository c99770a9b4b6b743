import Glibc
import JSON
import Logging
import PolicyCore
import PolicyProtocol
import SMTPCore
import System

/// A question as a shadow of its pool gets it: copied when the pool is asked, so that the session
/// neither waits for the shadow nor notices it.
///
/// The two answers meet here, are compared and counted, and the shadow's is thrown away.
final class ShadowQuestion: PoolAsker {
    let sessionID: String
    let transactionID: String?
    let fingerprint: UInt64
    /// A second name of the message's file, which lives as long as the shadow reads it.
    let messagePath: String?
    let isHeld: Bool

    private let hook: Hook
    let key: [UInt8]
    /// The event as an object, without what differs from attempt to attempt.
    private var event: [UInt8]
    /// What the answer is checked against.
    private let edit: PolicyEdit
    /// What it takes of the shadow's budget until the shadow is done with it.
    private let share: ShadowBudget.Share
    private let shadow: WorkerPool
    private let original: WorkerPool
    private var said: (original: Answer?, shadow: Answer?)

    private enum Answer {
        case verdict(PolicyVerdict)
        /// The client left, or the pool could not answer.
        case nothing
    }

    /// Why a shadow is not shown a question.
    enum NotShown: Error {
        /// The message's file could not be kept.
        case failed
        /// It fits no worker of the shadow, or too much is kept for the shadow already.
        case dropped
    }

    /// Copies the question that `session` is about to ask `original`.
    init(
        _ session: SMTPSessionHandler,
        _ hook: Hook,
        of original: WorkerPool,
        for shadow: WorkerPool
    ) throws(NotShown) {
        let server = session.server
        let message = shadow.profile.needsMessage(at: hook) ? session.messagePath : nil
        let path = message.map { _ in server.spool.newMessagePath(in: shadow.messageFolder) }
        let addressee = EventAddressee(
            needs: shadow.profile.wants.needs(at: hook),
            maximumFrameOctets: shadow.profile.wants.largestFrame - EventHead.mostOctets
        )
        let surroundings = EventSurroundings(
            counters: session.machine.counters,
            messagePath: path
        )
        let event =
            shadow.profile.isAsked(hook)
            ? session.policy.frozenEvent(hook, addressee, surroundings) : []
        guard let event else { throw .dropped }
        self.edit = session.policy.newEdit(at: hook)
        self.share = ShadowBudget.Share(
            octets: event.count + self.edit.heldOctets,
            messageOctets: message.map { _ in session.message?.size ?? 0 }
        )
        guard shadow.takeShare(self.share) else { throw .dropped }
        if let message, let path {
            do throws(SystemError) {
                try server.spool.link(message, as: path, in: shadow.messageFolder)
            } catch {
                shadow.shadowBudget.give(self.share)
                throw .failed
            }
        }
        self.messagePath = path
        self.hook = hook
        self.isHeld = session.isHeld
        self.sessionID = session.sessionID
        self.transactionID = session.transactionID
        self.fingerprint = session.fingerprint(at: hook)
        self.key = session.policy.key
        self.event = event
        self.original = original
        self.shadow = shadow
    }

    var openHook: Hook? { self.hook }

    func writeEvent(
        _ head: EventHead,
        to addressee: EventAddressee,
        into writer: inout JSONWriter
    ) -> Bool {
        let start = writer.octets.count
        writer.beginObject()
        head.encode(key: self.key, into: &writer)
        writer.members(of: self.event)
        writer.endObject()
        writer.newline()
        guard writer.octets.count - start > addressee.maximumFrameOctets else { return true }
        writer.truncate(to: start)
        return false
    }

    /// A shadow is shown one hook at a time.
    func wentAhead(to hook: Hook) -> Bool { false }

    func judge(_ verdict: PolicyVerdict) -> ProtocolViolation? {
        guard verdict.hook == nil || verdict.hook == self.hook else {
            return ProtocolViolation(.hook_not_reached, "hook: not the one that is asked")
        }
        if let violation = self.edit.violation(of: verdict) { return violation }
        var edit = self.edit
        defer {
            if let path = edit.replacementPath { self.shadow.removeReplacement(path) }
        }
        return edit.apply(verdict)
    }

    /// The shadow is done with it.
    func poolDone(_ outcome: PoolOutcome, peerUserID: UInt32) {
        if let path = self.messagePath { self.shadow.server.removeSoon(path) }
        self.shadow.shadowBudget.give(self.share)
        self.event = []
        if case .failed = outcome { self.shadow.shadowCounts.failed += 1 }
        self.said.shadow = Self.answer(outcome)
        self.compare()
    }

    /// The pool that decides is done with it; `nil`: the client left.
    func originalDone(_ outcome: PoolOutcome?) {
        self.said.original = outcome.map(Self.answer) ?? .nothing
        self.compare()
    }

    private static func answer(_ outcome: PoolOutcome) -> Answer {
        switch outcome {
        case .answered(let verdict, _): .verdict(verdict)
        // A pool that is not asked at a hook declines it.
        case .passedOver: .verdict(PolicyVerdict(id: 0, verdict: .declined))
        case .failed: .nothing
        }
    }

    private func compare() {
        guard let original = self.said.original, let shadow = self.said.shadow else { return }
        // Counted as failed already.
        guard case .verdict(let other) = shadow else { return }
        guard case .verdict(let verdict) = original else {
            self.shadow.shadowCounts.unpaired += 1
            return
        }
        guard !verdict.hasSameEffect(as: other) else {
            self.shadow.shadowCounts.agreed += 1
            return
        }
        self.shadow.shadowCounts.differed += 1
        self.shadow.logSparingly(
            .notice,
            "a shadow differs",
            self.difference(verdict.summary, other.summary)
        )
    }

    private func difference(_ said: String, _ shadowSaid: String) -> Logger.Metadata {
        var metadata: Logger.Metadata = [
            "session": "\(self.sessionID)", "hook": "\(self.hook.rawValue)",
            "key": "\(String(decoding: self.key, as: UTF8.self))",
            "pool": "\(self.original.name)", "said": "\(said)",
            "shadow": "\(self.shadow.name)", "shadow_said": "\(shadowSaid)",
        ]
        if let transactionID { metadata["transaction"] = "\(transactionID)" }
        return metadata
    }
}

@available(*, unavailable)
extension ShadowQuestion: Sendable {}

/// What became of the questions that a shadow was shown.
struct ShadowCounts {
    /// Both answered, and a client would have seen no difference.
    var agreed: UInt64 = 0
    /// Both answered, and differently.
    var differed: UInt64 = 0
    /// The shadow could not answer.
    var failed: UInt64 = 0
    /// The shadow answered and there was nothing to compare: the client left, or the pool failed.
    var unpaired: UInt64 = 0
    /// It was not shown the question: that was too large, or too much waited for it already.
    var dropped: UInt64 = 0

    /// Adds what another loop counted.
    mutating func add(_ other: ShadowCounts) {
        self.agreed += other.agreed
        self.differed += other.differed
        self.failed += other.failed
        self.unpaired += other.unpaired
        self.dropped += other.dropped
    }

    /// As `status` says it.
    var named: [(StaticString, UInt64)] {
        [
            ("agreed", self.agreed), ("differed", self.differed), ("failed", self.failed),
            ("unpaired", self.unpaired), ("dropped", self.dropped),
        ]
    }
}

extension PolicyVerdict {
    /// Whether the client, the session and the message fare the same with either.
    ///
    /// Names of plugins and of replacement files are not compared.
    func hasSameEffect(as other: PolicyVerdict) -> Bool {
        self.verdict == other.verdict && self.reply == other.reply
            && self.sessionNotes == other.sessionNotes
            && self.transactionNotes == other.transactionNotes
            && self.actions.map(\.withoutFile) == other.actions.map(\.withoutFile)
    }

    /// What it says, in a few words for the log: `deny 550 5.7.1 No such user (rcpt_map), notes`.
    var summary: String {
        var words = [self.verdict.rawValue]
        if let reply = self.reply {
            if let code = reply.code { words.append("\(code)") }
            if let status = reply.status { words.append(status) }
            words += reply.text.prefix(1)
        }
        if let plugin = self.plugin { words.append("(\(plugin))") }
        var text = words.joined(separator: " ")
        if self.sessionNotes != nil || self.transactionNotes != nil { text += ", notes" }
        if !self.actions.isEmpty { text += ", \(self.actions.count) actions" }
        return text
    }
}

extension PolicyAction {
    fileprivate var withoutFile: PolicyAction {
        guard case .replaceMessage = self else { return self }
        return .replaceMessage(path: "")
    }
}
