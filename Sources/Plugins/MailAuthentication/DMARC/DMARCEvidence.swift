import DMARC
import PolicyKit

/// What SPF and DKIM found about a message, from the notes that their plugins left.
struct DMARCEvidence {
    private static let spfResults: Set = [
        "none", "pass", "fail", "softfail", "policy", "neutral", "temperror", "permerror",
    ]
    private static let dkimResults: Set = [
        "none", "pass", "fail", "policy", "neutral", "temperror", "permerror",
    ]

    private let clientIP: String
    private let sender: Sender
    private let spf: (domain: DNSName, result: String)?
    private let signatures: [(domain: DNSName, selector: String, result: String)]

    init(_ event: HookEvent<DataPostStage>) {
        self.clientIP = event.session.client.ip
        self.sender = event.transaction.sender
        let spf = event.notes[.spf]
        // Of a null reverse-path the name of HELO is the one to check (RFC 7208 §2.4), of another one it is not.
        let isSender = Self.text(spf?["identity"]) != "helo" || event.transaction.sender.isNull
        if let domain = Self.name(spf?["domain"]), let result = Self.text(spf?["result"]),
            Self.spfResults.contains(result), isSender
        {
            self.spf = (domain, result)
        } else {
            self.spf = nil
        }
        guard case .array(let signatures)? = event.notes[.dkim] else {
            self.signatures = []
            return
        }
        self.signatures = signatures.compactMap { signature in
            guard let domain = Self.name(signature["domain"]),
                let result = Self.text(signature["result"]), Self.dkimResults.contains(result)
            else { return nil }
            return (domain, Self.text(signature["selector"]) ?? "", result)
        }
    }

    private static func text(_ value: JSONValue?) -> String? {
        if case .string(let text)? = value { text } else { nil }
    }

    private static func name(_ value: JSONValue?) -> DNSName? {
        self.text(value).flatMap { DNSName($0) }
    }

    /// What vouches for domains, each once: passes before what has no end.
    var identifiers: [DMARCIdentifier] {
        var found: [DMARCIdentifier] = []
        for isPending in [false, true] {
            let word = isPending ? "temperror" : "pass"
            if let spf, spf.result == word {
                found.append(DMARCIdentifier(.spf, spf.domain, isPending: isPending))
            }
            for signature in self.signatures where signature.result == word {
                let identifier = DMARCIdentifier(.dkim, signature.domain, isPending: isPending)
                if !found.contains(identifier) { found.append(identifier) }
            }
        }
        return found
    }

    /// The row of a report that the message belongs to.
    func row(
        _ finding: DMARCFinding,
        _ author: DNSName,
        _ disposition: DMARCDisposition,
        _ reason: DMARCReportRow.Reason?
    ) -> DMARCReportRow {
        var row = DMARCReportRow(
            sourceIP: self.clientIP,
            disposition: disposition,
            isDKIMAligned: finding.isDKIMAligned,
            isSPFAligned: finding.isSPFAligned,
            reason: reason,
            headerFrom: author.text,
            envelopeFrom: DNSName(octets: self.sender.domain.octets)?.text ?? ""
        )
        row.spf = self.spf.map { ($0.domain.text, $0.result) }
        // RFC 9990 §3.1.3: first those that pass in strict alignment, then in relaxed alignment, then others.
        let ranked = self.signatures.enumerated().map { index, each in
            let isNear = finding.policyDomain.map { each.domain.isWithin($0) } == true
            let rank =
                switch (each.result == "pass", each.domain == author, isNear) {
                case (true, true, _): 0
                case (true, _, true): 1
                case (true, _, _): 2
                case (false, _, _): 3
                }
            return (rank, index, each)
        }
        row.signatures = ranked.sorted { ($0.0, $0.1) < ($1.0, $1.1) }
            .prefix(DMARCReportRow.maximumSignatures)
            .map { _, _, each in
                .init(domain: each.domain.text, selector: each.selector, result: each.result)
            }
        return row
    }
}
