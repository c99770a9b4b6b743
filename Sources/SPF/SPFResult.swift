package import Addresses

/// What SPF says about a client and a domain (RFC 7208 §2.6).
package enum SPFResult: String, Sendable, CaseIterable {
    /// The domain says nothing, or there is no domain to ask.
    case none
    /// The domain says that it does not say.
    case neutral
    /// The client may send for the domain.
    case pass
    /// The client may not send for the domain.
    case fail
    /// The client probably may not send for the domain.
    case softfail
    /// The DNS did not answer.
    case temperror
    /// The domain's records cannot be read, or ask too much.
    case permerror
}

/// What an evaluation came to.
package struct SPFFinding: Sendable, Equatable {
    /// The result.
    package let result: SPFResult
    /// The domain that was asked about, in lower case and in A-labels; it may be no name at all where the
    /// result is ``SPFResult/none``.
    package let domain: String
    /// The directive that matched, as it is written in its record: `ip4:192.0.2.0/24`; `nil` if none did.
    package let mechanism: String?
    /// Why there is no better result, for ``SPFResult/temperror``, ``SPFResult/permerror`` and
    /// ``SPFResult/none``.
    package let problem: String?
    /// What the domain says about a ``SPFResult/fail``: printable ASCII, 1,000 octets at most; `nil` if it
    /// says nothing.
    ///
    /// Its words are not ours: a reply that has them says whose they are (RFC 7208 §6.2).
    package let explanation: String?
}

/// Something to ask the DNS.
package struct SPFQuestion: Sendable, Hashable {
    /// The record types that an evaluation asks for.
    package enum Kind: Sendable, Hashable {
        case txt
        case a
        case aaaa
        case mx
        case ptr
    }

    /// The name: labels of 1 to 63 octets with dots between them, 253 octets at most, in lower case.
    ///
    /// Its octets are any, since macros put in what the client said.
    package let name: [UInt8]
    /// The record type.
    package let kind: Kind

    package init(name: [UInt8], kind: Kind) {
        self.name = name
        self.kind = kind
    }
}

/// What the DNS says to an ``SPFQuestion``.
package enum SPFAnswer: Sendable, Equatable {
    /// TXT records: the strings of each joined (RFC 7208 §3.3).
    case texts([[UInt8]])
    /// A or AAAA records.
    case addresses([IPAddress])
    /// The names of MX or PTR records; an MX that leads nowhere (RFC 7505) is an empty name.
    case names([[UInt8]])
    /// There is no such name, or no such record.
    case nothing
    /// Nobody knows, and why.
    case failure(String)
}
