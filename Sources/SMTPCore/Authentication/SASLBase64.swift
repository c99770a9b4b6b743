import Octets

/// Base64 as the lines of AUTH have it: with padding, and one text for one sequence of octets.
///
/// - Note: RFC 4648 §4; RFC 4954 §4.
enum SASLBase64 {
    private static let alphabet: StaticString =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    static func encode(_ octets: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        for start in stride(from: 0, to: octets.count, by: 3) {
            let group = octets[start..<min(start + 3, octets.count)]
            let padding = 3 - group.count
            let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * padding)
            for place in 0..<4 {
                let digit = Int(bits >> UInt32(18 - 6 * place)) & 63
                text.append(
                    place < 4 - padding ? self.alphabet.utf8Start[digit] : UInt8.equals
                )
            }
        }
        return text
    }

    /// The octets in `range`, or `nil` unless the text is canonical.
    static func decode(_ text: borrowing Span<UInt8>, _ range: Range<Int>) -> [UInt8]? {
        guard range.count.isMultiple(of: 4) else { return nil }
        var octets: [UInt8] = []
        octets.reserveCapacity(range.count / 4 * 3)
        for start in stride(from: range.lowerBound, to: range.upperBound, by: 4) {
            var padding = 0
            var bits: UInt32 = 0
            for index in start..<start + 4 {
                bits <<= 6
                if text[index] == .equals, start + 4 == range.upperBound {
                    padding += 1
                } else {
                    guard padding == 0, let digit = self.value(of: text[index]) else { return nil }
                    bits |= digit
                }
            }
            guard padding <= 2, bits & (1 << UInt32(8 * padding) - 1) == 0 else { return nil }
            for place in 0..<3 - padding {
                octets.append(UInt8(truncatingIfNeeded: bits >> UInt32(16 - 8 * place)))
            }
        }
        return octets
    }

    private static func value(of octet: UInt8) -> UInt32? {
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
