import Octets

/// What the owner of a domain wants done with mail that fails (RFC 9989, tags `p`, `sp` and `np`).
package enum DMARCPolicy: String, Sendable, CaseIterable {
    case none, quarantine, reject

    /// The policy one step milder, as `t=y` asks for.
    package var milder: DMARCPolicy {
        switch self {
        case .none, .quarantine: .none
        case .reject: .quarantine
        }
    }
}

/// Whether identifiers must be one domain, or domains of one organisation.
package enum DMARCAlignment: String, Sendable {
    case relaxed = "r"
    case strict = "s"
}

/// A record of RFC 9989: the TXT record at `_dmarc` below a domain.
///
/// Unknown tags are ignored, and with them `pct`, `rf` and `ri` of RFC 7489. A tag whose value is wrong has its default;
/// of a tag that stands twice the first counts.
package struct DMARCRecord: Sendable, Equatable {
    /// Whether the domain is a public suffix: the tag `psd`.
    package enum PublicSuffix: String, Sendable {
        case yes = "y"
        case no = "n"
        case unknown = "u"
    }

    /// The most octets of a record.
    package static let maximumOctets = 8_192
    /// The most addresses that are taken from `rua`.
    package static let maximumReportAddresses = 16

    /// For the domain itself; `none` if the tag is missing.
    package var policy = DMARCPolicy.none
    /// For domains below it; `nil`: as the domain itself.
    package var subdomainPolicy: DMARCPolicy?
    /// For domains below it that do not exist; `nil`: as domains below it.
    package var missingDomainPolicy: DMARCPolicy?
    /// How a DKIM signature's domain must fit.
    package var dkimAlignment = DMARCAlignment.relaxed
    /// How the domain that SPF checked must fit.
    package var spfAlignment = DMARCAlignment.relaxed
    /// The tag `psd`.
    package var publicSuffix = PublicSuffix.unknown
    /// The tag `t`: the owner only tests the policy.
    package var isTest = false
    /// The tag `fo`, as it stands there; `nil` if there is none.
    package var failureOptions: String?
    /// Where aggregate reports go: URIs, without the size that RFC 7489 allowed behind `!`.
    package var reportAddresses: [String] = []
    /// A policy is wrong, and no report would tell the owner: the record is not to be applied.
    package var isUnusable = false

    /// Reads a record.
    ///
    /// - Returns: `nil` if it is none: it does not begin with `v=DMARC1`.
    package init?(_ octets: [UInt8]) {
        guard octets.count <= Self.maximumOctets else { return nil }
        var tags = octets.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false)[...]
        guard let first = tags.popFirst(), first.first?.isTagBlank == false,
            let version = Self.tag(first), version.name == "v", version.value == "DMARC1"
        else { return nil }
        var values: [String: String] = [:]
        for tag in tags {
            guard let tag = Self.tag(tag), values[tag.name] == nil else { continue }
            values[tag.name] = tag.value
        }
        self.read(values)
    }

    private mutating func read(_ values: [String: String]) {
        func word(_ name: String) -> String? { values[name]?.lowercased() }
        self.dkimAlignment = word("adkim").flatMap(DMARCAlignment.init) ?? .relaxed
        self.spfAlignment = word("aspf").flatMap(DMARCAlignment.init) ?? .relaxed
        self.publicSuffix = word("psd").flatMap(PublicSuffix.init) ?? .unknown
        self.isTest = word("t") == "y"
        self.failureOptions = values["fo"]
        self.reportAddresses = Self.addresses(values["rua"] ?? "")
        let words = [word("p"), word("sp"), word("np")]
        let policies = words.map { $0.flatMap { DMARCPolicy(rawValue: $0) } }
        if zip(words, policies).allSatisfy({ $0 == nil || $1 != nil }) {
            self.policy = policies[0] ?? .none
            self.subdomainPolicy = policies[1]
            self.missingDomainPolicy = policies[2]
        } else {
            self.isUnusable = self.reportAddresses.isEmpty
        }
    }

    /// `name = value`, the name in lower case; `nil` if it is none, or has octets that no value may have.
    private static func tag(_ octets: ArraySlice<UInt8>) -> (name: String, value: String)? {
        guard let equals = octets.firstIndex(of: UInt8(ascii: "=")) else { return nil }
        let name = self.trimmed(octets[..<equals])
        let value = self.trimmed(octets[octets.index(after: equals)...])
        guard !name.isEmpty, name.allSatisfy(\.isLetter), !value.isEmpty,
            value.allSatisfy({ 0x20...0x7E ~= $0 })
        else { return nil }
        return (
            String(decoding: name, as: UTF8.self).lowercased(),
            String(decoding: value, as: UTF8.self)
        )
    }

    private static func trimmed(_ octets: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var octets = octets.drop(while: \.isTagBlank)
        while octets.last?.isTagBlank == true { octets.removeLast() }
        return octets
    }

    /// The URIs of a list.
    private static func addresses(_ list: String) -> [String] {
        var found: [String] = []
        for item in list.utf8.split(separator: UInt8(ascii: ",")) {
            let uri = self.trimmed(Array(item)[...]).prefix { $0 != UInt8(ascii: "!") }
            guard let colon = uri.firstIndex(of: UInt8(ascii: ":")), colon > uri.startIndex,
                uri.index(after: colon) < uri.endIndex, uri.first?.isLetter == true,
                uri[..<colon].allSatisfy({ $0.isLetterOrDigit || [0x2B, 0x2D, 0x2E].contains($0) }),
                uri.allSatisfy({ 0x21...0x7E ~= $0 })
            else { continue }
            found.append(String(decoding: uri, as: UTF8.self))
            if found.count == self.maximumReportAddresses { break }
        }
        return found
    }
}

extension UInt8 {
    fileprivate var isTagBlank: Bool {
        self.isBlank || self == .carriageReturn || self == .lineFeed
    }
}
