public import Addresses
public import DomainNames

/// The record types that plugins ask for.
public enum DNSRecordType: Int32, Sendable, CaseIterable {
    /// An IPv4 address.
    case a = 1
    /// The name of a server of a zone.
    case ns = 2
    /// The name that an alias stands for.
    case cname = 5
    /// The name of an address, asked for by ``DomainNames/DNSName/init(reversing:under:)``.
    case ptr = 12
    /// A host that takes mail for a domain.
    case mx = 15
    /// Text, as SPF, DKIM and DMARC use it.
    case txt = 16
    /// An IPv6 address.
    case aaaa = 28
    /// What certificate a server has (RFC 6698).
    case tlsa = 52
}

/// What the DNS said, or why it said nothing.
///
/// The four cases are kept apart because mail depends on it: a name that does not exist may be
/// refused for good; a name that could not be looked up must not be.
public enum DNSAnswer: Sendable, Equatable {
    /// At least one record of the type asked for.
    case records([DNSRecord])
    /// The name does not exist (RFC 2308 §2.1).
    case nxdomain
    /// The name exists and has no record of this type (RFC 2308 §2.2).
    case nodata
    /// Nobody knows: nothing may be concluded from it.
    case failure(DNSFailure)
}

/// An answer, and what is known of it.
public struct DNSLookup: Sendable, Equatable {
    /// The answer.
    public let answer: DNSAnswer
    /// Whether DNSSEC vouches for it (RFC 4033 §5), also for ``DNSAnswer/nxdomain`` and
    /// ``DNSAnswer/nodata``.
    ///
    /// Never without a trust anchor (`trust_anchor_file` of `[dns]`).
    public let isSecure: Bool
    /// The name that has the records, where the one that was asked for is an alias of it; `nil` without
    /// records.
    public let canonicalName: DNSName?

    /// An answer; of a failure nothing is known.
    public init(_ answer: DNSAnswer, isSecure: Bool = false, canonicalName: DNSName? = nil) {
        self.answer = answer
        self.isSecure = isSecure
        self.canonicalName = canonicalName
    }
}

/// Why there is no answer.
public enum DNSFailure: Error, Sendable, Equatable {
    /// The query's time is up.
    case timedOut
    /// The resolver answered SERVFAIL, REFUSED or another code that is not an answer.
    case server(rcode: Int32)
    /// DNSSEC validation failed.
    case bogus
    /// libunbound itself failed, with its own code.
    case library(code: Int32)
    /// The answer holds more records than ``DNSRecord/maximumCount`` or only unreadable ones.
    case unreadable
    /// As many queries as allowed are under way.
    case overloaded
    /// The asking task was cancelled.
    case cancelled
    /// The resolver was shut down.
    case closed
}

/// One record's data, checked and copied out of the library's memory.
public enum DNSRecord: Sendable, Equatable {
    /// The data of an A or AAAA record; an IPv4-mapped IPv6 address is the IPv4 address.
    case address(IPAddress)
    /// A host that takes mail; the least preference first. The root is a null MX (RFC 7505 §3).
    case mx(preference: UInt16, exchange: DNSName)
    /// The exchange of this MX record is no host name (a space, a control octet, …).
    case mxUnusable(preference: UInt16)
    /// The name in an NS, CNAME or PTR record.
    case name(DNSName)
    /// The strings of a TXT record, joined, octets as they came.
    case text([UInt8])
    /// What certificate a server has.
    case tlsa(TLSARecord)

    /// The most records taken from one answer.
    public static let maximumCount = 512

    /// Reads record data as it stands on the wire, names uncompressed.
    ///
    /// - Returns: `nil` if the data does not have this type's form.
    package init?(type: DNSRecordType, data: [UInt8]) {
        switch type {
        case .a:
            guard data.count == 4 else { return nil }
            self = .address(IPAddress(ipv4: data.reduce(0) { $0 << 8 | UInt32($1) }))
        case .aaaa:
            guard data.count == 16 else { return nil }
            self = .address(IPAddress(ipv6: data.reduce(0) { $0 << 8 | UInt128($1) }))
        case .mx:
            guard data.count >= 3 else { return nil }
            let preference = UInt16(data[0]) << 8 | UInt16(data[1])
            if let exchange = DNSName(wire: data[2...]) {
                self = .mx(preference: preference, exchange: exchange)
            } else {
                self = .mxUnusable(preference: preference)
            }
        case .ns, .cname, .ptr:
            guard let name = DNSName(wire: data[...]) else { return nil }
            self = .name(name)
        case .tlsa:
            guard data.count >= 3 else { return nil }
            self = .tlsa(
                TLSARecord(
                    usage: data[0],
                    selector: data[1],
                    matchingType: data[2],
                    data: Array(data[3...])
                )
            )
        case .txt:
            guard let text = Self.joinedStrings(data) else { return nil }
            self = .text(text)
        }
    }

    /// Joins the character-strings of a TXT record (RFC 1035 §3.3.14, RFC 7208 §3.3).
    private static func joinedStrings(_ data: [UInt8]) -> [UInt8]? {
        var joined: [UInt8] = []
        joined.reserveCapacity(data.count)
        var rest = data[...]
        while let length = rest.popFirst() {
            guard rest.count >= Int(length) else { return nil }
            joined.append(contentsOf: rest.prefix(Int(length)))
            rest = rest.dropFirst(Int(length))
        }
        return joined
    }
}
