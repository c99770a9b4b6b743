import Configuration
import Glibc
import JSON
import Logging
import NIOCore
import NIOPosix
import PolicyProtocol
import SMTPCore

/// The policy side of one session: its facts, notes and transaction, and the question that is open.
///
/// Confined to the event loop. One question at a time (protocol/README.md): it goes to the pools in
/// order until one does not decline. The handler asks, and is called back unless nobody had to be
/// waited for.
final class PolicyConversation: PoolAsker {
    let server: FrontendServer
    weak var handler: SMTPSessionHandler?

    var facts: SessionFacts
    let clientAddress: IPAddress?
    var transaction: MailTransaction?
    var message: IncomingMessage?
    /// The final dot was seen: workers may be told of the message.
    var isMessageComplete = false
    var notes = PolicyNotes()
    private(set) var trace = PolicyTrace()
    /// The part of the trace that belongs to the last question.
    private(set) var questionTrace = PolicyTrace()
    var summary = SessionSummary()
    let openedMS: Int64

    /// The pools that this session's questions go to, in order.
    let route: [PolicyPool]
    private(set) var question: Question?
    /// What shadows of the pool that is asked now were shown.
    private var shadowed: [ShadowQuestion] = []
    /// The open question's idempotency key, the same for every attempt; ASCII.
    private(set) var key: [UInt8] = []
    /// The open question's `args` object.
    private(set) var arguments = JSONWriter()
    /// The same for all hooks that an event names, if `queue` is one of them.
    var argumentsAhead = JSONWriter()
    /// An outcome that arrived while the event was being handed over.
    private var early: PoolOutcome?
    /// A verdict whose replacement message is being taken over.
    private var pending: PolicyEdit?
    var transactionCount = 0
    private var questionCount: UInt64 = 0

    /// What is being asked, and how far it has got: nothing here is counted or freed, so that looking
    /// at it costs nothing.
    struct Question {
        /// Moves on when the worker goes ahead.
        var hook: Hook
        /// The hook of the event that was written last.
        var writtenHook: Hook
        /// Hooks that this one's worker may go on to.
        var ahead: HookSet = []
        /// Monotonic nanoseconds.
        let askedNS: UInt64
        /// The pool that is asked now, and its ticket.
        var pool = 0
        var ticket: UInt64?
        var isSubmitting = false
        /// Whether any pool was asked whose answer counts.
        var wasAsked = false
        var delayMS: Int64 = 0
    }

    init(server: FrontendServer, listener: String, client: SocketAddress?, local: SocketAddress?) {
        self.server = server
        let now = server.unixMS
        self.openedMS = server.nowMS
        self.facts = SessionFacts(
            id: server.newSessionID(now),
            listener: listener,
            startedMS: now,
            client: client,
            server: local
        )
        self.clientAddress = IPAddress(parsing: self.facts.clientIP)
        self.route = server.routes.route(session: self.facts.id)
    }

    /// The hook that is being asked about; `nil` between questions.
    var openHook: Hook? { self.question?.hook }

    var sessionID: String { self.facts.id }

    var transactionID: String? { self.transaction?.id }

    var messagePath: String? { self.message?.path }

    /// The path that workers of `pool` are told if they need the message; `nil` if it is not whole, or
    /// could not be given a name in that pool's own folder.
    func messagePath(for pool: PolicyPool, _ needs: EventNeeds) -> String? {
        guard let folder = pool.messageFolder else { return self.messagePath }
        guard self.isMessageComplete, needs.contains(.message) else { return nil }
        return self.message?.path(in: folder)
    }

    /// Whose sessions are counted together with this one (`max_sessions_per_ip`).
    var clientNetwork: String {
        guard let address = self.clientAddress, address.isIPv6 else { return self.facts.clientIP }
        return "\(address.clientNetwork)"
    }

    var counters: AbuseMeter { self.handler?.counters ?? AbuseMeter() }

    // MARK: - Asking

    /// Tells observers of `hook`, then asks every pool in turn about it.
    ///
    /// `args` writes the members of the `args` object; it is not called when nobody listens.
    ///
    /// - Returns: The decision if nobody had to be waited for; else `nil`, and
    ///   `SMTPSessionHandler.policyDecided(_:)` is called later.
    func ask(_ hook: Hook, args: (inout JSONWriter) -> Void) -> PolicyDecision? {
        if self.server.isObserved(hook) { self.notify(hook, args: args) }
        guard self.server.isAsked(hook) else { return .undecided }
        self.arguments.removeAll()
        self.arguments.beginObject()
        args(&self.arguments)
        self.arguments.endObject()
        self.questionCount += 1
        self.writeKey()
        if self.server.isTraceWanted { self.questionTrace = PolicyTrace() }
        self.question = Question(hook: hook, writtenHook: hook, askedNS: self.server.nowNS)
        return self.askNextPool()
    }

