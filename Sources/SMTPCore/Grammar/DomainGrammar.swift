import Octets

/// Domain: labels between dots.
///
/// - Note: RFC 5321 §4.1.2, RFC 6531 §3.3 (U-labels), RFC 1035 §2.3.4 (63 octets a label).
enum DomainGrammar {
    /// The end of the domain that begins at `start`, or `nil` if none does.
    ///
    /// The caller checks the length of the whole. A trailing dot, where `options` take one,
    /// is not part of it: the dot stands at the offset returned.
    static func end(
        in octets: borrowing Span<UInt8>,
        at start: Int,
        before end: Int,
        options: PathGrammar.Options = []
    ) -> Int? {
        var index = start
        while true {
            guard let labelEnd = self.endOfLabel(octets, index, end, options) else {
                return index > start && options.contains(.trailingDot) ? index - 1 : nil
            }
            guard labelEnd < end, octets[labelEnd] == .dot else { return labelEnd }
            index = labelEnd + 1
        }
    }

    /// A label begins and ends with a letter or a digit.
    ///
    /// The limit of 63 octets is one of ASCII labels: how long a U-label becomes is known only once
    /// it is converted.
    private static func endOfLabel(
        _ octets: borrowing Span<UInt8>,
        _ start: Int,
        _ end: Int,
        _ options: PathGrammar.Options
    ) -> Int? {
        var index = start
        var isASCII = true
        let takesUnderscores = options.contains(.underscoreInDomain)
        while index < end {
            if octets[index].isLetterOrDigit || octets[index] == .hyphen
                || takesUnderscores && octets[index] == UInt8(ascii: "_")
            {
                index += 1
            } else if let next = octets.endOfUTF8Character(at: index, before: end) {
                index = next
                isASCII = false
            } else {
                break
            }
        }
        guard index > start, octets[start] != .hyphen, octets[index - 1] != .hyphen else {
            return nil
        }
        return isASCII && index - start > SMTPLimits.labelOctets ? nil : index
    }
}
