import Octets

/// The name that a client gives at HELO or EHLO.
///
/// Policy judges the name. Here only a harmful one is refused: an empty name, white space, control
/// octets, and more than 255 octets.
///
/// - Note: RFC 5321 §4.1.1.1, §4.5.3.1.2.
enum HelloName {
    /// The first word of a name with several; the others are dropped.
    static func firstWord(_ octets: borrowing Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        var end = range.lowerBound
        while end < range.upperBound, !octets[end].isBlank { end += 1 }
        return range.lowerBound..<end
    }

    static func isAcceptable(_ octets: borrowing Span<UInt8>, _ range: Range<Int>) -> Bool {
        guard !range.isEmpty, range.count <= SMTPLimits.helloNameOctets else { return false }
        for index in range {
            let octet = octets[index]
            guard octet > .space, octet != .delete else { return false }
        }
        return true
    }
}