    /// `TRANSACTION.qN`, or `SESSION.qN` where there is no transaction.
    private func writeKey() {
        self.key.removeAll(keepingCapacity: true)
        self.key.append(contentsOf: (self.transaction?.id ?? self.facts.id).utf8)
        self.key.append(contentsOf: [UInt8(ascii: "."), UInt8(ascii: "q")])
        self.key.appendDecimal(self.questionCount)
    }

    /// The client is gone: nobody waits for the answer any more.
    func cancelQuestion() {
        guard let question = self.question else { return }
        // The pool may want to know which question it was.
        if let ticket = question.ticket { self.route[question.pool].cancel(ticket) }
        self.question = nil
        self.pending = nil
        self.tellShadows(nil)
    }

    private func askNextPool() -> PolicyDecision? {
        while let question = self.question {
            guard question.pool < self.route.count else {
                return self.decide(.undecided, PolicyDecision.Decider())
            }
            let pool = self.route[question.pool]
            let isAsked = pool.isAsked(question.hook)
            guard isAsked || pool.isShadowed(at: question.hook) else {
                self.question?.pool += 1
                continue
            }
            let ahead = self.hooksAhead(of: question.hook, in: pool)
            self.question?.ahead = ahead
            if pool.isMessageNeeded(at: question.hook, ahead: ahead), let message = self.message,
                message.path == nil, message.failure == nil
            {
                message.store { self.messageStored() }
                return nil
            }
            if pool.messageFolder != nil {
                _ = self.messagePath(for: pool, pool.needs(at: question.hook, ahead: ahead))
            }
            if let failure = self.message?.failure {
                return self.messageLost(failure, in: pool)
            }
            if !pool.shadows.isEmpty { self.askShadows(of: pool, question.hook) }
            guard isAsked else {
                self.tellShadows(.passedOver)
                self.question?.pool += 1
                continue
            }
            self.question?.wasAsked = true
            self.question?.isSubmitting = true
            let ticket = pool.submit(self, hook: question.hook)
            self.question?.isSubmitting = false
            self.question?.ticket = ticket
            guard let outcome = self.early else { return nil }
            self.early = nil
            if let decision = self.apply(outcome) { return decision }
        }
        return nil
    }

    /// Shows the shadows of `pool` what it is about to be asked.
    private func askShadows(of pool: PolicyPool, _ hook: Hook) {
        for shadow in pool.shadows where shadow.isShown(hook) {
            let question: ShadowQuestion
            do throws(ShadowQuestion.NotShown) {
                question = try ShadowQuestion(self, hook, of: pool, for: shadow)
            } catch {
                shadow.notShown(hook, error, session: self.sessionID)
                continue
            }
            self.shadowed.append(question)
            if shadow.isAsked(hook) {
                _ = shadow.submit(question, hook: hook)
            } else {
                question.poolDone(.passedOver, peerUserID: .max)
            }
        }
    }

    /// The pool is done with the question; `nil`: the client left.
    private func tellShadows(_ outcome: PoolOutcome?) {
        guard !self.shadowed.isEmpty else { return }
        for question in self.shadowed { question.originalDone(outcome) }
        self.shadowed.removeAll()
    }

    /// The message is in its file now, or will never be.
    private func messageStored() {
        guard self.question != nil, self.question?.ticket == nil, let decision = self.askNextPool()
        else { return }
        self.handler?.policyDecided(decision)
    }

    // MARK: - Being answered

    /// An event of the open question has been written, which names these hooks too.
    func eventWritten(ahead: HookSet) {
        guard let question = self.question else { return }
        self.question?.writtenHook = question.hook
        self.question?.ahead = ahead
    }

    func wentAhead(to hook: Hook) -> Bool {
        guard let question = self.question, question.ahead.contains(hook) else { return false }
        self.question?.hook = hook
        self.question?.ahead = question.ahead.intersection(HookSet(after: hook))
        var arguments = JSONWriter()
        swap(&arguments, &self.arguments)
        self.handler?.stagesPassed(to: hook, arguments: &arguments)
        swap(&arguments, &self.arguments)
        return true
    }

