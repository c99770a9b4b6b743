import Configuration
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
final class PolicyConversation {
    let server: FrontendServer
    weak var handler: SMTPSessionHandler?

    var facts: SessionFacts
    let clientAddress: IPAddress?
    var transaction: MailTransaction?
    var message: IncomingMessage?
    /// The final dot was seen: workers may be told of the message.
    var isMessageComplete = false
    private(set) var notes = PolicyNotes()
    private(set) var trace = PolicyTrace()
    /// The part of the trace that belongs to the last question.
    private var questionTrace = PolicyTrace()
    var summary = SessionSummary()
    private let openedMS: Int64

    private var question: Question?
    private var transactionCount = 0
    private var questionCount = 0

    /// What is being asked, and how far it has got.
    struct Question {
        let hook: Hook
        /// The same for every attempt: the idempotency key.
        let key: String
        /// The encoded `args` object.
        let args: [UInt8]
        /// Monotonic nanoseconds.
        let askedNS: UInt64
        /// The pool that is asked now, and its ticket.
        var pool = 0
        var ticket: UInt64?
        /// An outcome that arrived while the event was being handed over.
        var early: PoolOutcome?
        var isSubmitting = false
        var delayMS: Int64 = 0
        /// A verdict whose replacement message is being taken over.
        var pending: PolicyEdit?
    }

    /// What one pool said.
    enum PoolOutcome {
        case answered(PolicyVerdict, worker: WorkerLabel)
        case failed(reason: String, worker: WorkerLabel?)
        /// Nobody in the pool wants to be asked after all.
        case passedOver
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
    }

    /// The hook that is being asked about; `nil` between questions.
    var openHook: Hook? { self.question?.hook }

    var counters: AbuseMeter { self.handler?.counters ?? AbuseMeter() }

    // MARK: - Asking

    /// Asks every pool in turn about `hook`.
    ///
    /// `args` is the encoded `args` object.
    ///
    /// - Returns: The decision if nobody had to be waited for; else `nil`, and
    ///   `SMTPSessionHandler.policyDecided(_:)` is called later.
    func ask(_ hook: Hook, args: [UInt8]) -> PolicyDecision? {
        guard self.server.pools.contains(where: { $0.isAsked(hook) }) else { return .undecided }
        self.questionCount += 1
        self.questionTrace = PolicyTrace()
        self.question = Question(
            hook: hook,
            key: "\(self.transaction?.id ?? self.facts.id).q\(self.questionCount)",
            args: args,
            askedNS: self.server.nowNS
        )
        return self.askNextPool()
    }

    /// The client is gone: nobody waits for the answer any more.
    func cancelQuestion() {
        guard let question = self.question else { return }
        self.question = nil
        if let ticket = question.ticket { self.server.pools[question.pool].cancel(ticket) }
    }

    private func askNextPool() -> PolicyDecision? {
        while let question = self.question {
            guard question.pool < self.server.pools.count else {
                return self.decide(.undecided, PolicyDecision.Decider())
            }
            let pool = self.server.pools[question.pool]
            guard pool.isAsked(question.hook) else {
                self.question?.pool += 1
                continue
            }
            if pool.needsMessage(question.hook), let message = self.message, message.path == nil,
                message.failure == nil
            {
                message.store { self.messageStored() }
                return nil
            }
            if let failure = self.message?.failure {
                return self.decide(.spoolFailed(failure), PolicyDecision.Decider())
            }
            self.question?.isSubmitting = true
            let ticket = pool.submit(self, hook: question.hook)
            self.question?.isSubmitting = false
            self.question?.ticket = ticket
            guard let outcome = self.question?.early else { return nil }
            self.question?.early = nil
            if let decision = self.apply(outcome) { return decision }
        }
        return nil
    }

    /// The message is in its file now, or will never be.
    private func messageStored() {
        guard self.question != nil, self.question?.ticket == nil, let decision = self.askNextPool()
        else { return }
        self.handler?.policyDecided(decision)
    }

    // MARK: - Being answered

