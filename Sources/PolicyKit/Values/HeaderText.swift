import Octets

/// Makes the value of a header field one that may stand in a message.
///
/// - NUL is left out, and so are CR and LF that fold nothing.
/// - Lines of white space alone, which a reader that strips it takes for the end of the header, are
///   unfolded: their white space stays.
/// - Octets above 127 become encoded words (RFC 2047) where the message has no SMTPUTF8.
/// - A line over 998 octets (RFC 5322 §2.1.1) is folded at its white space, and within a word that is
///   longer than that.
///
/// The work is in proportion to the octets.
enum HeaderText {
    /// Octets of a line without its CRLF.
    private static let maximumLineOctets = 998
    /// Where long lines are folded if they can be, RFC 5322 §2.1.1.
    private static let preferredLineOctets = 78
    /// Octets of an encoded word with its delimiters (RFC 2047 §2).
    private static let maximumWordOctets = 75

    /// `value` follows the colon of a field whose name has `nameOctets`.
    static func legal(_ value: Bytes, nameOctets: Int, allows8Bit: Bool) -> Bytes {
        var octets = value.octets
        if octets.contains(where: { $0 == 0x0D || $0 == 0x0A || $0 == 0x00 }) {
            octets = self.folded(self.lines(octets).map { $0.filter(self.isText) })
        }
        if !allows8Bit, octets.contains(where: { $0 > 0x7F }) { octets = self.encoding(octets) }
        if nameOctets + 2 + octets.count > self.maximumLineOctets {
            octets = self.folding(octets, first: nameOctets + 1)
        }
        return octets == value.octets ? value : Bytes(octets: octets)
    }

    // MARK: Lines

    /// The lines as one value; one of white space alone belongs to the line before it.
    private static func folded(_ lines: [[UInt8]]) -> [UInt8] {
        var octets: [UInt8] = []
        for (index, line) in lines.enumerated() {
            if index > 0, !line.allSatisfy(\.isBlank) { octets += [0x0D, 0x0A] }
            octets += line
        }
        return octets
    }

    private static func isText(_ octet: UInt8) -> Bool {
        octet != 0x00 && octet != 0x0D && octet != 0x0A
    }

    /// The lines of a folded value, each with the white space that it begins with.
    private static func lines(_ octets: [UInt8]) -> [[UInt8]] {
        var lines: [[UInt8]] = [[]]
        var index = 0
        while index < octets.count {
            if index + 2 < octets.count, octets[index] == 0x0D, octets[index + 1] == 0x0A,
                octets[index + 2].isBlank
            {
                lines.append([])
                index += 2
            }
            lines[lines.count - 1].append(octets[index])
            index += 1
        }
        return lines
    }

    private static func joined(_ lines: [[UInt8]]) -> [UInt8] {
        Array(lines.joined(separator: [0x0D, 0x0A]))
    }

    // MARK: Encoded words

    /// Replaces each run of words with octets above 127 by encoded words.
    ///
    /// White space between two encoded words is not shown (RFC 2047 §6.2), so what stands between such
    /// words goes into them.
    private static func encoding(_ octets: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var run: [UInt8] = []  // words to encode, with the white space between them
        var gap: [UInt8] = []  // white space since
        var index = 0
        while index < octets.count {
            let start = index
            let isGap = self.isGap(octets[index])
            while index < octets.count, self.isGap(octets[index]) == isGap { index += 1 }
            let piece = octets[start..<index]
            if isGap {
                gap = Array(piece)
            } else if piece.contains(where: { $0 > 0x7F }) {
                if run.isEmpty { result += gap } else { run += gap.filter(\.isBlank) }
                run += piece
                gap = []
            } else {
                result += self.words(run) + gap + piece
                run = []
                gap = []
            }
        }
        return result + self.words(run) + gap
    }

    private static func isGap(_ octet: UInt8) -> Bool {
        octet.isBlank || octet == 0x0D || octet == 0x0A
    }

    /// Text as encoded words of whole characters, folded between them.
    private static func words(_ text: [UInt8]) -> [UInt8] {
        guard !text.isEmpty else { return [] }
        let isUTF8 = String(validating: text, as: UTF8.self) != nil
        let start = Array((isUTF8 ? "=?UTF-8?Q?" : "=?unknown-8bit?Q?").utf8)
        var result = start
        var wordOctets = start.count
        var index = 0
        while index < text.count {
            var end = index + 1
            while isUTF8, end < text.count, text[end] & 0xC0 == 0x80 { end += 1 }
            let encoded = text[index..<end].flatMap { self.quoted($0) }
            if wordOctets + encoded.count + 2 > self.maximumWordOctets {
                result += Array("?=\r\n ".utf8) + start
                wordOctets = start.count
            }
            result += encoded
            wordOctets += encoded.count
            index = end
        }
        return result + Array("?=".utf8)
    }

    /// RFC 2047 §4.2, with the octets that may stand in a phrase (§5, 3).
    private static func quoted(_ octet: UInt8) -> [UInt8] {
        switch octet {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: return [octet]
        case 0x20: return [UInt8(ascii: "_")]
        default:
            let digits = Array("0123456789ABCDEF".utf8)
            return [UInt8(ascii: "="), digits[Int(octet >> 4)], digits[Int(octet & 15)]]
        }
    }

    // MARK: Long lines

    /// `first` octets stand before the value on its first line.
    private static func folding(_ octets: [UInt8], first: Int) -> [UInt8] {
        let lines = self.lines(octets).enumerated().flatMap { index, line in
            let before = index == 0 ? first : 0
            return before + line.count <= self.maximumLineOctets
                ? [line] : self.folded(line, before: before)
        }
        return self.joined(lines)
    }

    private static func folded(_ line: [UInt8], before: Int) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var current: [UInt8] = []
        var hasText = false
        var index = 0
        while index < line.count {
            // The next word, with the white space before it: no more of that than a line may have.
            let start = index
            while index < line.count, line[index].isBlank { index += 1 }
            var space = Array(line[start..<index].prefix(self.preferredLineOctets))
            let word = index
            while index < line.count, !line[index].isBlank { index += 1 }
            guard index > word else { break }  // white space at the end
            var rest = line[word..<index]
            let taken = current.count + space.count + rest.count
            if hasText, taken > self.preferredLineOctets - (lines.isEmpty ? before : 0) {
                lines.append(current)
                current = []
            }
            // A word that no line can hold is cut, with white space where it is cut.
            while true {
                let room = self.maximumLineOctets - (lines.isEmpty ? before : 0) - current.count
                guard space.count + rest.count > room else { break }
                let cut = rest.prefix(max(0, room - space.count))
                lines.append(cut.isEmpty ? current : current + space + cut)
                current = []
                if !cut.isEmpty || space.isEmpty { space = [0x20] }
                rest = rest.dropFirst(cut.count)
            }
            current += space + rest
            hasText = true
        }
        return lines + [current]
    }
}
