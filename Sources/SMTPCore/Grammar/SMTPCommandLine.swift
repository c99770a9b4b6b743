import Octets

/// A command line, told apart into verb and argument.
///
/// Offsets only: nothing is copied.
package struct SMTPCommandLine: Equatable, Sendable {
    /// `nil` for an unrecognised command, an empty line among them.
    package let verb: SMTPVerb?
    /// The first word, recognised or not.
    package let word: Range<Int>
    /// What follows the verb, without the spaces around it; empty if nothing does.
    package let argument: Range<Int>

    /// Reads the line in the first `count` octets, its CRLF excluded.
    ///
    /// White space before the CRLF is tolerated (RFC 5321 §4.1.1), before the verb it is not.
    package init(in octets: borrowing Span<UInt8>, count: Int) {
        var end = min(count, octets.count)
        while end > 0, octets[end - 1].isBlank { end -= 1 }
        var wordEnd = 0
        while wordEnd < end, octets[wordEnd] != .space { wordEnd += 1 }
        var start = wordEnd
        while start < end, octets[start] == .space { start += 1 }
        self.word = 0..<wordEnd
        self.argument = start..<end
        self.verb = Self.verb(octets, count: wordEnd)
    }

    private static func verb(_ octets: borrowing Span<UInt8>, count: Int) -> SMTPVerb? {
        guard (4...8).contains(count),
            let verb = SMTPVerb(foldingCase: self.word(octets, at: 0))
        else { return nil }
        let isVerb =
            switch verb {
            // The last four octets: "TTLS", "IENT", "WARD".
            case .starttls: count == 8 && self.word(octets, at: 4) & 0xDFDF_DFDF == 0x5454_4C53
            case .xclient: count == 7 && self.word(octets, at: 3) & 0xDFDF_DFDF == 0x4945_4E54
            case .xforward: count == 8 && self.word(octets, at: 4) & 0xDFDF_DFDF == 0x5741_5244
            case .ehlo, .helo, .lhlo, .mail, .rcpt, .data, .bdat, .rset, .vrfy, .expn, .noop, .help,
                .quit, .auth:
                count == 4
            }
        return isVerb ? verb : nil
    }

    private static func word(_ octets: borrowing Span<UInt8>, at start: Int) -> UInt32 {
        var word: UInt32 = 0
        for index in start..<start + 4 { word = word << 8 | UInt32(octets[index]) }
        return word
    }
}
