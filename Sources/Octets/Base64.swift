/// Base64 with padding (RFC 4648 §4), strict: one text for one sequence of octets.
///
/// JSON carries octets in it (protocol/README.md), and the lines of AUTH do (RFC 4954 §4).
package enum Base64 {
    private static let alphabet: StaticString =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    package static func encode(_ octets: [UInt8]) -> String {
        String(decoding: self.encoded(octets), as: UTF8.self)
    }

    /// The text as octets, all of them ASCII.
    package static func encoded(_ octets: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity((octets.count + 2) / 3 * 4)
        var index = 0
        while index < octets.count {
            let count = min(3, octets.count - index)
            var group: UInt32 = 0
            for offset in 0..<3 {
                group = group << 8 | (offset < count ? UInt32(octets[index + offset]) : 0)
            }
            for offset in 0..<4 {
                let digit = Int(group >> UInt32(18 - 6 * offset)) & 63
                text.append(
                    offset <= count ? self.alphabet.utf8Start[digit] : UInt8.equals
                )
            }
            index += 3
        }
        return text
    }

    /// - Returns: `nil` unless `text` is canonical: padded, and no bit set that is not used.
    package static func decode(_ text: String) -> [UInt8]? { self.decode(Array(text.utf8)) }

    /// - Returns: `nil` unless `text` is canonical: padded, and no bit set that is not used.
    package static func decode(_ text: [UInt8]) -> [UInt8]? { self.decode(text.span) }

    /// - Returns: `nil` unless `text` is canonical: padded, and no bit set that is not used.
    package static func decode(_ text: borrowing Span<UInt8>) -> [UInt8]? {
        guard text.count.isMultiple(of: 4) else { return nil }
        var octets: [UInt8] = []
        octets.reserveCapacity(text.count / 4 * 3)
        for start in stride(from: 0, to: text.count, by: 4) {
            let isLast = start + 4 == text.count
            var padding = 0
            var group: UInt32 = 0
            for index in start..<start + 4 {
                group <<= 6
                if text[index] == .equals, isLast {
                    padding += 1
                } else {
                    guard padding == 0, let digit = self.value(text[index]) else { return nil }
                    group |= digit
                }
            }
            guard padding <= 2, group & (1 << UInt32(8 * padding) - 1) == 0 else { return nil }
            for offset in 0..<3 - padding {
                octets.append(UInt8(truncatingIfNeeded: group >> UInt32(16 - 8 * offset)))
            }
        }
        return octets
    }

    private static func value(_ octet: UInt8) -> UInt32? {
        switch octet {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(octet) - 65
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(octet) - 71
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(octet) + 4
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
