package import Addresses

/// What a proxy says before anything else on a connection, in version 1 or 2 of HAProxy's PROXY protocol.
///
/// HAProxy's `doc/proxy-protocol.txt` is the specification.
package enum ProxyHeader: Equatable, Sendable {
    /// The proxy speaks for itself (LOCAL), or does not know the client (UNKNOWN, UNSPEC):
    /// the addresses of the connection hold.
    case ownAddresses
    /// The client that the proxy speaks for, and what that client connected to.
    case client(ProxyEndpoint, server: ProxyEndpoint)

    /// Reads a header at the front of `octets`.
    ///
    /// - Parameter octets: Everything received so far.
    /// - Returns: The header and its octets; `nil` if more octets are needed. What is no header is
    ///   refused at the first octet that shows it.
    /// - Throws: Why it is no header, or one that does not name a client of TCP.
    package static func read(
        in octets: borrowing Span<UInt8>
    ) throws(ProxyHeaderError) -> (header: ProxyHeader, octets: Int)? {
        guard octets.count > 0 else { return nil }
        return octets[0] == ProxyHeaderVersion1.prefix.first
            ? try ProxyHeaderVersion1.read(in: octets)
            : try ProxyHeaderVersion2.read(in: octets)
    }
}

/// One end of the connection between client and proxy.
package struct ProxyEndpoint: Equatable, Sendable {
    /// An IPv4-mapped IPv6 address is IPv4.
    package let address: IPAddress
    package let port: UInt16

    package init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }
}

/// Why what came first is not a header that can be used.
package enum ProxyHeaderError: Error, Equatable, CustomStringConvertible {
    case notAHeader
    case lineTooLong
    case badLine
    case badVersion
    case badFamily
    case tooShort
    case badExtension
    case badChecksum

    package var description: String {
        switch self {
        case .notAHeader: "the connection does not begin with a PROXY header"
        case .lineTooLong: "the line has more than 107 octets"
        case .badLine: "the line is not PROXY, TCP4 or TCP6, two addresses and two ports"
        case .badVersion: "version or command is not one of version 2"
        case .badFamily: "the addresses are not of TCP over IPv4 or IPv6"
        case .tooShort: "it has fewer octets than its addresses need"
        case .badExtension: "an extension (TLV) is longer than the header, or has a wrong length"
        case .badChecksum: "the CRC32c is wrong"
        }
    }
}
