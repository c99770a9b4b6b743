import DMARC
package import PolicyKit

/// Checks whether the domain of the From field vouches for a message, and does what its owner asks for if not.
///
/// See README.md.
package struct DMARCVerifier: DataPostHook {
    /// What becomes of a message whose owner asks for quarantine.
    private enum Quarantine: String, CaseIterable {
        /// A note, which a plugin at `queue` looks at.
        case note
        /// The note, and a field of the message.
        case header
        case reject
        case ignore
    }

    private enum Discovery: String, CaseIterable {
        case treewalk
        case psl
    }

    private enum Trouble: String, CaseIterable {
        case pass
        case `defer`
    }

    package static let name = "dmarc"

    /// The field of `quarantine header`.
    private static let quarantineField = "X-DMARC-Quarantine"

    private let refusal: Refusal
    private let quarantine: Quarantine
    private let trouble: Trouble
    private let time: Duration
    /// `nil`: the tree walk.
    private let suffixes: PublicSuffixFile?
    private let resolver: any NameResolver
    /// `nil`: nothing is counted.
    private let reports: DMARCReportCounter?

    package init(configuration: PluginConfiguration) throws {
        self.refusal = configuration.refusal()
        self.quarantine = configuration.argument("quarantine", as: .choice, default: .note)
        self.trouble = configuration.argument("dns_failure", as: .choice, default: .pass)
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100) ... .seconds(60)),
            default: .seconds(10)
        )
        let discovery = configuration.argument(
            "discovery",
            as: ArgumentType<Discovery>.choice,
            default: .treewalk
        )
        let reporting = configuration.argument("reporting", as: .flag, default: false)
        self.suffixes = discovery == .psl ? try PublicSuffixFile(configuration) : nil
        self.reports = reporting ? DMARCReportCounter(store: configuration.store()) : nil
        self.resolver = try configuration.resolver()
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(.headers) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        let author: DNSName
        switch FromFields(event.headers) {
        case .none(let reason): return event.skip(reason)
        case .author(let domain): author = domain
        case .several(let reason):
            event.addAuthenticationResult("dmarc=permerror (\(reason))")
            event.adjustKarma(by: -1)
            return event.refuse(
                self.refusal,
                "A message is from one domain; this one has \(reason)",
                detail: "7.1",
                code: 550
            )
        }
        guard event.notes[.spf] != nil || event.notes[.dkim] != nil else {
            return event.error(
                "neither SPF nor DKIM was checked: put those plugins before this one"
            )
        }
        let evidence = DMARCEvidence(event)
        let finding = try await self.finding(author, evidence, event)
        return try await self.decide(finding, author, evidence, event)
    }

    // MARK: Finding out

    private func finding(
        _ author: DNSName,
        _ evidence: DMARCEvidence,
        _ event: DataPostEvent
    ) async throws -> DMARCFinding {
        let deadline = ContinuousClock.now + min(self.time, event.workingTime)
        var check = DMARCCheck(
            author: author,
            identifiers: evidence.identifiers,
            suffixes: try await self.suffixes?.list()
        )
        while true {
            switch check.next {
            case .finished(let finding): return finding
            case .ask(let question): check.answer(question, await self.ask(question, deadline))
            }
        }
    }

    private func ask(
        _ question: DMARCCheck.Question,
        _ deadline: ContinuousClock.Instant
    ) async -> DMARCCheck.Answer {
        switch question {
        case .record(let name):
            switch await self.resolver.query(name, .txt, deadline: deadline) {
            case .records(let records):
                return .records(
                    records.compactMap { if case .text(let octets) = $0 { octets } else { nil } }
                )

            case .nxdomain, .nodata: return .records([])
            case .failure: return .failed
            }

        case .existence(let name):
            switch await self.resolver.query(name, .a, deadline: deadline) {
            case .records, .nodata: return .exists(true)
            case .nxdomain: return .exists(false)
            case .failure: return .failed
            }
        }
    }

    // MARK: Deciding

    /// What is done about a finding.
    private struct Decision {
        var disposition: DMARCDisposition
        var reason: DMARCReportRow.Reason?
    }

    private func decision(_ finding: DMARCFinding) -> Decision {
        let published = finding.policy ?? .none
        guard finding.result == .fail else {
            return Decision(
                disposition: finding.result == .pass && published != .none ? .pass : .none
            )
        }
        let isMilder = finding.record?.isTest == true
        let wanted: DMARCDisposition =
            switch (published, self.quarantine) {
            case (.none, _), (.quarantine, .ignore): .none
            case (.quarantine, .note), (.quarantine, .header): .quarantine
            case (.quarantine, .reject), (.reject, _): .reject
            }
        if wanted == .reject, self.refusal.mode != .reject {
            return Decision(disposition: .none, reason: .localPolicy)
        }
        if wanted.rawValue != published.rawValue {
            return Decision(disposition: wanted, reason: .localPolicy)
        }
        return Decision(disposition: wanted, reason: isMilder ? .testMode : nil)
    }

    private func decide(
        _ finding: DMARCFinding,
        _ author: DNSName,
        _ evidence: DMARCEvidence,
        _ event: DataPostEvent
    ) async throws -> Answer {
        let decision = self.decision(finding)
        self.note(finding, decision, author, event)
        if let reports {
            await reports.count(
                finding,
                evidence.row(finding, author, decision.disposition, decision.reason),
                isByList: self.suffixes != nil,
                event
            )
        }
        switch finding.result {
        case .none: return event.skip("\(author) has no policy")
        case .permerror: return event.error("the policy of \(author) cannot be read")
        case .pass: return event.pass("\(author)")
        case .temperror:
            event.error("the policy of \(author) is not known: the DNS does not answer")
            guard self.trouble == .defer else { return .declined }
            return event.refuse(
                Refusal(self.refusal.mode, .temp),
                "The DMARC policy of \(author) cannot be looked up now",
                detail: "4.3"
            )

        case .fail: return self.failed(finding, author, event)
        }
    }

    private func failed(
        _ finding: DMARCFinding,
        _ author: DNSName,
        _ event: DataPostEvent
    ) -> Answer {
        let policy = finding.policy ?? .none
        let domain = finding.policyDomain ?? author
        if policy == .none { return event.info("fail, and \(domain) asks for nothing") }
        event.adjustKarma(by: -3)
        if policy == .quarantine {
            switch self.quarantine {
            case .ignore: return event.info("fail, and quarantine is ignored")
            case .reject: break
            case .note, .header:
                if self.quarantine == .header {
                    event.deleteHeaders(named: Self.quarantineField)
                    event.addHeader(Self.quarantineField, "\(author)")
                }
                event.notes[.quarantineReason] = "DMARC policy of \(domain)"
                return event.info("fail, quarantine")
            }
        }
        return event.refuse(
            self.refusal,
            "Mail from \(author) is refused by the DMARC policy of \(domain)",
            detail: "7.26",  // RFC 7372 §3.3
            code: 550
        )
    }

    private func note(
        _ finding: DMARCFinding,
        _ decision: Decision,
        _ author: DNSName,
        _ event: DataPostEvent
    ) {
        let result = finding.result.rawValue
        let disposition = decision.disposition == .pass ? .none : decision.disposition
        var note: [String: JSONValue] = [
            "result": .string(result), "domain": .string(author.text),
            "disposition": .string(disposition.rawValue),
        ]
        note["policy"] = finding.policy.map { .string($0.rawValue) }
        event.notes[.dmarc] = .object(note)
        event.notes[.dmarcResult] = result
        var comment = ""
        if let record = finding.record {
            comment = " (p=\(record.policy.rawValue)"
            if let policy = record.subdomainPolicy { comment += " sp=\(policy.rawValue)" }
            if let policy = record.missingDomainPolicy { comment += " np=\(policy.rawValue)" }
            if record.isTest { comment += " t=y" }
            comment += " dis=\(disposition.rawValue))"
        }
        event.addAuthenticationResult("dmarc=\(result)\(comment) header.from=\(author)")
    }
}

extension NoteKey<String> {
    /// Why the message is to be kept apart: a plugin at `queue` looks at it.
    fileprivate static let quarantineReason = NoteKey("quarantine", in: .transaction)
    /// What DMARC found, in one word.
    fileprivate static let dmarcResult = NoteKey("dmarc_result", in: .transaction)
}
