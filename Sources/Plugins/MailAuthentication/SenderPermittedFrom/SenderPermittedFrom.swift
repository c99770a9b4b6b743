package import PolicyKit
import SPF

/// Asks the sender's domain whether the client may send for it (SPF, RFC 7208).
///
/// See README.md.
package struct SenderPermittedFrom: MailHook, DataPostHook {
    package static let name = "sender_permitted_from"
    package static let aliases = ["spf"]

    /// What is refused, each with all before it: the argument `reject`.
    private enum Level {
        static let annotates = 1
        static let defersErrors = 2
        static let refusesFail = 3
        static let refusesSoftfail = 4
        static let refusesNeutral = 5
        static let refusesAllButPass = 6
        static let range = 0...6
    }

    /// `nil`: as the file `spfbehavior` says.
    private let level: Int?
    private let behavior: ControlFile<Int>
    private let refusalType: RefusalType
    private let time: Duration
    private let resolver: any NameResolver
    private let hostname: String

    package init(configuration: PluginConfiguration) throws {
        let level = configuration.argument("reject", as: .integer(in: Level.range))
        let old = configuration.argument("spf_deny", as: .integer(in: 0...2))
        if level != nil, old != nil {
            configuration.record("reject and spf_deny are the same; write reject")
        }
        // qpsmtpd's spf_deny: 1 refuses fail, 2 softfail as well.
        self.level = level ?? old.flatMap { $0 == 0 ? nil : $0 + 2 }
        self.refusalType = configuration.refusalType()
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100) ... .seconds(60)),
            default: .seconds(20)  // RFC 7208 §4.6.4
        )
        self.behavior = try configuration.controlFile("spfbehavior") { lines in
            guard let line = lines.first else { return Level.annotates }
            guard let level = Int(line.text), Level.range.contains(level) else {
                throw line.problem("\(line.text) is no number from 0 to 6")
            }
            return level
        }
        self.resolver = try configuration.resolver()
        self.hostname = configuration.shared.hostname
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
        return self.answer(finding, isHelo: sender.isNull, event)
    }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        guard self.level(event) >= Level.annotates, let value = event.notes[.receivedSPF] else {
            return .declined
        }
        event.addHeader("Received-SPF", value)
        return .declined
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

    private func answer(_ finding: SPFFinding, isHelo: Bool, _ event: MailEvent) -> Answer {
        let domain = finding.domain
        let client = event.session.client.ip
        // A bounce must not be refused because its server has no policy for its own name.
        let all = isHelo ? Level.range.upperBound + 1 : Level.refusesAllButPass
        switch finding.result {
        case .pass: return event.pass("\(domain): \(finding.mechanism ?? "all")")
        case .fail:
            let act = isHelo ? "call itself \(domain)" : "send mail for \(domain)"
            var text = "\(client) is not allowed to \(act) (SPF)"
            if let explanation = finding.explanation, !explanation.isEmpty {
                text += "\n\(domain) says: \(explanation)"
            }
            return self.refuse(event, from: Level.refusesFail, text, "7.23")

        case .softfail:
            let text = "\(domain) does not expect mail from \(client) (SPF softfail)"
            return self.refuse(event, from: Level.refusesSoftfail, text, "7.23")

        case .neutral:
            let text = "\(domain) does not vouch for \(client) (SPF neutral)"
            return self.refuse(
                event,
                from: isHelo ? all : Level.refusesNeutral,
                text,
                "7.23",
                isFailure: false
            )

        case .none:
            let text = "\(domain) has no SPF record"
            return self.refuse(event, from: all, text, "7.23", isFailure: false)

        case .permerror:
            let problem = finding.problem ?? "unusable"
            event.error("\(domain): \(problem)")
            let text = "The SPF record of \(domain) cannot be used: \(problem)"
            return self.refuse(event, from: Level.refusesAllButPass, text, "7.24")

        case .temperror:
            event.error(finding.problem ?? "the DNS does not answer")
            guard self.level(event) >= Level.defersErrors else { return .declined }
            // RFC 7372 §3.2.
            return .denysoft(
                "Could not look up the SPF record of \(domain), try again later",
                code: 451,
                status: "4.7.24"
            )
        }
    }

    /// Refuses if the level is at least `least`; else a result that is no failure is only noted.
    private func refuse(
        _ event: MailEvent,
        from least: Int,
        _ text: String,
        _ detail: String,
        isFailure: Bool = true
    ) -> Answer {
        let isRefused = self.level(event) >= least
        if !isRefused, !isFailure { return event.pass(text) }
        return event.refuse(
            Refusal(isRefused ? .reject : .tolerate, self.refusalType),
            text,
            detail: detail,
            code: self.refusalType.isPermanent ? 550 : 451
        )
    }
}

extension NoteKey<String> {
    /// The sender's domain, where SPF says that the client may send for it.
    static let spfPassHost = NoteKey("spf_pass_host", in: .transaction)
    /// The value of the field Received-SPF that the message gets.
    static let receivedSPF = NoteKey("received_spf", in: .transaction)
}
