import Octets

/// The text of a header field.
///
/// - Note: RFC 2047.
enum EncodedWords {
    /// Decodes encoded words; everything else is UTF-8.
    ///
    /// White space between two encoded words is not shown (RFC 2047 §6.2), and two with one character
    /// set are decoded together, because some mailers cut a character in two. A word in an unknown
    /// character set stays as it is. The work is in proportion to the octets: each `?` in a word
    /// ends one of its parts, so no octet is read twice.
    static func decode(_ octets: [UInt8]) -> String {
        var text = ""
        var charset: Charset?
        var words: [UInt8] = []
        var plainStart = 0
        var index = 0
        while index < octets.count {
            guard let word = self.word(octets[index...]) else {
                index += 1
                continue
            }
            let plain = octets[plainStart..<index]
            let isGap = charset != nil && plain.allSatisfy(\.isBlank)
            if !isGap || charset != word.charset {
                text += charset?.decode(words) ?? ""
                words = []
            }
            if !isGap { text += String(decoding: plain, as: UTF8.self) }
            charset = word.charset
            words += word.octets
            index = word.end
            plainStart = index
        }
        text += charset?.decode(words) ?? ""
        return text + String(decoding: octets[plainStart...], as: UTF8.self)
    }

    /// The encoded word `=?charset?encoding?text?=` that `octets` begin with.
    private static func word(
        _ octets: ArraySlice<UInt8>
    ) -> (charset: Charset, octets: [UInt8], end: Int)? {
        guard octets.starts(with: [0x3D, 0x3F]) else { return nil }
        var rest = octets.dropFirst(2)
        guard let name = self.piece(&rest), let encoding = self.piece(&rest),
            let text = self.piece(&rest), rest.first == 0x3D, encoding.count == 1,
            // RFC 2231 §5: a language may follow the character set.
            let charset = Charset(String(decoding: name.prefix { $0 != 0x2A }, as: UTF8.self))
        else { return nil }
        let decoded: [UInt8]
        switch encoding.first.map(\.lowerCased) {
        case UInt8(ascii: "b"): decoded = TransferEncoding.base64(text)
        case UInt8(ascii: "q"): decoded = self.quoted(text)
        default: return nil
        }
        return (charset, decoded, rest.startIndex + 1)
    }

    /// What stands before the next question mark, which is taken too.
    private static func piece(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let end = rest.firstIndex(of: 0x3F) else { return nil }
        defer { rest = rest[(end + 1)...] }
        return rest[..<end]
    }

    /// RFC 2047 §4.2.
    private static func quoted(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var decoded: [UInt8] = []
        var rest = text
        while let octet = rest.popFirst() {
            if octet == 0x3D, let high = rest.first.flatMap(\.hexDigitValue),
                let low = rest.dropFirst().first.flatMap(\.hexDigitValue)
            {
                decoded.append(high << 4 | low)
                rest = rest.dropFirst(2)
            } else {
                decoded.append(octet == UInt8(ascii: "_") ? 0x20 : octet)
            }
        }
        return decoded
    }
}
