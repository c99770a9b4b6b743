/// A block of addresses, first and last address included, as control files write it.
///
/// - `192.0.2.1`, `2001:db8::1`: one address
/// - `192.0.2.0/24`, `2001:db8::/32`, `192.0.2.0/255.255.255.0`: a block; bits behind the mask are
///   ignored
/// - `192.0.2.`, `2001:db8:`: a block cut where an octet (or a group) ends; the dot (or colon) at the
///   end is what makes it a block, so that `192.168.1` cannot mean 192.168.10.x by accident
public struct IPNetwork: Sendable, Hashable, CustomStringConvertible {
    private let bits: UInt128
    private let mask: UInt128
    /// Whether it is a block of IPv6 addresses and not of IPv4.
    public let isIPv6: Bool
    /// How many bits all addresses share: 0 … 32 or 0 … 128.
    public let prefixLength: Int

    /// The block of the first `prefixLength` bits of `address`.
    ///
    /// - Returns: `nil` if the address has fewer bits.
    public init?(_ address: IPAddress, prefixLength: Int) {
        let width = address.isIPv6 ? 128 : 32
        guard (0...width).contains(prefixLength) else { return nil }
        let all = address.isIPv6 ? UInt128.max : UInt128(UInt32.max)
        self.mask = all & ~((UInt128(1) << UInt128(width - prefixLength)) &- 1)
        self.bits = address.bits & self.mask
        self.isIPv6 = address.isIPv6
        self.prefixLength = prefixLength
    }

    /// Reads one of the forms above.
    ///
    /// - Returns: `nil` if it is none of them.
    public init?(parsing text: String) {
        if let slash = text.firstIndex(of: "/") {
            let length = text[text.index(after: slash)...]
            guard let address = IPAddress(parsing: String(text[..<slash]), mapped: .keep),
                let prefixLength = Self.prefixLength(length, isIPv6: address.isIPv6)
            else { return nil }
            self.init(unmapping: address, prefixLength: prefixLength)
        } else if text.hasSuffix(".") {
            self.init(dottedPrefix: text.dropLast())
        } else if text.hasSuffix(":"), !text.hasSuffix("::") {
            guard let groups = IPAddress.groups(text.dropLast(), mayEndDotted: false),
                (1...7).contains(groups.count)
            else { return nil }
            let bits = groups.reduce(UInt128(0)) { $0 << 16 | UInt128($1) }
            self.init(
                IPAddress(ipv6: bits << UInt128(16 * (8 - groups.count))),
                prefixLength: 16 * groups.count
            )
        } else {
            guard let address = IPAddress(parsing: text) else { return nil }
            self.init(address, prefixLength: address.isIPv6 ? 128 : 32)
        }
    }

    /// `::ffff:192.0.2.0/120` is 192.0.2.0/24, because such a client is seen as IPv4.
    private init?(unmapping address: IPAddress, prefixLength: Int) {
        if address.isIPv6, address.bits >> 32 == 0xffff, prefixLength >= 96 {
            let unwrapped = IPAddress(ipv4: UInt32(truncatingIfNeeded: address.bits))
            self.init(unwrapped, prefixLength: prefixLength - 96)
        } else {
            self.init(address, prefixLength: prefixLength)
        }
    }

    private init?(dottedPrefix text: Substring) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...3).contains(parts.count) else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard let octet = IPAddress.decimalOctet(part) else { return nil }
            bits = bits << 8 | UInt32(octet)
        }
        self.init(
            IPAddress(ipv4: bits << UInt32(8 * (4 - parts.count))),
            prefixLength: 8 * parts.count
        )
    }

    private static func prefixLength(_ text: Substring, isIPv6: Bool) -> Int? {
        if !isIPv6, let mask = IPAddress.ipv4Bits(text) {
            let length = (~mask).leadingZeroBitCount
            return mask.trailingZeroBitCount >= 32 - length ? length : nil
        }
        guard (1...3).contains(text.utf8.count), text.utf8.allSatisfy({ 0x30...0x39 ~= $0 }),
            text == "0" || !text.hasPrefix("0"), let length = Int(text),
            length <= (isIPv6 ? 128 : 32)
        else { return nil }
        return length
    }

    /// Whether `address` lies in the block; an address of the other family never does.
    public func contains(_ address: IPAddress) -> Bool {
        address.isIPv6 == self.isIPv6 && address.bits & self.mask == self.bits
    }

    /// The block as `192.0.2.0/24`.
    public var description: String {
        let address =
            self.isIPv6
            ? IPAddress(ipv6: self.bits) : IPAddress(ipv4: UInt32(truncatingIfNeeded: self.bits))
        return "\(address)/\(self.prefixLength)"
    }
}
