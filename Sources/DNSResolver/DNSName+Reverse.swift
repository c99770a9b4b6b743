public import Addresses
public import DomainNames

extension DNSName {
    /// The name under which something is said about an address: its parts from the last to the first,
    /// then `zone`, as in `1.2.0.192.dnsbl.example`.
    ///
    /// Without a zone it is the name of the address's PTR record.
    ///
    /// - Note: RFC 5782 §2.1 and §2.4 (blocklists), RFC 1035 §3.5 and RFC 3596 §2.5 (PTR).
    ///
    /// - Returns: `nil` if the zone is too long.
    public init?(reversing address: IPAddress, under zone: DNSName? = nil) {
        let parts =
            address.isIPv6
            ? address.octets.flatMap { [$0 >> 4, $0 & 0xF] }.map { String($0, radix: 16) }
            : address.octets.map { String($0) }
        let zone = zone?.text ?? (address.isIPv6 ? "ip6.arpa" : "in-addr.arpa")
        self.init((parts.reversed() + [zone]).joined(separator: "."))
    }
}
