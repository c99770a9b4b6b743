import Logging
import PolicyProtocol
import SMTPCore

// swift-format-ignore: AlwaysUseLowerCamelCase
/// How a session ended: the reasons of the `disconnect` notification.
enum SessionEnd: String {
    case quit
    case client_gone
    case timeout
    /// We closed it with a refusal.
    case refused
    case shutdown
    case error
}

/// What the log says of a session and of each of its transactions: one line each, with the plugin,
/// the worker and the reply that decided.
struct SessionSummary {
    /// A question that was answered with a refusal.
    struct Refusal {
        let hook: Hook
        let decision: PolicyDecision
        let reply: SMTPReply
    }

    private var lastReply: SMTPReply?
    private var lastRefusal: Refusal?
    private var transactionRefusal: Refusal?
    private(set) var skipped: [String] = []
    private var accepted = 0
    private var refused = 0
    private var recipientsRefused = 0

    mutating func replied(_ reply: SMTPReply) { self.lastReply = reply }

    /// A pool that could not answer was passed over, as its operator wants.
    mutating func skipped(pool: String, hook: Hook, reason: String) {
        if self.skipped.count < 32 { self.skipped.append("\(pool)/\(hook.rawValue)/\(reason)") }
    }

    mutating func refused(at hook: Hook, _ decision: PolicyDecision, reply: SMTPReply) {
        let refusal = Refusal(hook: hook, decision: decision, reply: reply)
        self.lastRefusal = refusal
        self.transactionRefusal = refusal
        if hook == .rcpt { self.recipientsRefused += 1 }
    }

    // MARK: - Lines

    /// One line for a transaction that MAIL asked for.
    ///
    /// `decider` is who took the message; `nil` if nobody did.
    mutating func transactionEnded(
        _ transaction: MailTransaction,
        facts: SessionFacts,
        decider: PolicyDecision.Decider?,
        reply: SMTPReply?,
        logger: Logger
    ) {
        if decider != nil { self.accepted += 1 } else { self.refused += 1 }
        let refusal = self.transactionRefusal
        let skipped = self.skipped
        let recipientsRefused = self.recipientsRefused
        self.transactionRefusal = nil
        self.recipientsRefused = 0
        self.skipped = []
        guard logger.logLevel <= .info else { return }
        var metadata: Logger.Metadata = [
            "transaction": "\(transaction.id)",
            "client": "\(facts.clientIP)",
            "result": decider != nil ? "accepted" : "not accepted",
            "recipients": "\(transaction.recipients.count)",
            "sender": .string(Self.text(transaction.sender?.address ?? [])),
        ]
        if let first = transaction.recipients.first ?? transaction.candidate {
            metadata["recipient"] = .string(Self.text(first.address.address))
        }
        if recipientsRefused > 0 { metadata["recipients_refused"] = "\(recipientsRefused)" }
        if transaction.size > 0 { metadata["octets"] = "\(transaction.size)" }
        if !skipped.isEmpty { metadata["skipped"] = "\(skipped.joined(separator: ","))" }
        if let decider {
            Self.add(decider, to: &metadata)
        } else if let refusal {
            Self.add(refusal, to: &metadata)
        }
        if metadata["reply"] == nil, let reply {
            metadata["reply"] = .string(Self.text(reply.wire))
        }
        logger.info("transaction", metadata: metadata)
    }

    /// One line for the session.
    func sessionEnded(
        _ facts: SessionFacts,
        end: SessionEnd,
        durationMS: Int64,
        counters: AbuseMeter,
        logger: Logger
    ) {
        guard logger.logLevel <= .info else { return }
        var metadata: Logger.Metadata = [
            "session": "\(facts.id)",
            "listener": "\(facts.listener)",
            "client": "\(facts.clientIP)",
            "end": "\(end.rawValue)",
            "ms": "\(durationMS)",
            "commands": "\(counters.commands)",
            "errors": "\(counters.errors)",
            "accepted": "\(self.accepted)",
            "not_accepted": "\(self.refused)",
        ]
        if let hello = facts.hello { metadata["helo"] = .string(Self.text(hello.name)) }
        if facts.isEarlyTalker { metadata["early_talker"] = "true" }
        if !self.skipped.isEmpty { metadata["skipped"] = "\(self.skipped.joined(separator: ","))" }
        if let refusal = self.lastRefusal { Self.add(refusal, to: &metadata) }
        if metadata["reply"] == nil, end != .quit, let reply = self.lastReply {
            metadata["reply"] = .string(Self.text(reply.wire))
        }
        logger.info("session", metadata: metadata)
    }

    private static func add(_ refusal: Refusal, to metadata: inout Logger.Metadata) {
        metadata["hook"] = "\(refusal.hook.rawValue)"
        switch refusal.decision.outcome {
        case .undecided: metadata["verdict"] = "undecided"
        case .verdict(let verdict, _): metadata["verdict"] = "\(verdict.rawValue)"
        case .failed(_, let reason): metadata["failure"] = "\(reason)"
        case .spoolFailed(let error): metadata["failure"] = "\(error)"
        }
        metadata["reply"] = .string(Self.text(refusal.reply.wire))
        self.add(refusal.decision.decider, to: &metadata)
    }

    private static func add(_ decider: PolicyDecision.Decider, to metadata: inout Logger.Metadata) {
        if let pool = decider.pool { metadata["pool"] = "\(pool)" }
        if let worker = decider.worker { metadata["worker"] = "\(worker)" }
        if let plugin = decider.plugin { metadata["plugin"] = "\(plugin)" }
    }

    /// Octets of a client or a worker for the log: at most 200 of them; the handler escapes the rest.
    private static func text(_ octets: [UInt8]) -> String {
        var octets = octets[...]
        while let last = octets.last, last == 0x0D || last == 0x0A { octets.removeLast() }
        return String(decoding: octets.prefix(200), as: UTF8.self)
    }
}
