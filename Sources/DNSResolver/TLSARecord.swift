/// What certificate a server has (RFC 6698 §2.1), as it came: nothing says that the numbers are known.
public struct TLSARecord: Sendable, Hashable {
    /// The owner of the certificate: 2 is an authority, 3 the server itself.
    public let usage: UInt8
    /// What is compared: 0 is the certificate, 1 its public key.
    public let selector: UInt8
    /// How: 0 whole, 1 by SHA-256, 2 by SHA-512.
    public let matchingType: UInt8
    /// What it must be.
    public let data: [UInt8]

    /// A record.
    public init(usage: UInt8, selector: UInt8, matchingType: UInt8, data: [UInt8]) {
        self.usage = usage
        self.selector = selector
        self.matchingType = matchingType
        self.data = data
    }
}
