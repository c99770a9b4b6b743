/// The TLSA records of a host, as far as SMTP can use them (RFC 7672 §3.1).
package struct DANERecords: Sendable, Equatable {
    /// The owner of the certificate.
    package enum Usage: UInt8, Sendable {
        /// DANE-TA: to an authority, which vouches for the host (RFC 7672 §3.1.2).
        case authority = 2
        /// DANE-EE: to the host itself (RFC 7672 §3.1.1).
        case host = 3
    }

    private struct Record: Sendable, Hashable {
        let usage: Usage
        let association: CertificateAssociation
    }

    private var records: [Record] = []

    package init() {}

    /// Adds a record; one with a usage, selector or matching type that SMTP does not use, or with data that
    /// does not have their form, is left out (RFC 7672 §3.1.3, RFC 7671 §4.1).
    package mutating func add(usage: UInt8, selector: UInt8, matching: UInt8, data: [UInt8]) {
        guard let usage = Usage(rawValue: usage),
            let association = CertificateAssociation(
                selector: selector,
                matching: matching,
                data: data
            )
        else { return }
        self.records.append(Record(usage: usage, association: association))
    }

    /// Whether there is a record that SMTP can use.
    package var isUsable: Bool { !self.records.isEmpty }

    /// Why no record vouches for the certificates that a host shows.
    ///
    /// - Parameters:
    ///   - chain: What the host showed, in DER: its own certificate first.
    ///   - names: The names of which an authority's certificate must have one; DANE-EE needs none, and looks
    ///     at no date either.
    /// - Returns: The reason in English; `nil` if a record vouches for them.
    package func problem(of chain: [[UInt8]], names: [String]) -> String? {
        guard let own = chain.first else { return "the host showed no certificate" }
        let records = self.strongest
        if records.contains(where: { $0.usage == .host && $0.association.matches(own) }) {
            return nil
        }
        let authorities = records.filter { $0.usage == .authority }.map(\.association)
        guard !authorities.isEmpty else { return "no TLSA record matches the certificate" }
        let shown = chain.dropFirst().filter { certificate in
            authorities.contains { $0.matches(certificate) }
        }
        // The record may bring the authority along, which the host then need not show.
        let brought = authorities.filter { $0.selector == .certificate && $0.matching == .whole }
            .map(\.data)
            .filter { (try? TrustAnchors([$0])) != nil }
        let anchors = (shown + brought).filter { $0 != own }
        guard !anchors.isEmpty, let trusted = try? TrustAnchors(anchors) else {
            return "no TLSA record matches a certificate of the chain"
        }
        let problems = names.map { trusted.problem(of: chain, for: .server(name: $0)) }
        return problems.contains(nil) ? nil : problems.first ?? "there is no name to check"
    }

    /// The records that count: of two digests of one thing the stronger one (RFC 7671 §9).
    private var strongest: [Record] {
        self.records.filter { record in
            record.association.matching != .sha256
                || !self.records.contains {
                    $0.usage == record.usage
                        && $0.association.selector == record.association.selector
                        && $0.association.matching == .sha512
                }
        }
    }
}