    /// Checks a verdict against this session and, if it holds, applies its notes and actions.
    ///
    /// - Returns: What is wrong with it; nothing has been applied then.
    func judge(_ verdict: PolicyVerdict) -> ProtocolViolation? {
        guard let question = self.question else { return nil }
        let hook = verdict.hook ?? question.writtenHook
        // What cannot be asked twice is begun by a `progress` that says so.
        guard hook == question.hook || hook != .queue && self.wentAhead(to: hook) else {
            return ProtocolViolation(.hook_not_reached, hook.rawValue)
        }
        if let violation = verdict.violation(for: hook, in: self.transaction) { return violation }
        guard verdict.hasEffects else { return nil }
        var edit = self.newEdit(hook)
        if let violation = edit.apply(verdict) { return violation }
        if edit.replacementPath == nil { self.commit(edit) } else { self.pending = edit }
        return nil
    }

    /// A copy of the session's state for a verdict's notes and actions.
    func newEdit(_ hook: Hook) -> PolicyEdit {
        let limits = self.server.configuration.limits
        return PolicyEdit(
            notes: self.notes,
            transaction: self.transaction,
            hook: hook,
            maximumRecipients: limits.maximumRecipients,
            maximumDelayMS: limits.maximumReplyDelayMS
        )
    }

    private func commit(_ edit: PolicyEdit) {
        self.notes = edit.notes
        if edit.transaction != nil { self.transaction = edit.transaction }
        if let relay = edit.isRelay { self.facts.isRelay = relay }
        if let name = edit.clientName { self.facts.clientName = name }
        self.question?.delayMS += edit.delayMS
        if edit.changesRecipients, let transaction = self.transaction {
            self.handler?.recipientsChanged(transaction.recipients.count)
        }
    }

    /// A pool is done with the question, one way or the other.
    func poolDone(_ outcome: PoolOutcome, peerUserID: UInt32) {
        guard let question = self.question else { return }
        if let edit = self.pending, let path = edit.replacementPath {
            return self.takeOver(path, edit, outcome, peerUserID)
        }
        guard !question.isSubmitting else {
            self.early = outcome
            return
        }
        if let decision = self.apply(outcome) ?? self.askNextPool() {
            self.handler?.policyDecided(decision)
        }
    }

    /// - Returns: The decision; `nil` if the next pool is to be asked.
    private func apply(_ outcome: PoolOutcome) -> PolicyDecision? {
        guard let question = self.question else { return nil }
        let pool = self.route[question.pool]
        self.tellShadows(outcome)
        if self.server.isTraceWanted { self.record(outcome, question, pool) }
        switch outcome {
        case .answered(let verdict, let worker) where verdict.verdict != .declined:
            return self.decide(
                .verdict(verdict.verdict, verdict.reply),
                PolicyDecision.Decider(pool: pool.name, worker: worker, plugin: verdict.plugin)
            )
        case .answered, .passedOver: break
        case .failed(let reason, let worker):
            let policy = pool.policy(for: question.hook).onFailure
            guard policy == .skip else {
                return self.decide(
                    .failed(policy, reason: reason),
                    PolicyDecision.Decider(pool: pool.name, worker: worker)
                )
            }
            self.summary.skipped(pool: pool.name, hook: question.hook, reason: reason)
            if pool.configuration.failureHeader { self.markSkipped(pool: pool.name, question.hook) }
        }
        self.question?.pool += 1
        self.question?.ticket = nil
        return nil
    }

    /// One entry a plugin, or one a worker that did not tell, or one a failure (protocol/events.md).
    private func record(_ outcome: PoolOutcome, _ question: Question, _ pool: PolicyPool) {
        var entry = PolicyTrace.Entry(
            key: String(decoding: self.key, as: UTF8.self),
            hook: question.hook,
            pool: pool.name
        )
        entry.microseconds = Int64(clamping: (self.server.nowNS &- question.askedNS) / 1_000)
        switch outcome {
        case .answered(let verdict, let worker):
            entry.worker = worker.name
            entry.plugin = verdict.plugin
            entry.verdict = verdict.verdict
            guard !verdict.trace.isEmpty else { break }
            for plugin in verdict.trace {
                entry.plugin = plugin.plugin
                entry.verdict = plugin.verdict
                entry.microseconds = plugin.microseconds
                self.record(entry)
            }
            return
        case .failed(let reason, let worker):
            entry.worker = worker?.name
            entry.failure = reason
            entry.policy = pool.policy(for: question.hook).onFailure.rawValue
        case .passedOver: return
        }
        self.record(entry)
    }

    private func record(_ entry: PolicyTrace.Entry) {
        self.trace.record(entry)
        self.questionTrace.record(entry)
    }

    /// The question is over, and the client got `reply`: the entry that decided says so.
    func settled(_ decision: PolicyDecision, reply: SMTPReply?) {
        guard let reply, !decision.isNobody, decision.wasAsked, self.server.isTraceWanted else {
            return
        }
        self.trace.decided(reply)
        self.questionTrace.decided(reply)
    }

