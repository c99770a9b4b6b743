import DomainNames
package import PolicyKit

/// Asks whether a recipient exists where its mail goes, before the message is taken.
///
/// See README.md.
package struct RcptVerify: RcptHook {
    package static let name = "rcpt_verify"

    private enum Method: String, CaseIterable, Sendable {
        case smtp, lmtp, http, command, ldap
    }

    private enum FailurePolicy: String, CaseIterable, Sendable {
        case tempfail, accept
    }

    /// How a source is asked.
    struct Limits: Sendable {
        /// For each question.
        let time: Duration
        let atOnce: Int
        /// How long it is left alone when it failed.
        let rest: Duration
    }

    private enum Outcome {
        case known(RecipientFinding)
        case storeFailed(Answer)
    }

    private let method: Method
    private let questions: RecipientQuestions
    private let limits: Limits
    private let domains: LocalDomains?
    private let files: LocalDomainFiles
    private let probes: Bool
    private let lifetimes: (positive: Duration, negative: Duration)
    private let onFailure: FailurePolicy
    private let store: PluginStore
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.method = try configuration.requiredPositional("method", as: .choice)
        // The place is read before the named arguments, and the time with them.
        let limits = { () -> Limits in
            Limits(
                time: configuration.argument(
                    "timeout",
                    as: .duration(in: .milliseconds(100)...(.seconds(60))),
                    default: .seconds(5)
                ),
                atOnce: configuration.argument(
                    "max_connections",
                    as: .integer(in: 1...64),
                    default: 8
                ),
                rest: configuration.argument(
                    "rest",
                    as: .duration(in: .zero ... .seconds(3_600)),
                    default: .seconds(10)
                )
            )
        }
        let source: any RecipientSource
        switch self.method {
        case .smtp, .lmtp:
            let dialect: SMTPClientMachine.Dialect = self.method == .smtp ? .smtp : .lmtp
            let route = try configuration.requiredPositional("server", as: .servers(dialect))
            self.limits = limits()
            source = NextHopSource(configuration, dialect, route, self.limits)

        case .http:
            source = try HTTPSource(configuration)
            self.limits = limits()

        case .command:
            source = try CommandSource(configuration)
            self.limits = limits()

        case .ldap:
            source = try DirectorySource(configuration)
            self.limits = limits()
        }
        self.questions = RecipientQuestions(
            source,
            atOnce: self.limits.atOnce,
            rest: self.limits.rest,
            on: configuration.shared.eventLoop
        )
        self.domains = configuration.argument("domains", as: .domains)
        self.files = try LocalDomainFiles(configuration)
        self.probes = configuration.argument("probe", as: .flag, default: false)
        let times = ArgumentType<Duration>.duration(in: .zero ... .seconds(86_400 * 100))
        self.lifetimes = (
            configuration.argument("cache_positive", as: times, default: .seconds(86_400)),
            configuration.argument("cache_negative", as: times, default: .seconds(3_600))
        )
        self.onFailure = configuration.argument("on_failure", as: .choice, default: .tempfail)
        self.store = configuration.guardedStore()
        self.refusal = configuration.refusal()
    }

    package func stop() async { await self.questions.source.stop() }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        let recipient = event.recipient
        guard !recipient.domain.octets.isEmpty else { return event.skip("postmaster") }
        let domain = DomainSpelling.canonical(recipient.domain.octets)
        guard self.domains?.contains(domain) ?? self.files.contains(domain, event) else {
            return event.skip("another domain")
        }
        let asked = AskedRecipient(recipient)
        guard asked.isText else { return self.answer(.noMailbox, event) }
        if self.probes {
            let invented = AskedRecipient(inventedFor: domain)
            let key = self.key("probe", domain)
            switch try await self.outcome(invented, key, self.lifetimes.positive, event) {
            case .storeFailed(let answer): return answer
            case .known(.exists):
                let name = String(decoding: domain, as: UTF8.self)
                return event.skip(
                    "\(self.questions.source.name) accepts every recipient of \(name)"
                )

            case .known(.unknown(let reason, _)): return self.putOff(reason, event)
            case .known(.missing): break
            }
        }
        let key = self.key("recipient", asked.key)
        switch try await self.outcome(asked, key, self.lifetimes.negative, event) {
        case .storeFailed(let answer): return answer
        case .known(let finding): return self.answer(finding, event)
        }
    }

    /// What the store or the source says; for `negative` it is kept that there is no such recipient.
    private func outcome(
        _ asked: AskedRecipient,
        _ key: Bytes,
        _ negative: Duration,
        _ event: RcptEvent
    ) async throws -> Outcome {
        switch await self.store.use(event, { try await $0.get(key) }) {
        case .failed(let answer): return .storeFailed(answer)
        case .done(let record):
            if let finding = record.flatMap({ RecipientFinding(record: $0) }) {
                return .known(finding)
            }
        }
        let (finding, isFirst) = try await self.questions.finding(
            asked,
            key: key,
            within: min(self.limits.time, event.workingTime)
        )
        let lifetime = finding == .exists ? self.lifetimes.positive : negative
        guard isFirst, lifetime > .zero, let record = finding.record else { return .known(finding) }
        let saved = await self.store.use(event) {
            try await $0.set(key, to: record, expiresIn: lifetime)
        }
        // What was found out counts, unless the operator wants it otherwise.
        if case .failed(let answer) = saved, answer != .declined { return .storeFailed(answer) }
        return .known(finding)
    }

    private func answer(_ finding: RecipientFinding, _ event: RcptEvent) -> Answer {
        switch finding {
        case .exists: return event.pass("exists")
        case .unknown(let reason, _): return self.putOff(reason, event)
        case .missing(let code, let detail):
            event.adjustKarma(by: -1)
            return event.refuse(self.refusal, finding.text, detail: detail, code: code)
        }
    }

    /// The answer where it is unknown whether the recipient exists.
    private func putOff(_ reason: String, _ event: RcptEvent) -> Answer {
        event.error("\(self.questions.source.name): \(reason)")
        guard self.onFailure == .tempfail, self.refusal.mode != .tolerate else { return .declined }
        return .denysoft(
            "The recipient cannot be verified now, try again later",
            code: 450,
            status: "4.1.1"
        )
    }

    /// `recipient smtp 192.0.2.1:25 alice@example.com`.
    private func key(_ kind: String, _ name: [UInt8]) -> Bytes {
        let source = ClientKey.part(Array(self.questions.source.name.utf8))
        return Bytes(
            octets: Array("\(kind) \(self.method.rawValue) ".utf8) + source + [0x20]
                + ClientKey.part(name)
        )
    }
}

extension ArgumentType<LocalDomains> {
    fileprivate static var domains: Self {
        Self("domains with commas between them, .example.com for all below one") { word in
            let words = word.split(separator: ",", omittingEmptySubsequences: false)
                .map { String($0) }
            return words.allSatisfy(LocalDomains.isDomain) ? LocalDomains(words: words) : nil
        }
    }
}
