/// Writes text of clients, messages and workers so that it neither ends a line or a quote, nor
/// moves a cursor, nor changes the order in which a terminal shows what stands beside it.
///
/// It looks at octets and Unicode scalars, never at a `Character`: a quotation mark with a
/// combining mark behind it is one `Character`, and not the one that is searched for.
enum LogText {
    /// How characters are escaped.
    enum Style {
        /// `\u{85}`; an octet that is no UTF-8 is `\xff`. A space, `=` and quotation marks stay.
        case text
        /// As `text`, where a space or `=` would end it: `\u{20}`.
        case word
        /// Between the quotes of a JSON string (RFC 8259 §7): `\u0085`; an octet that is no UTF-8
        /// reads as `\xff` after decoding.
        case json
    }

    /// Appends at most `limit` of `octets`, then `…` if there are more.
    static func append(
        _ octets: borrowing Span<UInt8>,
        _ style: Style,
        limit: Int,
        to line: inout [UInt8]
    ) {
        var end = octets.count
        if end > limit {
            end = limit
            // Not inside a sequence; one has four octets at most.
            while end > max(0, limit - 4), octets[end] & 0xC0 == 0x80 { end -= 1 }
        }
        var isBase = false
        var index = 0
        while index < end {
            let octet = octets[index]
            if octet < 0x80 {
                self.append(ascii: octet, style, to: &line)
                isBase = Self.isAlphanumeric(octet)
                index += 1
            } else if let (scalar, count) = self.scalar(in: octets, at: index, before: end) {
                isBase = self.mayStand(scalar, afterBase: isBase)
                if isBase {
                    for position in index..<index + count { line.append(octets[position]) }
                } else {
                    self.append(escaped: scalar, style, to: &line)
                }
                index += count
            } else {
                line.append(contentsOf: style == .json ? #"\\x"#.utf8 : #"\x"#.utf8)
                self.append(hexadecimal: UInt32(octet), digits: 2, to: &line)
                isBase = false
                index += 1
            }
        }
        if end < octets.count { line.append(contentsOf: "…".utf8) }
    }

    private static func append(ascii octet: UInt8, _ style: Style, to line: inout [UInt8]) {
        switch octet {
        case UInt8(ascii: "\\"): line.append(contentsOf: #"\\"#.utf8)
        case UInt8(ascii: "\"") where style != .word: line.append(contentsOf: #"\""#.utf8)
        case UInt8(ascii: "\""), UInt8(ascii: " "), UInt8(ascii: "="):
            guard style == .word else { return line.append(octet) }
            self.append(escaped: Unicode.Scalar(octet), style, to: &line)
        case 0x21...0x7E: line.append(octet)
        // I-JSON readers may refuse U+0000, and ours does in a key.
        case 0 where style == .json: line.append(contentsOf: #"\\x00"#.utf8)
        default: self.append(escaped: Unicode.Scalar(octet), style, to: &line)
        }
    }

    /// Whether `scalar`, beyond ASCII, can be seen and leaves what stands round it alone.
    ///
    /// A combining mark needs something that it belongs to. Unassigned ones may be anything
    /// tomorrow.
    private static func mayStand(_ scalar: Unicode.Scalar, afterBase isBase: Bool) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
            .paragraphSeparator, .spaceSeparator:
            false
        case .nonspacingMark, .spacingMark, .enclosingMark: isBase
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter,
            .decimalNumber, .letterNumber, .otherNumber, .connectorPunctuation, .dashPunctuation,
            .openPunctuation, .closePunctuation, .initialPunctuation, .finalPunctuation,
            .otherPunctuation, .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol:
            true
        @unknown default: false
        }
    }

    private static func append(
        escaped scalar: Unicode.Scalar,
        _ style: Style,
        to line: inout [UInt8]
    ) {
        guard style == .json else {
            line.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".utf8)
            return
        }
        for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
            line.append(contentsOf: #"\u"#.utf8)
            self.append(hexadecimal: UInt32(unit), digits: 4, to: &line)
        }
    }

    private static func append(hexadecimal value: UInt32, digits: Int, to line: inout [UInt8]) {
        for digit in (0..<digits).reversed() {
            let four = UInt8(truncatingIfNeeded: value >> (4 * UInt32(digit))) & 15
            line.append(four < 10 ? four + UInt8(ascii: "0") : four - 10 + UInt8(ascii: "a"))
        }
    }

    private static func isAlphanumeric(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }

    /// The scalar at `index`, where an octet beyond ASCII stands, and its length; `nil` if there is
    /// no whole and valid sequence (RFC 3629 §4).
    private static func scalar(
        in octets: borrowing Span<UInt8>,
        at index: Int,
        before end: Int
    ) -> (Unicode.Scalar, count: Int)? {
        let first = UInt32(octets[index])
        let count: Int
        let smallest: UInt32
        var value: UInt32
        switch first {
        case 0xC2...0xDF: (count, smallest, value) = (2, 0x80, first & 0x1F)
        case 0xE0...0xEF: (count, smallest, value) = (3, 0x800, first & 0x0F)
        case 0xF0...0xF4: (count, smallest, value) = (4, 0x10000, first & 0x07)
        default: return nil
        }
        guard end - index >= count else { return nil }
        for position in index + 1..<index + count {
            let octet = UInt32(octets[position])
            guard octet & 0xC0 == 0x80 else { return nil }
            value = value << 6 | octet & 0x3F
        }
        // Surrogates and what lies beyond U+10FFFF are no scalars.
        guard value >= smallest, let scalar = Unicode.Scalar(value) else { return nil }
        return (scalar, count)
    }
}
