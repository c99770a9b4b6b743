import Octets

/// xtext: how a value of any octets is written in a parameter.
///
/// - Note: RFC 3461 §4; RFC 4954 §5 uses it too.
enum XText {
    /// Printable ASCII but "+" and "=", and "+" with two hexadecimal digits in upper case.
    ///
    /// With `isPrintable` no digits may mean a control octet, or one beyond ASCII; with `takesUTF8`
    /// octets beyond ASCII may stand there as they are.
    static func stands(
        in octets: borrowing Span<UInt8>,
        _ range: Range<Int>,
        isPrintable: Bool = false,
        takesUTF8: Bool = false
    ) -> Bool {
        var index = range.lowerBound
        while index < range.upperBound {
            let octet = octets[index]
            guard octet == 0x2B else {
                guard octet > .space, octet != .equals, octet != .delete,
                    !octet.isNonASCII || takesUTF8
                else { return false }
                index += 1
                continue
            }
            guard index + 2 < range.upperBound, let high = self.digit(octets[index + 1]),
                let low = self.digit(octets[index + 2])
            else { return false }
            let meant = high << 4 | low
            guard !isPrintable || !(meant.isControl || meant.isNonASCII) else { return false }
            index += 3
        }
        return true
    }

    /// What the text stands for; `nil` if it is no xtext.
    static func decoded(_ octets: borrowing Span<UInt8>, _ range: Range<Int>) -> [UInt8]? {
        guard self.stands(in: octets, range) else { return nil }
        var value: [UInt8] = []
        var index = range.lowerBound
        while index < range.upperBound {
            guard octets[index] == 0x2B, let high = self.digit(octets[index + 1]),
                let low = self.digit(octets[index + 2])
            else {
                value.append(octets[index])
                index += 1
                continue
            }
            value.append(high << 4 | low)
            index += 3
        }
        return value
    }

    private static func digit(_ octet: UInt8) -> UInt8? {
        if octet.isDigit { return octet &- 0x30 }
        return (0x41...0x46).contains(octet) ? octet &- 0x37 : nil
    }
}