    private func decide(
        _ outcome: PolicyDecision.Outcome,
        _ decider: PolicyDecision.Decider
    ) -> PolicyDecision {
        let delay = self.question?.delayMS ?? 0
        let wasAsked = self.question?.wasAsked ?? false
        self.question = nil
        if case .undecided = outcome, !wasAsked { return .undecided }
        return PolicyDecision(outcome: outcome, decider: decider, delayMS: delay)
    }

    /// Lets the message say which pool did not see it; for operators who switched that on.
    private func markSkipped(pool: String, _ hook: Hook) {
        guard hook == .data_post || hook == .data_post_headers else { return }
        self.transaction?.withHeaders {
            $0.add(
                name: Array("X-Gatepost-Skipped".utf8),
                value: Array(" pool=\(pool); hook=\(hook.rawValue)".utf8),
                atTop: true
            )
        }
    }
}

@available(*, unavailable)
extension PolicyConversation: Sendable {}

// MARK: - Taking over a message

extension PolicyConversation {
    /// Copies the file that a worker left for us, then goes on with its verdict.
    private func takeOver(
        _ path: String,
        _ edit: PolicyEdit,
        _ outcome: PoolOutcome,
        _ owner: UInt32
    ) {
        guard let question = self.question else { return }
        let server = self.server
        let folder = server.spool.outFolder(pool: self.route[question.pool].name)
        let destination = server.spool.newMessagePath()
        let limits = server.configuration.limits
        server.threads.runIfActive(eventLoop: server.loop) {
            try ReplacementMessage.take(
                path,
                folder: folder,
                owner: owner,
                limit: limits.maximumMessageOctets,
                headerLimits: (limits.maximumHeaderOctets, limits.maximumHeaderFields),
                destination: destination
            )
        }
        .assumeIsolated()
        .whenComplete { result in
            self.pending = nil
            switch result {
            case .success(let taken) where self.message != nil:
                var edit = edit
                if let violation = edit.messageReplaced(by: taken) {
                    server.removeSoon(destination)
                    return self.replacementRefused(path, "\(violation)", outcome)
                }
                self.commit(edit)
                self.message?.replace(with: destination, size: taken.size)
                self.poolDone(outcome, peerUserID: owner)
            case .success: server.removeSoon(destination)
            case .failure(let refusal as ReplacementMessage.Refusal):
                self.replacementRefused(path, "file_refused: \(refusal)", outcome)
            case .failure(let error):
                self.replacementLost(error as? SystemError ?? SystemError("\(error)", path, EIO))
            }
        }
    }

    /// The worker left a file that is not taken, or cannot have what follows it done: its verdict is
    /// invalid as a whole.
    private func replacementRefused(
        _ path: String,
        _ violation: String,
        _ outcome: PoolOutcome
    ) {
        guard let question = self.question, case .answered(let verdict, let worker) = outcome else {
            return
        }
        let pool = self.route[question.pool]
        pool.answerRefused(from: worker)
        pool.logSparingly(
            .warning,
            "a worker's replacement message was refused",
            [
                "session": "\(self.sessionID)", "transaction": "\(self.transactionID ?? "")",
                "pool": "\(pool.name)", "worker": "\(worker)",
                "plugin": "\(verdict.plugin ?? "")", "hook": "\(question.hook.rawValue)",
                "file": "\(path)", "violation": "\(violation)",
            ]
        )
        self.poolDone(.failed(reason: "invalid_verdict", worker: worker), peerUserID: .max)
    }

    /// Our own disk or descriptors failed, so the message stays with its client.
    ///
    /// What the worker put in its place is not there, and the message as it came is not what policy
    /// wants: the pool's failure policy has no say in this.
    private func replacementLost(_ error: SystemError) {
        guard let question = self.question else { return }
        let pool = self.route[question.pool]
        self.tellShadows(.failed(reason: "message_lost", worker: nil))
        self.handler?.policyDecided(self.messageLost(error, in: pool))
    }

    /// The message cannot be written or read by us (protocol/failure.md, `message_lost`).
    private func messageLost(_ error: SystemError, in pool: PolicyPool) -> PolicyDecision {
        pool.logSparingly(
            .error,
            "a message could not be kept, its client gets 451 or 452",
            [
                "session": "\(self.sessionID)", "transaction": "\(self.transactionID ?? "")",
                "pool": "\(pool.name)", "hook": "\(self.openHook?.rawValue ?? "")",
                "reason": "message_lost", "error": "\(error)",
            ]
        )
        return self.decide(.spoolFailed(error), PolicyDecision.Decider())
    }
}
