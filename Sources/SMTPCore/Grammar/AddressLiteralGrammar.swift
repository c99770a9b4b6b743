import Octets

/// Address literal: an address between brackets.
///
/// - Note: RFC 5321 §4.1.3.
enum AddressLiteralGrammar {
    /// The end of the literal that begins at `start`, past its bracket, with what it holds; or
    /// `nil` if there is no literal.
    static func end(
        in octets: borrowing Span<UInt8>,
        at start: Int,
        before end: Int
    ) -> (end: Int, kind: Mailbox.DomainKind)? {
        guard start < end, octets[start] == .openingBracket else { return nil }
        var close = start + 1
        while close < end, octets[close] != .closingBracket { close += 1 }
        guard close < end, close + 1 - start <= SMTPLimits.domainOctets else { return nil }

        let inner = start + 1
        let kind: Mailbox.DomainKind
        if octets.hasPrefix("IPV6:", at: inner, before: close) {
            guard self.isIPv6(octets, inner + 5, close) else { return nil }
            kind = .ipv6
        } else if self.endOfIPv4(octets, inner, close) == close {
            kind = .ipv4
        } else {
            guard self.isGeneral(octets, inner, close) else { return nil }
            kind = .general
        }
        return (close + 1, kind)
    }

    /// Four numbers of one to three digits, 0 to 255.
    private static func endOfIPv4(
        _ octets: borrowing Span<UInt8>,
        _ start: Int,
        _ end: Int
    ) -> Int? {
        var index = start
        for part in 0..<4 {
            if part > 0 {
                guard index < end, octets[index] == .dot else { return nil }
                index += 1
            }
            var value = 0
            var digits = 0
            while index < end, octets[index].isDigit, digits < 3 {
                value = value * 10 + Int(octets[index] &- 0x30)
                digits += 1
                index += 1
            }
            guard digits > 0, value <= 255 else { return nil }
        }
        return index
    }

    /// IPv6-full, -comp, v4-full and v4-comp: eight groups, or "::" once for two or more of them.
    private static func isIPv6(_ octets: borrowing Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
        var index = start
        var groups = 0
        var isCompressed = false
        while index < end {
            if octets[index] == .colon {
                guard index + 1 < end, octets[index + 1] == .colon, !isCompressed else {
                    return false
                }
                isCompressed = true
                index += 2
                if index == end { break }
            }
            if let quad = self.endOfIPv4(octets, index, end) {
                guard quad == end else { return false }
                return isCompressed ? groups <= 4 : groups == 6
            }
            var digits = 0
            while index < end, octets[index].isHexDigit, digits < 4 {
                digits += 1
                index += 1
            }
            guard digits > 0 else { return false }
            groups += 1
            guard groups <= 8 else { return false }
            if index == end { break }
            guard octets[index] == .colon else { return false }
            // One colon separates; a second belongs to "::", which the next round reads.
            if index + 1 < end, octets[index + 1] == .colon { continue }
            index += 1
            guard index < end else { return false }
        }
        return isCompressed ? groups <= 6 : groups == 8
    }

    /// A tag, a colon, and printable octets but brackets and backslash.
    private static func isGeneral(
        _ octets: borrowing Span<UInt8>,
        _ start: Int,
        _ end: Int
    ) -> Bool {
        var index = start
        while index < end, octets[index].isLetterOrDigit || octets[index] == .hyphen { index += 1 }
        guard index > start, octets[index - 1] != .hyphen else { return false }
        guard index < end, octets[index] == .colon, index + 1 < end else { return false }
        for content in index + 1..<end {
            let octet = octets[content]
            guard octet > .space, octet < .delete else { return false }
            guard octet != .openingBracket, octet != .backslash else { return false }
        }
        return true
    }
}
