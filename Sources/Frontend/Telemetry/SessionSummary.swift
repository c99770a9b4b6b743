import Logging
import PolicyCore
import PolicyProtocol
import SMTPCore
import ServiceLog

/// The log lines about a session: one for the session, one for each of its transactions, and one
/// for each refusal that is in neither of these.
///
/// A client can cause refusals as fast as it sends, so the number of lines a second is limited;
/// further lines are counted.
struct SessionSummary {
    private var lastReply: SMTPReply?
    /// Our reply after which the session was closed; `nil` when the client ended it.
    private(set) var closingReply: SMTPReply?
    private var lastRefusal: PolicySession.Refusal?
    private var transactionRefusal: PolicySession.Refusal?
    /// The limit that ended the session; `nil` if the reply alone says why.
    private(set) var excess: ClientBudgets.Excess?
    private(set) var skipped: [String] = []
    private var accepted = 0
    private var refused = 0
    private var recipientsRefused = 0
    private var throttle = LogThrottle()

    mutating func replied(_ reply: SMTPReply) { self.lastReply = reply }

    /// We close the session after `reply`.
    mutating func closed(by reply: SMTPReply) {
        if reply.code.rawValue != 221 { self.closingReply = reply }
    }

    /// A limit of the client's time or rate ends the session.
    mutating func exceeded(_ excess: ClientBudgets.Excess) { self.excess = excess }

    /// A pool could not answer and was skipped (`on_failure = "skip"`).
    mutating func skipped(pool: String, hook: Hook, reason: String) {
        if self.skipped.count < 32 { self.skipped.append("\(pool)/\(hook.rawValue)/\(reason)") }
    }

    // MARK: - Lines

    /// Logs a refusal by policy, unless it ends the transaction or the session: then it is in that
    /// line.
    mutating func refused(
        _ refusal: PolicySession.Refusal,
        in transaction: String?,
        facts: SessionFacts,
        log: (logger: Logger, nowMS: Int64)
    ) {
        self.lastRefusal = refusal
        self.transactionRefusal = refusal
        if refusal.recipient != nil { self.recipientsRefused += 1 }
        switch refusal.hook {
        case .rcpt: break
        case .data_post, .queue: if refusal.recipient == nil { return }
        case .helo, .ehlo, .auth, .vrfy, .help, .noop, .unrecognized_command: break
        case .connect, .mail, .data, .data_headers_end, .received_line, .data_post_headers,
            .queue_pre, .quit, .reset_transaction, .queue_post, .deny, .ok,
            .disconnect, .status:
            return
        }
        let message: Logger.Message =
            refusal.recipient != nil ? "a recipient was refused" : "a command was refused"
        self.logSparingly(message, transaction, facts, log) { metadata in
            if let recipient = refusal.recipient { metadata["recipient"] = .octets(recipient) }
            Self.add(refusal, to: &metadata)
        }
    }

    /// Logs a command that was refused without asking policy.
    ///
    /// `line` is the command; it is logged only for MAIL and RCPT, since others may hold a
    /// password.
    mutating func refused(
        _ reply: SMTPReply,
        line: some Collection<UInt8>,
        in transaction: String?,
        facts: SessionFacts,
        log: (logger: Logger, nowMS: Int64)
    ) {
        self.logSparingly("a command was refused", transaction, facts, log) { metadata in
            Self.add(reply, to: &metadata)
            let verb = line.prefix(4).map { $0 & 0xDF }
            if verb.elementsEqual("MAIL".utf8) || verb.elementsEqual("RCPT".utf8) {
                metadata["command"] = Self.line(line)
            }
        }
    }

    /// Logs why a connection could not be encrypted.
    mutating func handshakeFailed(
        _ reason: String,
        facts: SessionFacts,
        log: (logger: Logger, nowMS: Int64)
    ) {
        self.logSparingly("a TLS handshake failed", nil, facts, log) { metadata in
            metadata["error"] = .string(reason)
        }
    }

    /// Logs why a PROXY header was not taken.
    mutating func proxyHeaderRefused(
        _ reason: String,
        facts: SessionFacts,
        log: (logger: Logger, nowMS: Int64)
    ) {
        self.logSparingly("a PROXY header was refused", nil, facts, log) { metadata in
            metadata["error"] = .string(reason)
        }
    }

    private mutating func logSparingly(
        _ message: Logger.Message,
        _ transaction: String?,
        _ facts: SessionFacts,
        _ log: (logger: Logger, nowMS: Int64),
        _ add: (inout Logger.Metadata) -> Void
    ) {
        guard log.logger.logLevel <= .info, let suppressed = self.throttle.admits(now: log.nowMS)
        else { return }
        var metadata: Logger.Metadata = [
            "session": .string(facts.id), "client": .string(facts.client.ip),
        ]
        if let transaction { metadata["transaction"] = .string(transaction) }
        if suppressed > 0 { metadata["lines_suppressed"] = .number(suppressed) }
        add(&metadata)
        log.logger.info(message, metadata: metadata)
    }

