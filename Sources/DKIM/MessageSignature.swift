package import DomainNames
internal import Octets

/// What a DKIM-Signature or an ARC-Message-Signature says (RFC 6376 §3.5, RFC 8617 §4.1.2).
struct MessageSignature: Sendable {
    let algorithm: SignatureAlgorithm
    let signature: [UInt8]
    let bodyDigest: [UInt8]
    let headerForm: Canonicalization
    let bodyKind: BodyHashKind
    let domain: DNSName
    let keyName: DNSName
    /// The names of the fields that it covers, in lower case.
    let names: [[UInt8]]

    /// Reads what the tags say; `form` is that of header and body, where `c=` is not there.
    ///
    /// - Throws: What is wrong with them.
    init(
        _ tags: TagList,
        domain: SigningDomain,
        default form: Canonicalization
    ) throws(SignatureFailure) {
        self.algorithm = try SignatureAlgorithm(tags["a"])
        self.domain = domain.domain
        self.keyName = domain.keyName
        (self.headerForm, self.bodyKind) = try Self.forms(tags, form)
        guard let names = tags.list("h") else { throw Self.wrong("no h=") }
        self.names = names
        if let queries = tags.list("q"), !queries.contains(Array("dns/txt".utf8)) {
            throw Self.wrong("q= names no way that is known")
        }
        if tags["t"] != nil { _ = try Self.number(tags, "t", "t= is no time") }
        guard let bodyDigest = tags.base64("bh") else {
            throw Self.wrong("no bh= that can be read")
        }
        guard let signature = tags.base64("b") else { throw Self.wrong("no b= that can be read") }
        self.bodyDigest = bodyDigest
        self.signature = signature
    }

    private static func forms(
        _ tags: TagList,
        _ form: Canonicalization
    ) throws(SignatureFailure) -> (Canonicalization, BodyHashKind) {
        let limit = tags["l"] == nil ? nil : try Self.number(tags, "l", "l= is no number")
        guard tags["c"] != nil else { return (form, BodyHashKind(form, limit: limit)) }
        let text = tags.text("c") ?? ""
        let words = text.split(separator: "/", omittingEmptySubsequences: false)
        guard 1...2 ~= words.count, let header = Canonicalization(rawValue: String(words[0])),
            let body = words.count == 1 ? .simple : Canonicalization(rawValue: String(words[1]))
        else { throw Self.wrong("c= is unknown") }
        return (header, BodyHashKind(body, limit: limit))
    }

    static func number(
        _ tags: TagList,
        _ name: StaticString,
        _ reason: String
    ) throws(SignatureFailure) -> Int64 {
        guard let number = tags[name]?.number(maximumDigits: 76) else { throw Self.wrong(reason) }
        return number
    }

    static func wrong(_ reason: String) -> SignatureFailure { SignatureFailure(.permerror, reason) }

    /// Whether the body is the one that was signed.
    func checkBody(_ bodies: [BodyHashKind: BodyHash]) throws(SignatureFailure) {
        guard let body = bodies[self.bodyKind] else { throw Self.wrong("the body was not read") }
        if let limit = self.bodyKind.limit, limit > body.octets {
            throw Self.wrong("the body is shorter than l=")
        }
        guard body.digest == self.bodyDigest else {
            throw SignatureFailure(.fail, "the body was changed")
        }
    }

    /// Whether the body has more than was signed (RFC 6376 §8.2).
    func isLonger(_ bodies: [BodyHashKind: BodyHash]) -> Bool {
        guard let limit = self.bodyKind.limit, let body = bodies[self.bodyKind] else {
            return false
        }
        return body.octets > limit
    }

    /// The digest of the fields that are covered and of the signature's own.
    func headerDigest(_ fields: HeaderIndex, own: SignedField, _ tags: TagList) -> [UInt8] {
        HeaderHash.digest(
            of: fields,
            self.names,
            self.headerForm,
            own: own.with(value: tags.emptied("b"))
        )
    }
}

/// Where a signature's key is: the tags `d=` and `s=`.
package struct SigningDomain: Sendable, Equatable {
    package let domain: DNSName
    package let selector: String
    package let keyName: DNSName

    /// - Returns: `nil` if these are no names, or together too long.
    package init?(domain: [UInt8], selector: [UInt8]) {
        guard let domain = DNSName(octets: domain), !domain.isRoot, domain.text.contains("."),
            let selector = DNSName(octets: selector), !selector.isRoot,
            let keyName = DNSName("\(selector.text)._domainkey.\(domain.text)")
        else { return nil }
        self.domain = domain
        self.selector = selector.text
        self.keyName = keyName
    }

    init(_ tags: TagList) throws(SignatureFailure) {
        guard let domain = tags["d"] else { throw MessageSignature.wrong("no d=") }
        guard let selector = tags["s"] else { throw MessageSignature.wrong("no s=") }
        guard let found = Self(domain: domain, selector: selector) else {
            throw MessageSignature.wrong("d= or s= is no name")
        }
        self = found
    }
}
