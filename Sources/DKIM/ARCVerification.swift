package import DomainNames
internal import Octets

/// What a chain of ARC sets is worth (RFC 8617 §4.4).
package struct ARCResult: Sendable, Equatable {
    package enum Status: String, Sendable {
        case none
        case pass
        case fail
    }

    package let status: Status
    /// Why it is `fail`: a few words of printable ASCII without quotes.
    package let reason: String?
    /// The sets of the chain; 0 if there is none that can be read.
    package let instances: Int
    /// `d=` of the newest seal.
    package let domain: DNSName?
}

/// Looks at the ARC sets of a message (RFC 8617 §5.2).
///
/// It is told the header fields, and says which keys to ask the DNS for and how the body is to be hashed; from
/// both it makes the result.
package struct ARCVerification: Sendable {
    /// The most sets of a chain (RFC 8617 §4.2.1).
    package static let maximumInstances = 50

    /// The three fields of one instance.
    private struct Set3: Sendable {
        let results: SignedField
        let message: Signed<MessageSignature>
        let seal: Signed<Seal>
    }

    private struct Signed<Content: Sendable>: Sendable {
        let field: SignedField
        let tags: TagList
        let content: Content
    }

    /// What an ARC-Seal says (RFC 8617 §4.1.3).
    private struct Seal: Sendable {
        let algorithm: SignatureAlgorithm
        let signature: [UInt8]
        let domain: SigningDomain
    }

    private enum Chain: Sendable {
        case none
        case broken(SignatureFailure)
        case sets([Set3])
    }

    private let fields: HeaderIndex
    private let chain: Chain

    /// - Parameter fields: The fields of the header, from the top.
    package init(_ fields: [SignedField]) {
        self.fields = HeaderIndex(fields)
        do throws(SignatureFailure) {
            let sets = try Self.sets(fields)
            self.chain = sets.isEmpty ? .none : .sets(sets)
        } catch {
            self.chain = .broken(error)
        }
    }

    /// The names whose TXT records are wanted, each once.
    package var keyNames: [DNSName] {
        guard case .sets(let sets) = self.chain, let newest = sets.last else { return [] }
        var names = [newest.message.content.keyName]
        for set in sets where !names.contains(set.seal.content.domain.keyName) {
            names.append(set.seal.content.domain.keyName)
        }
        return names
    }

    /// The hash that is wanted of the body, which is to be fed to it.
    package var bodyHashes: BodyHashes {
        guard case .sets(let sets) = self.chain, let newest = sets.last else {
            return BodyHashes([])
        }
        return BodyHashes([newest.message.content.bodyKind])
    }

    /// What the chain is worth.
    package func result(
        keys: [DNSName: KeyAnswer],
        bodies: [BodyHashKind: BodyHash]
    ) -> ARCResult {
        switch self.chain {
        case .none: return ARCResult(status: .none, reason: nil, instances: 0, domain: nil)
        case .broken(let failure):
            return ARCResult(status: .fail, reason: failure.reason, instances: 0, domain: nil)

        case .sets(let sets):
            let domain = sets.last?.seal.content.domain.domain
            do throws(SignatureFailure) {
                try self.check(sets, keys, bodies)
                return ARCResult(
                    status: .pass,
                    reason: nil,
                    instances: sets.count,
                    domain: domain
                )
            } catch {
                return ARCResult(
                    status: .fail,
                    reason: error.reason,
                    instances: sets.count,
                    domain: domain
                )
            }
        }
    }

    private func check(
        _ sets: [Set3],
        _ keys: [DNSName: KeyAnswer],
        _ bodies: [BodyHashKind: BodyHash]
    ) throws(SignatureFailure) {
        guard let newest = sets.last else { return }
        let message = newest.message
        try message.content.checkBody(bodies)
        if message.content.isLonger(bodies) {
            throw SignatureFailure(.policy, "the body is longer than l=")
        }
        let digest = message.content.headerDigest(
            self.fields,
            own: message.field,
            message.tags
        )
        try KeyRecord(keys[message.content.keyName])
            .check(message.content.signature, of: digest, message.content.algorithm)
        for (index, set) in sets.enumerated().reversed() {
            let seal = set.seal.content
            try KeyRecord(keys[seal.domain.keyName])
                .check(seal.signature, of: Self.sealDigest(sets[...index]), seal.algorithm)
        }
    }

    /// What the last of these sets' seal signs: all of these sets (RFC 8617 §5.1.1).
    private static func sealDigest(_ sets: ArraySlice<Set3>) -> [UInt8] {
        var hash = HeaderHash()
        for (index, set) in zip(sets.indices, sets) {
            hash.add(set.results, .relaxed)
            hash.add(set.message.field, .relaxed)
            let isLast = index == sets.endIndex - 1
            let seal = set.seal.field
            hash.add(
                isLast ? seal.with(value: set.seal.tags.emptied("b")) : seal,
                .relaxed,
                isLast: isLast
            )
        }
        return hash.digest
    }

    // MARK: Reading

    /// The sets by instance, from 1.
    private static func sets(_ fields: [SignedField]) throws(SignatureFailure) -> [Set3] {
        var results: [Int: SignedField] = [:]
        var messages: [Int: (SignedField, TagList)] = [:]
        var seals: [Int: (SignedField, TagList)] = [:]
        for field in fields {
            if field.isNamed("ARC-Authentication-Results") {
                let instance = try Self.resultsInstance(field.value)
                guard results.updateValue(field, forKey: instance) == nil else {
                    throw Self.wrong("an instance is there twice")
                }
            } else if field.isNamed("ARC-Message-Signature") {
                try Self.add(field, to: &messages)
            } else if field.isNamed("ARC-Seal") {
                try Self.add(field, to: &seals)
            }
        }
        let count = max(results.count, messages.count, seals.count)
        guard count > 0 else { return [] }
        var sets: [Set3] = []
        for instance in 1...count {
            guard let result = results[instance], let message = messages[instance],
                let seal = seals[instance]
            else { throw Self.wrong("a field of an instance is missing") }
            sets.append(
                Set3(
                    results: result,
                    message: Signed(
                        field: message.0,
                        tags: message.1,
                        content: try Self.message(message.1)
                    ),
                    seal: Signed(
                        field: seal.0,
                        tags: seal.1,
                        content: try Self.seal(seal.1, instance)
                    )
                )
            )
        }
        return sets
    }

    private static func add(
        _ field: SignedField,
        to found: inout [Int: (SignedField, TagList)]
    ) throws(SignatureFailure) {
        guard let tags = TagList(field.value) else {
            throw Self.wrong("a field cannot be read")
        }
        let instance = try Self.instance(tags["i"] ?? [])
        guard found.updateValue((field, tags), forKey: instance) == nil else {
            throw Self.wrong("an instance is there twice")
        }
    }

    private static func instance(_ octets: [UInt8]) throws(SignatureFailure) -> Int {
        guard let number = octets.number(maximumDigits: 2),
            1...Int64(Self.maximumInstances) ~= number
        else { throw Self.wrong("i= is no instance") }
        return Int(number)
    }

    /// The instance in front of an ARC-Authentication-Results field (RFC 8617 §4.1.1).
    private static func resultsInstance(_ value: [UInt8]) throws(SignatureFailure) -> Int {
        guard let end = value.firstIndex(of: UInt8(ascii: ";")),
            let tags = TagList(Array(value[..<end])), tags.firstName == "i"
        else { throw Self.wrong("ARC-Authentication-Results has no instance") }
        return try Self.instance(tags["i"] ?? [])
    }

    private static func message(_ tags: TagList) throws(SignatureFailure) -> MessageSignature {
        // RFC 8617 does not say another default than DKIM's; the ARC test suite and who signs by it do.
        let signature = try MessageSignature(
            tags,
            domain: SigningDomain(tags),
            default: .relaxed
        )
        // RFC 8617 §4.1.2
        guard !signature.names.contains(Array("arc-seal".utf8)) else {
            throw Self.wrong("a seal is signed by a message signature")
        }
        return signature
    }

    private static func seal(_ tags: TagList, _ instance: Int) throws(SignatureFailure) -> Seal {
        let algorithm = try SignatureAlgorithm(tags["a"])
        let domain = try SigningDomain(tags)
        guard tags["h"] == nil else { throw Self.wrong("a seal has h=") }
        if tags["t"] != nil { _ = try MessageSignature.number(tags, "t", "t= is no time") }
        guard let signature = tags.base64("b") else {
            throw Self.wrong("no b= that can be read")
        }
        guard tags.text("cv") == (instance == 1 ? "none" : "pass") else {
            throw Self.wrong("a seal has another cv= than its place wants")
        }
        return Seal(algorithm: algorithm, signature: signature, domain: domain)
    }

    private static func wrong(_ reason: String) -> SignatureFailure {
        SignatureFailure(.permerror, reason)
    }
}
