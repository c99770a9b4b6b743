/// An IPv4 or IPv6 address, to compare and match.
///
/// An IPv4-mapped address (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2) is read as the IPv4 address, so
/// that a client cannot evade a list by connecting over IPv6.
public struct IPAddress: Sendable, Hashable, CustomStringConvertible {
    /// The address's bits, an IPv4 address in the lowest 32.
    let bits: UInt128
    /// Whether it is an IPv6 address and not IPv4.
    public let isIPv6: Bool

    /// How `::ffff:a.b.c.d` is read.
    public enum MappedAddress: Sendable {
        /// It is the IPv4 address.
        case unwrap
        /// It stays an IPv6 address.
        case keep
    }

    /// An IPv4 address, most significant octet first.
    public init(ipv4 bits: UInt32) {
        self.init(bits: UInt128(bits), isIPv6: false)
    }

    /// An IPv6 address, most significant octet first; an IPv4-mapped one becomes IPv4.
    public init(ipv6 bits: UInt128) {
        self.init(ipv6: bits, mapped: .unwrap)
    }

    private init(ipv6 bits: UInt128, mapped: MappedAddress) {
        if mapped == .unwrap, bits >> 32 == 0xffff {
            self.init(ipv4: UInt32(truncatingIfNeeded: bits))
        } else {
            self.init(bits: bits, isIPv6: true)
        }
    }

    private init(bits: UInt128, isIPv6: Bool) {
        self.bits = bits
        self.isIPv6 = isIPv6
    }

    /// Reads a literal: `192.0.2.1` or `2001:db8::1`, without brackets, prefix or zone.
    ///
    /// - Returns: `nil` if it is anything else; `010.0.0.1` is refused, some read it as octal.
    public init?(parsing text: String, mapped: MappedAddress = .unwrap) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            guard let bits = Self.ipv6Bits(text[...]) else { return nil }
            self.init(ipv6: bits, mapped: mapped)
        } else {
            guard let bits = Self.ipv4Bits(text[...]) else { return nil }
            self.init(ipv4: bits)
        }
    }

    /// An address of this machine alone: 127.0.0.0/8 or ::1.
    public var isLoopback: Bool { self.isIPv6 ? self.bits == 1 : self.bits >> 24 == 127 }

    /// The octets, most significant first: 4 or 16.
    public var octets: [UInt8] {
        stride(from: self.isIPv6 ? 120 : 24, through: 0, by: -8).map {
            UInt8(truncatingIfNeeded: self.bits >> UInt128($0))
        }
    }

    /// The block of addresses that belongs to one client: an IPv4 address itself, the /64 of an
    /// IPv6 address (RFC 4291 §2.5.1).
    public var clientNetwork: IPAddress {
        self.isIPv6 ? IPAddress(bits: (self.bits >> 64) << 64, isIPv6: true) : self
    }

    /// The block of addresses that belongs to one site: the /24 of an IPv4 address, the /48 of an IPv6
    /// address (RFC 6177 §2).
    public var clientSite: IPAddress {
        self.isIPv6
            ? IPAddress(bits: (self.bits >> 80) << 80, isIPv6: true)
            : IPAddress(bits: (self.bits >> 8) << 8, isIPv6: false)
    }

    /// RFC 5952 for IPv6: lower case, the longest run of zeros shortened.
    public var description: String {
        guard self.isIPv6 else {
            return stride(from: 24, through: 0, by: -8)
                .map { String((self.bits >> UInt128($0)) & 0xff) }
                .joined(separator: ".")
        }
        let groups = stride(from: 112, through: 0, by: -16).map {
            UInt16(truncatingIfNeeded: self.bits >> UInt128($0))
        }
        guard let zeros = Self.longestRunOfZeros(groups) else {
            return groups.map { String($0, radix: 16) }.joined(separator: ":")
        }
        let head = groups[..<zeros.lowerBound].map { String($0, radix: 16) }
        let tail = groups[zeros.upperBound...].map { String($0, radix: 16) }
        return head.joined(separator: ":") + "::" + tail.joined(separator: ":")
    }

    private static func longestRunOfZeros(_ groups: [UInt16]) -> Range<Int>? {
        var longest = 0..<0
        var start = 0
        for (index, group) in groups.enumerated() {
            guard group == 0 else {
                start = index + 1
                continue
            }
            if index + 1 - start > longest.count { longest = start..<(index + 1) }
        }
        return longest.count >= 2 ? longest : nil
    }

    static func ipv4Bits(_ text: Substring) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard let octet = Self.decimalOctet(part) else { return nil }
            bits = bits << 8 | UInt32(octet)
        }
        return bits
    }

    static func decimalOctet(_ text: Substring) -> UInt8? {
        guard (1...3).contains(text.utf8.count), text.utf8.allSatisfy({ 0x30...0x39 ~= $0 }),
            text == "0" || !text.hasPrefix("0")
        else { return nil }
        return UInt8(text)
    }

    static func ipv6Bits(_ text: Substring) -> UInt128? {
        let halves = Self.splitAtDoubleColon(text)
        guard let head = Self.groups(halves.head, mayEndDotted: halves.tail == nil) else {
            return nil
        }
        guard let tailText = halves.tail else {
            return head.count == 8 ? Self.joined(head) : nil
        }
        guard let tail = Self.groups(tailText, mayEndDotted: true), head.count + tail.count <= 7
        else { return nil }
        let zeros = [UInt16](repeating: 0, count: 8 - head.count - tail.count)
        return Self.joined(head + zeros + tail)
    }

    private static func splitAtDoubleColon(_ text: Substring) -> (head: Substring, tail: Substring?)
    {
        var index = text.startIndex
        while index < text.endIndex {
            let next = text.index(after: index)
            if text[index] == ":", next < text.endIndex, text[next] == ":" {
                return (text[..<index], text[text.index(after: next)...])
            }
            index = next
        }
        return (text, nil)
    }

    private static func joined(_ groups: [UInt16]) -> UInt128 {
        groups.reduce(0) { $0 << 16 | UInt128($1) }
    }

    /// The 16-bit groups of `text`, where the last may be a dotted IPv4 address.
    static func groups(_ text: Substring, mayEndDotted: Bool) -> [UInt16]? {
        if text.isEmpty { return [] }
        var groups: [UInt16] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if mayEndDotted, index == parts.count - 1, part.contains(".") {
                guard let bits = Self.ipv4Bits(part) else { return nil }
                groups.append(UInt16(truncatingIfNeeded: bits >> 16))
                groups.append(UInt16(truncatingIfNeeded: bits))
                continue
            }
            guard (1...4).contains(part.utf8.count), part.utf8.allSatisfy({ $0 != 0x2b }),
                let group = UInt16(part, radix: 16)
            else { return nil }
            groups.append(group)
        }
        return groups.count <= 8 ? groups : nil
    }
}
