package import DomainNames
internal import Octets

/// Looks at the DKIM signatures of a message (RFC 6376 §6).
///
/// It is told the header fields, and says which keys to ask the DNS for and how the body is to be hashed; from
/// both it makes the results.
package struct DKIMVerification: Sendable {
    /// The most signatures of a message that are looked at, from the top.
    package static let maximumSignatures = 10

    /// A signature that was found.
    private struct Found: Sendable {
        let field: SignedField
        let tags: TagList?
        let domain: SigningDomain?
        let signature: Result<Signature, SignatureFailure>
    }

    /// What is asked of a DKIM signature beyond what an ARC-Message-Signature has.
    private struct Signature: Sendable {
        let message: MessageSignature
        let identityDomain: DNSName
    }

    private let fields: HeaderIndex
    private let found: [Found]

    /// - Parameters:
    ///   - fields: The fields of the header, from the top.
    ///   - now: Unix time, in seconds.
    package init(_ fields: [SignedField], now: Int64) {
        self.fields = HeaderIndex(fields)
        self.found = fields.filter { $0.isNamed("DKIM-Signature") }
            .prefix(Self.maximumSignatures)
            .map { Self.read($0, now: now) }
    }

    private static func read(_ field: SignedField, now: Int64) -> Found {
        let tags = TagList(field.value)
        let domain = tags.flatMap { list in
            list["d"].flatMap { domain in
                list["s"].flatMap { SigningDomain(domain: domain, selector: $0) }
            }
        }
        return Found(
            field: field,
            tags: tags,
            domain: domain,
            signature: Result { () throws(SignatureFailure) in try Self.signature(tags, now) }
        )
    }

    private static func signature(
        _ tags: TagList?,
        _ now: Int64
    ) throws(SignatureFailure) -> Signature {
        guard let tags else { throw MessageSignature.wrong("the signature cannot be read") }
        guard tags.text("v") == "1" else { throw MessageSignature.wrong("v= is not 1") }
        let domain = try SigningDomain(tags)
        let message = try MessageSignature(tags, domain: domain, default: .simple)
        guard message.names.contains(Array("from".utf8)) else {
            throw MessageSignature.wrong("From is not signed")
        }
        let identityDomain = try Self.identityDomain(tags, domain.domain)
        if tags["x"] != nil {
            let expiry = try MessageSignature.number(tags, "x", "x= is no time")
            let time = tags["t"]?.number(maximumDigits: 76)
            if let time, expiry <= time {
                throw MessageSignature.wrong("x= is before t=")
            }
            if expiry < now { throw SignatureFailure(.fail, "the signature has expired") }
        }
        return Signature(message: message, identityDomain: identityDomain)
    }

    /// The domain of `i=`, which must be that of `d=` or one below it.
    private static func identityDomain(
        _ tags: TagList,
        _ domain: DNSName
    ) throws(SignatureFailure) -> DNSName {
        guard let identity = tags["i"] else { return domain }
        guard let at = identity.lastIndex(of: .at),
            let name = DNSName(octets: Array(identity[(at + 1)...])), name.isWithin(domain)
        else { throw MessageSignature.wrong("i= is not within d=") }
        return name
    }

    /// Whether the message has signatures.
    package var isSigned: Bool { !self.found.isEmpty }

    /// The names whose TXT records are wanted, each once.
    package var keyNames: [DNSName] {
        var names: [DNSName] = []
        for case .success(let signature) in self.found.map(\.signature)
        where !names.contains(signature.message.keyName) {
            names.append(signature.message.keyName)
        }
        return names
    }

    /// The hashes that are wanted of the body, which is to be fed to them.
    package var bodyHashes: BodyHashes {
        BodyHashes(
            Set(self.found.compactMap { try? $0.signature.get().message.bodyKind })
        )
    }

    /// What each signature is worth, in their order.
    package func results(
        keys: [DNSName: KeyAnswer],
        bodies: [BodyHashKind: BodyHash]
    ) -> [DKIMResult] {
        let results = self.found.map { found in
            var result = DKIMResult(
                domain: found.domain,
                tags: found.tags
            )
            do throws(SignatureFailure) {
                let signature = try found.signature.get()
                result.result = try self.check(found, signature, keys, bodies)
                if result.result == .policy { result.reason = "the body is longer than l=" }
            } catch {
                result.result = error.result
                result.reason = error.reason
            }
            return result
        }
        return DKIMResult.distinguished(results)
    }

    private func check(
        _ found: Found,
        _ signature: Signature,
        _ keys: [DNSName: KeyAnswer],
        _ bodies: [BodyHashKind: BodyHash]
    ) throws(SignatureFailure) -> SignatureResult {
        guard let tags = found.tags else { throw MessageSignature.wrong("no tags") }
        let message = signature.message
        let record = try KeyRecord(keys[message.keyName])
        if record.isStrict, signature.identityDomain != message.domain {
            throw MessageSignature.wrong("the key wants i= to be d=")
        }
        do throws(SignatureFailure) {
            try message.checkBody(bodies)
            let digest = message.headerDigest(self.fields, own: found.field, tags)
            try record.check(message.signature, of: digest, message.algorithm)
        } catch {
            guard record.isTesting, error.result == .fail else { throw error }
            throw SignatureFailure(.neutral, "\(error.reason); the domain tests")
        }
        return message.isLonger(bodies) ? .policy : .pass
    }
}

/// What one DKIM signature is worth.
package struct DKIMResult: Sendable, Equatable {
    package fileprivate(set) var result = SignatureResult.permerror
    /// Why it is no `pass`: a few words of printable ASCII without quotes; `nil` if it is.
    package fileprivate(set) var reason: String?
    /// `d=` and `s=`; `nil` if they are no names.
    package let domain: SigningDomain?
    /// `i=` as it is written, printable ASCII alone; `nil` if it is not there.
    package let identity: String?
    /// `a=` if it is one that we know.
    package let algorithm: SignatureAlgorithm?
    /// The first octets of `b=` without white space, so many that no other signature has the same (RFC 6008 §3);
    /// `nil` if there is none.
    package fileprivate(set) var prefix: String?
    private let signature: String

    fileprivate init(domain: SigningDomain?, tags: TagList?) {
        self.domain = domain
        self.identity = tags?.text("i").flatMap { text in
            text.utf8.count <= 320 && text.utf8.allSatisfy { 0x21...0x7E ~= $0 } ? text : nil
        }
        self.algorithm = tags?["a"].flatMap { try? SignatureAlgorithm($0) }
        let digits = (tags?["b"] ?? []).filter {
            $0.isLetterOrDigit || $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "/")
                || $0 == .equals
        }
        self.signature = String(decoding: digits.prefix(1_024), as: UTF8.self)
    }

    /// The shortest prefix: RFC 6008 §3.
    private static let minimumPrefix = 8
    private static let maximumPrefix = 64

    fileprivate static func distinguished(_ results: [DKIMResult]) -> [DKIMResult] {
        let signatures = results.map(\.signature)
        return results.map { result in
            var result = result
            var count = Self.minimumPrefix
            while count < Self.maximumPrefix,
                signatures.count(where: { $0.hasPrefix(result.signature.prefix(count)) }) > 1
            {
                count += 1
            }
            let prefix = String(result.signature.prefix(count))
            result.prefix = prefix.isEmpty ? nil : prefix
            return result
        }
    }
}
