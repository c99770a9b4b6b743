internal import Octets
package import SignatureKeys

/// The record with a domain's public key (RFC 6376 §3.6.1).
package struct KeyRecord: Sendable {
    /// RSA keys with fewer bits are not secure (RFC 8301 §3.2).
    package static let minimumBits = 1_024
    /// RSA keys with more bits take too much time.
    package static let maximumBits = 8_192

    package let key: PublicKey
    /// `t=y`: the domain only tries signatures out.
    package let isTesting: Bool
    /// `t=s`: the domain of `i=` must be that of `d=`.
    package let isStrict: Bool

    /// Reads a record.
    ///
    /// - Throws: What is wrong with it, always as `permerror`.
    package init(_ octets: [UInt8]) throws(SignatureFailure) {
        guard let tags = TagList(octets) else { throw Self.wrong("the key record cannot be read") }
        try self.init(tags)
    }

    private init(_ tags: TagList) throws(SignatureFailure) {
        if let version = tags.text("v") {
            guard version == "DKIM1", tags.firstName == "v" else {
                throw Self.wrong("the key record has another version")
            }
        }
        if let hashes = tags.list("h"), !hashes.contains(Array("sha256".utf8)) {
            throw Self.wrong("the key is not for SHA-256")
        }
        if let services = tags.list("s"),
            !services.contains(Array("*".utf8)), !services.contains(Array("email".utf8))
        {
            throw Self.wrong("the key is not for mail")
        }
        let flags = tags.list("t") ?? []
        self.isTesting = flags.contains(Array("y".utf8))
        self.isStrict = flags.contains(Array("s".utf8))
        self.key = try Self.key(tags)
    }

    private static func key(_ tags: TagList) throws(SignatureFailure) -> PublicKey {
        guard let value = tags["p"] else { throw Self.wrong("the key record has no key") }
        if value.isEmpty { throw Self.wrong("the key is revoked") }
        guard let octets = tags.base64("p") else { throw Self.wrong("the key cannot be read") }
        let key: PublicKey?
        switch tags.text("k") ?? "rsa" {
        case "rsa": key = PublicKey(rsa: octets)
        case "ed25519": key = PublicKey(ed25519: octets)
        default: throw Self.wrong("the key is of an unknown kind")
        }
        guard let key else { throw Self.wrong("the key cannot be read") }
        if key.kind == .rsa {
            if key.bits < Self.minimumBits { throw Self.wrong("the key is too short") }
            if key.bits > Self.maximumBits { throw Self.wrong("the key is too long") }
        }
        return key
    }

    /// The one record among the texts of a name.
    ///
    /// Texts that are clearly no key records, as those of a wildcard, do not count.
    package init(_ answer: KeyAnswer?) throws(SignatureFailure) {
        let texts: [[UInt8]]
        switch answer {
        case .records(let records): texts = records
        case .some(.none): throw Self.wrong("there is no key")
        case .failed, nil: throw SignatureFailure(.temperror, "the DNS did not answer")
        }
        let lists = texts.compactMap { TagList($0) }
        let records = lists.filter { $0["p"] != nil && ($0.text("v") ?? "DKIM1") == "DKIM1" }
        switch records.count {
        case 1: try self.init(records[0])
        case 2...: throw Self.wrong("there are several keys")
        default:
            // One that says what is wrong.
            guard let list = lists.first else { throw Self.wrong("the key record cannot be read") }
            try self.init(list)
        }
    }

    private static func wrong(_ reason: String) -> SignatureFailure {
        SignatureFailure(.permerror, reason)
    }

    /// Whether a signature is right, of which the digests are known to fit.
    func check(
        _ signature: [UInt8],
        of digest: [UInt8],
        _ algorithm: SignatureAlgorithm
    ) throws(SignatureFailure) {
        let isOfKind: Bool
        switch algorithm {
        case .rsaSHA256: isOfKind = self.key.kind == .rsa
        case .ed25519SHA256: isOfKind = self.key.kind == .ed25519
        }
        guard isOfKind else { throw Self.wrong("the key is of another kind") }
        guard self.key.verifies(signature, of: digest) else {
            throw SignatureFailure(.fail, "the signature does not fit the header")
        }
    }

    /// The text of the record for a key.
    package static func text(for key: PrivateKey) -> String? {
        key.publicOctets.map {
            "v=DKIM1; k=\(key.kind.rawValue); p=\(Base64.encode($0))"
        }
    }
}
