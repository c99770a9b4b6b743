import Addresses

/// Version 2: octets, most significant first.
///
/// Its length is the format's own, 65,535 octets behind the first 16. Extensions (TLVs) are checked for
/// their lengths, and the CRC32c is verified where there is one; what the others say is not used.
enum ProxyHeaderVersion2 {
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    /// Signature, version and command, family and transport, length.
    private static let fixedOctets = 16
    private static let checksumType: UInt8 = 0x03

    static func read(
        in octets: borrowing Span<UInt8>
    ) throws(ProxyHeaderError) -> (header: ProxyHeader, octets: Int)? {
        for index in 0..<min(octets.count, Self.signature.count)
        where octets[index] != Self.signature[index] {
            throw .notAHeader
        }
        guard octets.count > 12 else { return nil }
        guard octets[12] == 0x20 || octets[12] == 0x21 else { throw .badVersion }
        let isLocal = octets[12] == 0x20
        guard octets.count >= Self.fixedOctets else { return nil }
        let end = Self.fixedOctets + Self.number(in: octets, at: 14)
        guard octets.count >= end else { return nil }
        // LOCAL and UNSPEC: the rest is to be ignored.
        if isLocal || octets[13] == 0x00 { return (.ownAddresses, end) }
        let addressOctets: Int
        switch octets[13] {
        case 0x11: addressOctets = 4
        case 0x21: addressOctets = 16
        default: throw .badFamily
        }
        let ports = Self.fixedOctets + 2 * addressOctets
        guard ports + 4 <= end else { throw .tooShort }
        try Self.checkExtensions(octets, from: ports + 4, to: end)
        func endpoint(_ index: Int) -> ProxyEndpoint {
            let start = Self.fixedOctets + index * addressOctets
            return ProxyEndpoint(
                address: Self.address(in: octets, at: start, octets: addressOctets),
                port: UInt16(truncatingIfNeeded: Self.number(in: octets, at: ports + 2 * index))
            )
        }
        return (.client(endpoint(0), server: endpoint(1)), end)
    }

    private static func number(in octets: borrowing Span<UInt8>, at index: Int) -> Int {
        Int(octets[index]) << 8 | Int(octets[index + 1])
    }

    private static func address(
        in octets: borrowing Span<UInt8>,
        at start: Int,
        octets count: Int
    ) -> IPAddress {
        var bits: UInt128 = 0
        for index in start..<(start + count) { bits = bits << 8 | UInt128(octets[index]) }
        return count == 4
            ? IPAddress(ipv4: UInt32(truncatingIfNeeded: bits)) : IPAddress(ipv6: bits)
    }

    /// Walks over the extensions.
    private static func checkExtensions(
        _ octets: borrowing Span<UInt8>,
        from start: Int,
        to end: Int
    ) throws(ProxyHeaderError) {
        var index = start
        while index < end {
            guard index + 3 <= end else { throw .badExtension }
            let value = index + 3
            let next = value + Self.number(in: octets, at: index + 1)
            guard next <= end else { throw .badExtension }
            if octets[index] == Self.checksumType {
                guard next - value == 4 else { throw .badExtension }
                let sent =
                    Self.number(in: octets, at: value) << 16
                    | Self.number(in: octets, at: value + 2)
                guard Self.checksum(octets, end: end, zeroAt: value) == UInt32(sent) else {
                    throw .badChecksum
                }
            }
            index = next
        }
    }

    /// CRC32c of the header, its own four octets taken as zero.
    private static func checksum(
        _ octets: borrowing Span<UInt8>,
        end: Int,
        zeroAt zero: Int
    ) -> UInt32 {
        var checksum = UInt32.max
        for index in 0..<end {
            checksum ^= (zero..<(zero + 4)).contains(index) ? 0 : UInt32(octets[index])
            for _ in 0..<8 {
                checksum = checksum & 1 == 1 ? checksum >> 1 ^ 0x82F6_3B78 : checksum >> 1
            }
        }
        return ~checksum
    }
}
