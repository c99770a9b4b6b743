internal import Crypto
internal import Octets

/// Which hash of a body: its form, and how many octets of it count.
package struct BodyHashKind: Sendable, Hashable {
    package let form: Canonicalization
    /// The tag `l=`: octets of the canonical body; `nil`: all of them.
    package let limit: Int64?

    package init(_ form: Canonicalization, limit: Int64? = nil) {
        self.form = form
        self.limit = limit
    }
}

/// What was found of a body.
package struct BodyHash: Sendable, Equatable {
    /// The SHA-256 of the octets that count.
    package let digest: [UInt8]
    /// The octets of the canonical body.
    package let octets: Int64
}

/// The hashes that signatures want of a body, made of its octets as they come in pieces.
package struct BodyHashes: Sendable {
    private struct Limited: Sendable {
        let limit: Int64?
        var hash = SHA256()
        var left: Int64

        init(_ limit: Int64?) {
            self.limit = limit
            self.left = limit ?? .max
        }

        mutating func received(_ octets: [UInt8]) {
            guard self.left > 0 else { return }
            let count = min(Int64(octets.count), self.left)
            octets.prefix(Int(count)).withUnsafeBytes { self.hash.update(bufferPointer: $0) }
            self.left -= count
        }
    }

    private struct Form: Sendable {
        let form: Canonicalization
        var canonicalizer: BodyCanonicalizer
        var count: Int64 = 0
        var limits: [Limited]

        mutating func received(_ octets: [UInt8]) {
            self.count += Int64(octets.count)
            for index in self.limits.indices { self.limits[index].received(octets) }
        }
    }

    private var forms: [Form] = []

    package init(_ kinds: Set<BodyHashKind>) {
        for form in [Canonicalization.simple, .relaxed] {
            let limits = kinds.filter { $0.form == form }.map { Limited($0.limit) }
            if limits.isEmpty { continue }
            self.forms.append(
                Form(form: form, canonicalizer: BodyCanonicalizer(form), limits: limits)
            )
        }
    }

    /// Whether nothing has to be read.
    package var isEmpty: Bool { self.forms.isEmpty }

    /// Takes the next octets of the body: of what follows the empty line behind the header.
    package mutating func received(_ octets: [UInt8]) {
        for index in self.forms.indices {
            self.forms[index].received(self.forms[index].canonicalizer.received(octets))
        }
    }

    /// The body has ended.
    package consuming func finished() -> [BodyHashKind: BodyHash] {
        var found: [BodyHashKind: BodyHash] = [:]
        for var form in self.forms {
            form.received(form.canonicalizer.finished())
            for limited in form.limits {
                found[BodyHashKind(form.form, limit: limited.limit)] = BodyHash(
                    digest: Array(limited.hash.finalize()),
                    octets: form.count
                )
            }
        }
        return found
    }
}

/// The hash of the header fields that a signature covers, and of its own field (RFC 6376 §3.7).
struct HeaderHash {
    private var hash = SHA256()

    mutating func add(_ field: SignedField, _ form: Canonicalization, isLast: Bool = false) {
        var octets = field.canonical(form)
        if !isLast { octets += [0x0D, 0x0A] }
        octets.withUnsafeBytes { self.hash.update(bufferPointer: $0) }
    }

    var digest: [UInt8] { Array(self.hash.finalize()) }

    /// Hashes the fields that `names` choose, and `own`, which has no value of `b=`.
    ///
    /// Names are in lower case. Of fields with one name the lowest counts first, and one that is not there counts
    /// for nothing (RFC 6376 §5.4.2).
    static func digest(
        of fields: HeaderIndex,
        _ names: [[UInt8]],
        _ form: Canonicalization,
        own: SignedField
    ) -> [UInt8] {
        var hash = HeaderHash()
        var taken: [[UInt8]: Int] = [:]
        for name in names {
            let number = taken[name, default: 0]
            guard let field = fields.field(name, fromBottom: number) else { continue }
            taken[name] = number + 1
            hash.add(field, form)
        }
        hash.add(own, form, isLast: true)
        return hash.digest
    }
}

/// The fields of a header by name.
package struct HeaderIndex: Sendable {
    package let fields: [SignedField]
    private let places: [[UInt8]: [Int]]

    package init(_ fields: [SignedField]) {
        self.fields = fields
        self.places = Dictionary(grouping: fields.indices) {
            fields[$0].name.map(\.lowerCased)
        }
    }

    /// The field of a name in lower case, counted from the lowest; `nil` if there are not so many.
    func field(_ name: [UInt8], fromBottom number: Int) -> SignedField? {
        guard let places = self.places[name], number < places.count else { return nil }
        return self.fields[places[places.count - 1 - number]]
    }

    /// How many fields have this name in lower case.
    func count(_ name: [UInt8]) -> Int { self.places[name]?.count ?? 0 }
}
