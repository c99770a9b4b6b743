import Addresses

/// Version 1: one line of text, `PROXY TCP4 192.0.2.1 198.51.100.1 4711 25`.
enum ProxyHeaderVersion1 {
    static let prefix = Array("PROXY ".utf8)
    /// Octets of the line, CRLF included.
    static let maximumOctets = 107

    static func read(
        in octets: borrowing Span<UInt8>
    ) throws(ProxyHeaderError) -> (header: ProxyHeader, octets: Int)? {
        var line: [UInt8] = []
        for index in 0..<min(octets.count, Self.maximumOctets) {
            let octet = octets[index]
            if index < Self.prefix.count, octet != Self.prefix[index] { throw .notAHeader }
            if octet == 0x0D {
                guard index + 1 < Self.maximumOctets else { throw .lineTooLong }
                guard index + 1 < octets.count else { return nil }
                guard octets[index + 1] == 0x0A else { throw .badLine }
                return (try Self.header(line), index + 2)
            }
            guard (0x20...0x7E).contains(octet) else { throw .badLine }
            line.append(octet)
        }
        guard octets.count < Self.maximumOctets else { throw .lineTooLong }
        return nil
    }

    private static func header(_ line: [UInt8]) throws(ProxyHeaderError) -> ProxyHeader {
        let fields = line.split(separator: 0x20, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        guard fields.count >= 2 else { throw .badLine }
        // What follows is to be ignored.
        if fields[1] == "UNKNOWN" { return .ownAddresses }
        guard fields[1] == "TCP4" || fields[1] == "TCP6", fields.count == 6 else { throw .badLine }
        let isIPv6 = fields[1] == "TCP6"
        guard let client = Self.endpoint(fields[2], fields[4], isIPv6: isIPv6),
            let server = Self.endpoint(fields[3], fields[5], isIPv6: isIPv6)
        else { throw .badLine }
        return .client(client, server: server)
    }

    private static func endpoint(_ address: String, _ port: String, isIPv6: Bool) -> ProxyEndpoint?
    {
        guard IPAddress(parsing: address, mapped: .keep)?.isIPv6 == isIPv6,
            let address = IPAddress(parsing: address),
            port.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            port == "0" || !port.hasPrefix("0"), let port = UInt16(port)
        else { return nil }
        return ProxyEndpoint(address: address, port: port)
    }
}