    /// Logs the end of a transaction, also of one that MAIL asked for and that was refused.
    ///
    /// `octets` is the size of the message as the client sent it; `nil` if DATA was not granted.
    mutating func transactionEnded(
        _ end: PolicySession.TransactionEnd,
        octets: Int?,
        facts: SessionFacts,
        logger: Logger
    ) {
        if end.decider != nil { self.accepted += 1 } else { self.refused += 1 }
        let refusal = self.transactionRefusal
        let skipped = self.skipped
        let recipientsRefused = self.recipientsRefused
        self.transactionRefusal = nil
        self.recipientsRefused = 0
        self.skipped = []
        guard logger.logLevel <= .info else { return }
        var metadata: Logger.Metadata = [
            "session": .string(facts.id),
            "transaction": .string(end.id),
            "client": .string(facts.client.ip),
            "result": end.decider != nil ? "accepted" : "not accepted",
            "end": .string(end.reason),
            "recipients": .number(end.recipients.count),
            "sender": .octets(end.sender),
        ]
        if let first = end.recipients.first ?? end.candidate {
            metadata["recipient"] = .octets(first.address.address)
        }
        if recipientsRefused > 0 { metadata["recipients_refused"] = .number(recipientsRefused) }
        if let octets { metadata["octets"] = .number(octets) }
        if !skipped.isEmpty { metadata["skipped"] = "\(skipped.joined(separator: ","))" }
        if let forwarded = facts.forwarded { metadata["xforward"] = .octets(forwarded.text) }
        if let decider = end.decider {
            if let reply = end.reply { metadata["reply"] = Self.line(reply.wire) }
            Self.add(decider, to: &metadata)
        } else if let reply = end.reply, !reply.code.isPositive {
            Self.add(reply, to: &metadata)
            // The last refusal may be another one, for example that of a recipient.
            if let refusal, refusal.reply == reply { Self.add(refusal, to: &metadata) }
        }
        logger.info("transaction", metadata: metadata)
        Self.logMoreRecipients(end, facts: facts, logger: logger)
    }

    /// Logs the recipients after the first, which is in the transaction's line: as many to a line
    /// as one value of a log line can hold.
    private static func logMoreRecipients(
        _ end: PolicySession.TransactionEnd,
        facts: SessionFacts,
        logger: Logger
    ) {
        var addresses: [UInt8] = []
        func log() {
            guard !addresses.isEmpty else { return }
            let metadata: Logger.Metadata = [
                "session": .string(facts.id),
                "transaction": .string(end.id),
                "addresses": .octets(addresses),
            ]
            logger.info("more recipients", metadata: metadata)
            addresses.removeAll(keepingCapacity: true)
        }
        for recipient in end.recipients.dropFirst() {
            let address = recipient.address.address
            if addresses.count + address.count >= LogOctets.maximumCount { log() }
            if !addresses.isEmpty { addresses.append(UInt8(ascii: ",")) }
            addresses += address
        }
        log()
    }

    /// Logs the end of the session.
    func sessionEnded(
        _ facts: SessionFacts,
        end: SessionEnd,
        durationMS: Int64,
        counters: AbuseMeter,
        logger: Logger
    ) {
        guard logger.logLevel <= .info else { return }
        var metadata: Logger.Metadata = [
            "session": .string(facts.id),
            "listener": .string(facts.listener),
            "client": .string(facts.client.ip),
            "end": .string(end.rawValue),
            "ms": .number(durationMS),
            "commands": .number(counters.commands),
            "errors": .number(counters.errors),
            "accepted": .number(self.accepted),
            "not_accepted": .number(self.refused),
        ]
        if let proxy = facts.proxy { metadata["proxy"] = .string(proxy.ip) }
        if let hello = facts.hello { metadata["helo"] = .octets(hello.name) }
        if let excess = self.excess { metadata["limit"] = .string(excess.rawValue) }
        if facts.isEarlyTalker { metadata["early_talker"] = .stringConvertible(true) }
        if !self.skipped.isEmpty { metadata["skipped"] = "\(self.skipped.joined(separator: ","))" }
        let suppressed = self.throttle.suppressed
        if suppressed > 0 { metadata["lines_suppressed"] = .number(suppressed) }
        if let reply = self.closingReply {
            Self.add(reply, to: &metadata)
            if let refusal = self.lastRefusal, refusal.reply == reply {
                Self.add(refusal, to: &metadata)
            }
        } else if let refusal = self.lastRefusal {
            Self.add(refusal, to: &metadata)
        } else if end != .quit, let reply = self.lastReply {
            metadata["reply"] = Self.line(reply.wire)
        }
        logger.info("session", metadata: metadata)
    }

    // MARK: - Parts of a line

    private static func add(
        _ refusal: PolicySession.Refusal,
        to metadata: inout Logger.Metadata
    ) {
        metadata["hook"] = "\(refusal.hook.rawValue)"
        switch refusal.decision.outcome {
        case .undecided: metadata["verdict"] = "undecided"
        case .verdict(let verdict, _): metadata["verdict"] = "\(verdict.rawValue)"
        case .failed(_, let reason): metadata["failure"] = "\(reason)"
        case .spoolFailed(let error): metadata["failure"] = "\(error)"
        }
        self.add(refusal.reply, to: &metadata)
        self.add(refusal.decision.decider, to: &metadata)
    }

    /// A reply that refuses, and why it was given.
    private static func add(_ reply: SMTPReply, to metadata: inout Logger.Metadata) {
        metadata["reply"] = self.line(reply.wire)
        metadata["reason"] = "\(reply.cause.rawValue)"
    }

    private static func add(_ decider: PolicyDecision.Decider, to metadata: inout Logger.Metadata) {
        if let pool = decider.pool { metadata["pool"] = .string(pool) }
        if let worker = decider.worker { metadata["worker"] = "\(worker)" }
        if let plugin = decider.plugin { metadata["plugin"] = .string(plugin) }
    }

    /// At most 200 octets of a reply or a command, without the end of the line.
    private static func line(_ octets: some Collection<UInt8>) -> Logger.MetadataValue {
        var octets = Array(octets.prefix(200))
        while let last = octets.last, last == 0x0D || last == 0x0A { octets.removeLast() }
        return .octets(octets)
    }
}