    /// Checks a verdict against this session and, if it holds, applies its notes and actions.
    ///
    /// - Returns: What is wrong with it; nothing has been applied then.
    func judge(_ verdict: PolicyVerdict) -> ProtocolViolation? {
        guard let hook = self.question?.hook else { return nil }
        if let violation = verdict.violation(
            for: hook,
            hasTransaction: self.transaction != nil,
            allowsUTF8: self.transaction?.isSMTPUTF8 ?? false
        ) {
            return violation
        }
        guard verdict.hasEffects else { return nil }
        let limits = self.server.configuration.limits
        var edit = PolicyEdit(
            notes: self.notes,
            transaction: self.transaction,
            hook: hook,
            maximumRecipients: limits.maximumRecipients,
            maximumDelayMS: limits.maximumReplyDelayMS
        )
        if let violation = edit.apply(verdict) { return violation }
        if edit.replacementPath == nil { self.commit(edit) } else { self.question?.pending = edit }
        return nil
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
    func poolDone(_ outcome: PoolOutcome, peerUserID: UInt32 = .max) {
        guard let question = self.question else { return }
        if let edit = question.pending, let path = edit.replacementPath {
            return self.takeOver(path, edit, outcome, peerUserID)
        }
        if question.isSubmitting {
            self.question?.early = outcome
            return
        }
        if let decision = self.apply(outcome) ?? self.askNextPool() {
            self.handler?.policyDecided(decision)
        }
    }

    /// - Returns: The decision; `nil` if the next pool is to be asked.
    private func apply(_ outcome: PoolOutcome) -> PolicyDecision? {
        guard let question = self.question else { return nil }
        let pool = self.server.pools[question.pool]
        let policy = pool.configuration.policy(for: question.hook).onFailure
        self.record(outcome, question, pool: pool.name, policy: policy)
        switch outcome {
        case .answered(let verdict, let worker) where verdict.verdict != .declined:
            return self.decide(
                .verdict(verdict.verdict, verdict.reply),
                PolicyDecision.Decider(pool: pool.name, worker: worker, plugin: verdict.plugin)
            )
        case .answered, .passedOver: break
        case .failed(let reason, let worker):
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

    private func record(
        _ outcome: PoolOutcome,
        _ question: Question,
        pool: String,
        policy: FrontendConfiguration.FailurePolicy
    ) {
        guard self.server.isTraceWanted else { return }
        var entry = PolicyTrace.Entry(key: question.key, hook: question.hook, pool: pool)
        entry.microseconds = Int64(clamping: (self.server.nowNS &- question.askedNS) / 1_000)
        switch outcome {
        case .answered(let verdict, let worker):
            entry.worker = worker.name
            entry.plugin = verdict.plugin
            entry.verdict = verdict.verdict
        case .failed(let reason, let worker):
            entry.worker = worker?.name
            entry.failure = reason
            entry.policy = policy.rawValue
        case .passedOver: return
        }
        self.trace.record(entry)
        self.questionTrace.record(entry)
    }

    private func decide(
        _ outcome: PolicyDecision.Outcome,
        _ decider: PolicyDecision.Decider
    ) -> PolicyDecision {
        let delay = self.question?.delayMS ?? 0
        self.question = nil
        return PolicyDecision(outcome: outcome, decider: decider, delayMS: delay)
    }

    /// Lets the message say which pool did not see it; for operators who switched that on.
    private func markSkipped(pool: String, _ hook: Hook) {
        guard var headers = self.transaction?.headers,
            hook == .data_post || hook == .data_post_headers
        else { return }
        headers.add(
            name: Array("X-Gatepost-Skipped".utf8),
            value: Array(" pool=\(pool); hook=\(hook.rawValue)".utf8),
            atTop: true
        )
        self.transaction?.headers = headers
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
        let folder = server.spool.outFolder(pool: server.pools[question.pool].name)
        let destination = server.spool.newMessagePath()
        let limits = server.configuration.limits
        server.threads.runIfActive(eventLoop: server.loop) {
            try ReplacementMessage.take(
                path,
                folder: folder,
                owner: owner,
                limit: limits.maximumMessageOctets,
                headerLimit: limits.maximumHeaderOctets,
                destination: destination
            )
        }
        .assumeIsolated()
        .whenComplete { result in
            self.question?.pending = nil
            switch result {
            case .success(let taken) where self.message != nil:
                var edit = edit
                edit.messageReplaced(head: taken.head, size: taken.size)
                self.commit(edit)
                self.message?.replace(with: destination, size: taken.size)
                self.poolDone(outcome)
            case .success: server.removeSoon(destination)
            case .failure(let error):
                server.logger.warning(
                    "a worker's replacement message was refused",
                    metadata: ["file": "\(path)", "violation": "file_refused: \(error)"]
                )
                self.poolDone(.failed(reason: "invalid_verdict", worker: nil))
            }
        }
    }
}

// MARK: - Transactions

extension PolicyConversation {
    /// Begins the transaction that MAIL asks for; it counts once MAIL is granted.
    func transactionProposed(isSMTPUTF8: Bool) {
        self.transactionCount += 1
        self.transaction = MailTransaction(
            id: "\(self.facts.id).\(self.transactionCount)",
            isSMTPUTF8: isSMTPUTF8
        )
        self.notes.resetTransaction()
    }

    /// MAIL was refused: the transaction never was, and nobody is told that it ended.
    func transactionRefused(reply: SMTPReply) {
        self.logTransaction(decider: nil, reply: reply)
        self.transaction = nil
        self.notes.resetTransaction()
    }

    /// The transaction is over; tells those who want to know, once.
    ///
    /// `decider` is who took the message; `nil` if nobody did.
    func transactionEnded(reason: String, decider: PolicyDecision.Decider?, reply: SMTPReply?) {
        guard self.transaction != nil else { return }
        if decider != nil, let id = self.transaction?.id, let reply,
            self.server.isObserved(.queue_post)
        {
            self.notify(.queue_post, args: EventArguments.queued(id: id, reply: reply))
        }
        if self.server.isObserved(.reset_transaction) {
            self.notify(.reset_transaction, args: EventArguments.reason(reason))
        }
        self.logTransaction(decider: decider, reply: reply)
        self.message?.discard()
        self.message = nil
        self.isMessageComplete = false
        self.transaction = nil
        self.notes.resetTransaction()
    }

    private func logTransaction(decider: PolicyDecision.Decider?, reply: SMTPReply?) {
        guard let transaction = self.transaction else { return }
        self.summary.transactionEnded(
            transaction,
            facts: self.facts,
            decider: decider,
            reply: reply,
            logger: self.server.logger
        )
    }

    /// The session is over, whatever way it went.
    func sessionEnded(_ end: SessionEnd, counters: AbuseMeter) {
        self.cancelQuestion()
        self.transactionEnded(reason: "disconnect", decider: nil, reply: nil)
        let duration = self.server.nowMS - self.openedMS
        if self.server.isObserved(.disconnect) {
            self.notify(
                .disconnect,
                args: EventArguments.disconnect(reason: end.rawValue, durationMS: duration)
            )
        }
        self.summary.sessionEnded(
            self.facts,
            end: end,
            durationMS: duration,
            counters: counters,
            logger: self.server.logger
        )
    }

    // MARK: - Telling

    /// Tells every observer of `hook`; nobody waits.
    func notify(_ hook: Hook, args: [UInt8]) {
        for pool in self.server.pools { pool.notify(hook, from: self, args: args) }
    }

    /// Tells observers of `deny` and `ok` how a question ended.
    func notifyDecision(
        _ hook: Hook,
        _ decision: PolicyDecision,
        isRefusal: Bool,
        reply: SMTPReply?
    ) {
        let notification: Hook = isRefusal ? .deny : .ok
        guard decision.wasAsked, self.server.isObserved(notification) else { return }
        var verdict: Verdict = isRefusal ? .denysoft : .declined
        if case .verdict(let said, _) = decision.outcome { verdict = said }
        let args = EventArguments.decided(
            hook,
            verdict: verdict,
            decision: decision,
            reply: reply,
            trace: self.questionTrace.text
        )
        self.notify(notification, args: args)
    }
}

// MARK: - Events

extension PolicyConversation {
    /// Who is to get the event, and what they asked for.
    struct Addressee {
        let needs: EventNeeds
        let maximumFrameOctets: Int
    }

    /// Writes the open question as an event line.
    ///
    /// - Returns: False, and nothing is written, when it does not fit even without its optional parts.
    func writeEvent(
        id: Int64,
        attempt: Int,
        deadlineMS: Int64,
        to addressee: Addressee,
        into writer: inout JSONWriter
    ) -> Bool {
        guard let question = self.question else { return false }
        return self.write(question.hook, args: question.args, to: addressee, into: &writer) {
            writer in
            writer.key("type")
            writer.string("event")
            writer.key("id")
            writer.int(id)
            writer.key("key")
            writer.string(question.key)
            writer.key("attempt")
            writer.int(Int64(attempt))
            writer.key("deadline_ms")
            writer.int(deadlineMS)
        }
    }

    /// Writes a notification line; false when it does not fit.
    func writeNotification(
        _ hook: Hook,
        args: [UInt8],
        to addressee: Addressee,
        into writer: inout JSONWriter
    ) -> Bool {
        self.write(hook, args: args, to: addressee, into: &writer) { writer in
            writer.key("type")
            writer.string("notify")
        }
    }

    private func write(
        _ hook: Hook,
        args: [UInt8],
        to addressee: Addressee,
        into writer: inout JSONWriter,
        _ head: (inout JSONWriter) -> Void
    ) -> Bool {
        let start = writer.octets.count
        var elided: [String] = []
        var needs = addressee.needs
        while true {
            writer.beginObject()
            head(&writer)
            writer.key("hook")
            writer.string(hook.rawValue)
            writer.key("session")
            self.facts.encode(counters: self.counters, into: &writer)
            self.writeTransaction(needs, into: &writer)
            writer.key("args")
            writer.raw(args)
            writer.key("notes")
            writer.raw(self.notes.text(hasTransaction: self.transaction != nil))
            if !elided.isEmpty {
                writer.key("elided")
                writer.beginArray()
                for part in elided { writer.string(part) }
                writer.endArray()
            }
            if needs.contains(.trace) {
                writer.key("trace")
                writer.raw(self.trace.text)
            }
            writer.endObject()
            writer.newline()
            if writer.octets.count - start <= addressee.maximumFrameOctets { return true }
            writer.truncate(to: start)
            if needs.contains(.headers) {
                needs.remove(.headers)
                elided.append("headers")
            } else if needs.contains(.recipients) {
                needs.remove(.recipients)
                elided.append("recipients")
            } else {
                return false
            }
        }
    }

    private func writeTransaction(_ needs: EventNeeds, into writer: inout JSONWriter) {
        guard let transaction = self.transaction else { return }
        writer.key("transaction")
        writer.beginObject()
        writer.key("id")
        writer.string(transaction.id)
        writer.key("sender")
        if let sender = transaction.sender {
            EventArguments.encode(sender, id: nil, into: &writer)
        } else {
            writer.null()
        }
        writer.key("recipient_count")
        writer.int(Int64(transaction.recipients.count))
        if needs.contains(.recipients) {
            writer.key("recipients")
            writer.beginArray()
            for recipient in transaction.recipients {
                EventArguments.encode(recipient.address, id: recipient.id, into: &writer)
            }
            writer.endArray()
        }
        if needs.contains(.headers), let headers = self.transaction?.headers, self.message != nil {
            self.write(headers, into: &writer)
        }
        if needs.contains(.message), self.isMessageComplete, let path = self.message?.path {
            writer.key("message")
            writer.beginObject()
            writer.key("path")
            writer.string(path)
            writer.key("size")
            writer.int(Int64(transaction.size))
            writer.key("body_offset")
            writer.int(Int64(transaction.bodyOffset))
            writer.endObject()
        }
        writer.endObject()
    }

    private func write(_ headers: HeaderList, into writer: inout JSONWriter) {
        writer.key("headers")
        writer.beginArray()
        for field in headers.fields {
            writer.beginObject()
            writer.key("id")
            writer.int(Int64(field.id))
            writer.key("name")
            writer.bytes(field.name)
            writer.key("value")
            writer.bytes(field.value)
            writer.endObject()
        }
        writer.endArray()
    }

    /// What makes this question this client's and no other's, so that its next attempt is known again
    /// when two workers have died of it, and nobody else is hit.
    var fingerprint: UInt64 {
        var hash = StableHash()
        hash.combine(Array((self.question?.hook.rawValue ?? "").utf8))
        hash.combine(Array(self.facts.clientIP.utf8))
        hash.combine(self.facts.hello?.name ?? [])
        hash.combine(self.question.map { $0.hook == .queue ? [] : $0.args } ?? [])
        hash.combine(self.transaction?.sender?.address ?? [])
        for recipient in self.transaction?.recipients ?? [] {
            hash.combine(recipient.address.address)
        }
        hash.combine(Array("\(self.transaction?.size ?? 0)".utf8))
        hash.combine(self.transaction?.headerOctets ?? [])
        return hash.value
    }
}

/// FNV-1a, 64 bits: the same in every run.
struct StableHash {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func combine(_ octets: [UInt8]) {
        for octet in octets { self.value = (self.value ^ UInt64(octet)) &* 0x0000_0100_0000_01B3 }
        self.value = (self.value ^ 0xFF) &* 0x0000_0100_0000_01B3
    }
}
