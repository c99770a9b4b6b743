/// The record types that plugins ask for.
package enum DNSRecordType: Int32, Sendable, CaseIterable {
    case a = 1
    case ns = 2
    case cname = 5
    case ptr = 12
    case mx = 15
    case txt = 16
    case aaaa = 28
}

/// What the DNS said, or why it said nothing.
///
/// The four cases are kept apart because mail depends on it: a name that does not exist may be
/// refused for good, a name that nobody could look up must not be.
package enum DNSAnswer: Sendable, Equatable {
    /// At least one record of the type asked for.
    case records([DNSRecord])
    /// The name does not exist (RFC 2308 §2.1).
    case nxdomain
    /// The name exists and has no record of this type (RFC 2308 §2.2).
    case nodata
    /// Nobody knows: nothing may be concluded from it.
    case failure(DNSFailure)
}

/// Why there is no answer.
package enum DNSFailure: Error, Sendable, Equatable {
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
package enum DNSRecord: Sendable, Equatable {
    case a(DNSAddress)
    case aaaa(DNSAddress)
    case mx(preference: UInt16, exchange: DNSName)
    /// The exchange of this MX record is no host name (a space, a control octet, …).
    case mxUnusable(preference: UInt16)
    case name(DNSName)
    /// The strings of a TXT record, joined, octets as they came.
    case text([UInt8])

    /// The most records taken from one answer.
    package static let maximumCount = 512

    /// Reads record data as it stands on the wire, names uncompressed.
    ///
    /// - Returns: `nil` if the data does not have this type's form.
    package init?(type: DNSRecordType, data: [UInt8]) {
        switch type {
        case .a:
            guard data.count == 4 else { return nil }
            self = .a(DNSAddress(octets: data))
        case .aaaa:
            guard data.count == 16 else { return nil }
            self = .aaaa(DNSAddress(octets: data))
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

/// An IP address as a record holds it: 4 or 16 octets, network order.
package struct DNSAddress: Sendable, Hashable {
    package let octets: [UInt8]
}
