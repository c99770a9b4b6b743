import Octets
import Testing

/// What each of the 256 octets is, against ASCII's own ranges.
@Suite struct OctetTests {
    private static let all = (0...255).map { UInt8($0) }

    private static func range(_ first: Unicode.Scalar, _ last: Unicode.Scalar) -> ClosedRange<UInt8>
    {
        UInt8(ascii: first)...UInt8(ascii: last)
    }

    @Test func `letters, digits and blanks`() {
        for octet in Self.all {
            let isUpper = Self.range("A", "Z").contains(octet)
            let isLower = Self.range("a", "z").contains(octet)
            let isDigit = Self.range("0", "9").contains(octet)
            #expect(octet.isDigit == isDigit)
            #expect(octet.isLetter == (isUpper || isLower))
            #expect(octet.isLetterOrDigit == (isUpper || isLower || isDigit))
            #expect(octet.isBlank == (octet == 32 || octet == 9))
            #expect(octet.isControl == (octet < 32 || octet == 127))
            #expect(octet.isNonASCII == (octet > 127))
            #expect(octet.upperCased == (isLower ? octet - 32 : octet))
            #expect(octet.lowerCased == (isUpper ? octet + 32 : octet))
        }
    }

    @Test func `a hexadecimal digit is what Swift reads`() {
        for octet in Self.all {
            let text = String(decoding: [octet], as: UTF8.self)
            let value = octet < 128 ? UInt8(text, radix: 16) : nil
            #expect(octet.hexDigitValue == value)
            #expect(octet.isHexDigit == (value != nil))
        }
    }
}
