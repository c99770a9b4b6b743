package import PolicyKit
import SPF

/// Asks the sender's domain whether the client may send for it (SPF, RFC 7208).
///
/// See README.md.
package struct SenderPermittedFrom: MailHook, RcptHook, DataPostHook {
    package static let name = "sender_permitted_from"
    package static let aliases = ["spf"]

    /// `nil`: as the file `spfbehavior` says.
    private let level: Int?
    private let behavior: ControlFile<Int>
    /// The level for messages whose author's domain has no DMARC policy; 0: nothing is refused for it.
    private let levelWithoutDMARC: Int
    /// Whether a sender is refused at `rcpt`, by the level of each recipient.
    private let isPerRecipient: Bool
    private let refusalType: RefusalType
    private let time: Duration
    private let resolver: any NameResolver
    private let hostname: String

    package init(configuration: PluginConfiguration) throws {
        let level = configuration.argument("reject", as: .integer(in: Judgement.levels))
        let old = configuration.argument("spf_deny", as: .integer(in: 0...2))
        if level != nil, old != nil {
            configuration.record("reject and spf_deny are the same; write reject")
        }
        self.isPerRecipient = configuration.argument("per_recipient", as: .flag, default: false)
        // qpsmtpd's spf_deny: 1 refuses fail, 2 softfail as well.
        self.level = level ?? old.flatMap { $0 == 0 ? nil : $0 + 2 }
        // It begins with `fail`, which is 3 at MAIL.
        let withoutDMARC = configuration.argument(
            "no_dmarc_policy",
            as: .integer(in: 0...4),
            default: 0
        )
        self.levelWithoutDMARC = withoutDMARC == 0 ? 0 : withoutDMARC + 2
        self.refusalType = configuration.refusalType()
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100) ... .seconds(60)),
            default: .seconds(20)  // RFC 7208 §4.6.4
        )
        self.behavior = try configuration.controlFile("spfbehavior") { lines in
            guard let line = lines.first else { return Judgement.annotates }
            guard let level = Int(line.text), Judgement.levels.contains(level) else {
                throw line.problem("\(line.text) is no number from 0 to 6")
            }
            return level
        }
        self.resolver = try configuration.resolver()
        self.hostname = configuration.shared.hostname
    }

    package func subscription(at hook: Hook) -> Subscription? {
        hook == .rcpt && !self.isPerRecipient ? nil : Subscription()
    }

    package func mail(_ event: MailEvent) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        let sender = event.sender
        if !sender.isNull, sender.domain.octets.isEmpty { return event.skip("no domain") }
        let client = try event.clientAddress()
        let hello = event.session.hello?.name ?? ""
        let lookup = SPFLookup(
            resolver: self.resolver,
            deadline: .now + min(self.time, event.workingTime)
        )
        let finding = await lookup.evaluate(
            SPFIdentity(
                client: client,
                hello: hello.octets,
                // Of the local part, macros want what it means: without quotes.
                sender: sender.isNull ? [] : sender.local.octets + [0x40] + sender.domain.octets,
                receiver: Array(self.hostname.utf8),
                seconds: event.nowMilliseconds / 1_000
            )
        )
        self.note(finding, isHelo: sender.isNull, event)
        let judgement = Judgement(finding, isHelo: sender.isNull, client: event.session.client.ip)
        let field = ReceivedSPF(
            finding: finding,
            isHelo: sender.isNull,
            client: client,
            sender: sender.address,
            hello: hello,
            receiver: self.hostname,
            allows8Bit: sender.params.contains { $0.keyword == "SMTPUTF8" }
        )
        event.notes[.receivedSPF] = field.value
        switch finding.result {
        case .pass: return event.pass("\(finding.domain): \(finding.mechanism ?? "all")")
        case .temperror, .permerror: event.error("\(finding.domain): \(finding.problem ?? "")")
        case .none, .neutral, .fail, .softfail: break
        }
        guard !self.isPerRecipient else { return event.info("\(finding.result.rawValue)") }
        return self.answer(judgement, level: self.level(event), event)
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        guard let note = event.notes[.spf],
            let judgement = Judgement(note, client: event.session.client.ip)
        else { return .declined }
        let own = event.value(of: self.behavior, for: event.recipient)
        return self.answer(judgement, level: own ?? self.level(event), event)
    }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        if self.level(event) >= Judgement.annotates, let value = event.notes[.receivedSPF] {
            event.addHeader("Received-SPF", value)
        }
        guard self.levelWithoutDMARC > 0, !event.isImmune, let note = event.notes[.spf],
            event.notes[.dmarc]?["result"] == .string("none"),
            let judgement = Judgement(note, client: event.session.client.ip)
        else { return .declined }
        return self.answer(judgement, level: self.levelWithoutDMARC, event)
    }

    private func level<Stage>(_ event: HookEvent<Stage>) -> Int {
        self.level ?? event.value(of: self.behavior)
    }

    private func note(_ finding: SPFFinding, isHelo: Bool, _ event: MailEvent) {
        let identity = isHelo ? "helo" : "mailfrom"
        let result = finding.result.rawValue
        event.notes[.spf] = .object([
            "result": .string(result), "domain": .string(finding.domain),
            "identity": .string(identity),
        ])
        // As qpsmtpd's plugins know it.
        event.notes[.dmarcSPF] = .object([
            "result": .string(result), "domain": .string(finding.domain),
            "scope": .string(isHelo ? "helo" : "mfrom"),
        ])
        let domain =
            finding.domain.isEmpty
            ? "" : " smtp.\(identity)=\(ResultText.value(finding.domain.utf8))"
        event.addAuthenticationResult("spf=\(result)\(domain)")
        switch finding.result {
        case .pass:
            event.adjustKarma(by: 1)
            if !isHelo { event.notes[.spfPassHost] = finding.domain }

        case .fail, .softfail: event.adjustKarma(by: -1)
        case .none, .neutral, .temperror, .permerror: break
        }
    }

    private func answer<Stage>(
        _ judgement: Judgement,
        level: Int,
        _ event: HookEvent<Stage>
    ) -> Answer {
        let isRefused = judgement.leastLevel.map { level >= $0 } ?? false
        switch judgement.result {
        case .temperror:
            guard isRefused else { return .declined }
            return .denysoft(judgement.text, code: 451, status: "4.\(judgement.detail)")

        case .pass, .none, .neutral, .permerror:
            if !isRefused { return event.pass(judgement.text) }
        case .fail, .softfail: break
        }
        return event.refuse(
            Refusal(isRefused ? .reject : .tolerate, self.refusalType),
            judgement.text,
            detail: judgement.detail,
            code: self.refusalType.isPermanent ? 550 : 451
        )
    }
}

extension NoteKey<JSONValue> {
    /// What qpsmtpd's plugins know of SPF: an object with `result`, `domain`, and `scope` (`mfrom` or `helo`).
    static let dmarcSPF = NoteKey("dmarc_spf", in: .transaction)
}

extension NoteKey<String> {
    /// The sender's domain, where SPF says that the client may send for it.
    static let spfPassHost = NoteKey("spf_pass_host", in: .transaction)
    /// The value of the field Received-SPF that the message gets.
    static let receivedSPF = NoteKey("received_spf", in: .transaction)
}
