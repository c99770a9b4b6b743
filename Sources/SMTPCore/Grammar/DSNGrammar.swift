import Octets

/// The values of DSN's parameters: RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT.
///
/// - Note: RFC 3461 §4.
enum DSNGrammar {
    /// RET: FULL or HDRS.
    static func isReturn(_ octets: borrowing Span<UInt8>, _ value: Range<Int>?) -> Bool {
        guard let value else { return false }
        return octets.equals("FULL", in: value) || octets.equals("HDRS", in: value)
    }

    /// ENVID: xtext of at most 100 octets, of what can be printed.
    static func isEnvelopeID(_ octets: borrowing Span<UInt8>, _ value: Range<Int>?) -> Bool {
        guard let value, value.count <= 100 else { return false }
        return XText.stands(in: octets, value, isPrintable: true)
    }

    /// NOTIFY: NEVER alone, or a list of SUCCESS, FAILURE and DELAY.
    static func isNotify(_ octets: borrowing Span<UInt8>, _ value: Range<Int>?) -> Bool {
        guard let value else { return false }
        if octets.equals("NEVER", in: value) { return true }
        var start = value.lowerBound
        while true {
            var end = start
            while end < value.upperBound, octets[end] != 0x2C { end += 1 }
            let word = start..<end
            guard
                octets.equals("SUCCESS", in: word) || octets.equals("FAILURE", in: word)
                    || octets.equals("DELAY", in: word)
            else { return false }
            guard end < value.upperBound else { return true }
            start = end + 1
        }
    }

    /// ORCPT: a type of address, a semicolon, and xtext; at most 500 octets.
    ///
    /// Of type utf-8 the address may be written as it is (RFC 6533 §3).
    static func isOriginalRecipient(_ octets: borrowing Span<UInt8>, _ value: Range<Int>?) -> Bool {
        guard let value, value.count <= 500 else { return false }
        var semicolon = value.lowerBound
        while semicolon < value.upperBound,
            octets[semicolon].isLetterOrDigit || octets[semicolon] == .hyphen
        {
            semicolon += 1
        }
        guard semicolon > value.lowerBound, semicolon + 1 < value.upperBound,
            octets[semicolon] == 0x3B
        else { return false }
        let takesUTF8 = octets.equals("UTF-8", in: value.lowerBound..<semicolon)
        return XText.stands(in: octets, semicolon + 1..<value.upperBound, takesUTF8: takesUTF8)
    }
}
