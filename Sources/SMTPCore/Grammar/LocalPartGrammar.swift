import Octets

/// Local-part: a dot-string or a quoted string.
///
/// - Note: RFC 5321 §4.1.2, widened by RFC 6531 §3.3: characters of UTF-8 beyond ASCII are atext
///   and qtext.
enum LocalPartGrammar {
    /// The end of the local-part that begins at `start`, or `nil` if none does.
    ///
    /// The longest possible one; the caller checks what follows it.
    static func end(
        in octets: borrowing Span<UInt8>,
        at start: Int,
        before end: Int,
        options: PathGrammar.Options = []
    ) -> Int? {
        guard start < end else { return nil }
        return octets[start] == .quote
            ? self.endOfQuotedString(octets, start, end)
            : self.endOfDotString(octets, start, end, takesDots: options.contains(.dotsInLocalPart))
    }

    /// `takesDots`: several dots in a row, and dots at the end.
    private static func endOfDotString(
        _ octets: borrowing Span<UInt8>,
        _ start: Int,
        _ end: Int,
        takesDots: Bool
    ) -> Int? {
        var index = start
        while true {
            guard let atomEnd = self.endOfAtom(octets, index, end) else {
                return takesDots && index > start ? index : nil
            }
            guard atomEnd < end, octets[atomEnd] == .dot else { return atomEnd }
            index = atomEnd + 1
            while takesDots, index < end, octets[index] == .dot { index += 1 }
        }
    }

    private static func endOfAtom(
        _ octets: borrowing Span<UInt8>,
        _ start: Int,
        _ end: Int
    ) -> Int? {
        var index = start
        while index < end {
            if self.isAtext(octets[index]) {
                index += 1
            } else if let next = octets.endOfUTF8Character(at: index, before: end) {
                index = next
            } else {
                break
            }
        }
        return index > start ? index : nil
    }

    private static func endOfQuotedString(
        _ octets: borrowing Span<UInt8>,
        _ start: Int,
        _ end: Int
    ) -> Int? {
        var index = start + 1
        while index < end {
            let octet = octets[index]
            if octet == .quote { return index + 1 }
            if octet == .backslash {
                // quoted-pairSMTP: any printable ASCII octet, the space included.
                guard index + 1 < end, octets[index + 1] >= .space, octets[index + 1] < .delete
                else { return nil }
                index += 2
            } else if octet >= .space, octet < .delete {
                index += 1
            } else if let next = octets.endOfUTF8Character(at: index, before: end) {
                index = next
            } else {
                return nil
            }
        }
        return nil
    }

    /// RFC 5322 §3.2.3.
    private static func isAtext(_ octet: UInt8) -> Bool {
        if octet.isLetterOrDigit { return true }
        switch octet {
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"),
            UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
            UInt8(ascii: "-"), UInt8(ascii: "/"), UInt8(ascii: "="), UInt8(ascii: "?"),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "{"),
            UInt8(ascii: "|"), UInt8(ascii: "}"), UInt8(ascii: "~"):
            return true
        default:
            return false
        }
    }
}
