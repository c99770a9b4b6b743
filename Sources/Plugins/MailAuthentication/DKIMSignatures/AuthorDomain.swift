import Octets
import PolicyKit

/// The domain of a message's author: of the first mailbox in the field From (RFC 5322 §3.6.2).
enum AuthorDomain {
    /// Reads the field's value; `nil` if there is no mailbox, or none with a domain name.
    static func first(in value: [UInt8]) -> DNSName? {
        var text = self.bare(value)[...]
        // The name of a group (RFC 5322 §3.4), and not the colon of a route.
        if let colon = text.firstIndex(of: .colon), !text[..<colon].contains(.less) {
            text = text[(colon + 1)...]
        }
        if let start = text.firstIndex(of: .less) {
            guard let end = text[start...].firstIndex(of: .greater) else { return nil }
            text = text[(start + 1)..<end]
        } else {
            text = text.prefix { $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: ";") }
        }
        guard let at = text.lastIndex(of: .at) else { return nil }
        let domain = text[(at + 1)...].filter { !$0.isBlank }
        return DNSName(octets: Array(domain)).flatMap { $0.text.contains(".") ? $0 : nil }
    }

    /// The value without comments and folds, with a letter for each quoted string.
    private static func bare(_ value: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        var depth = 0
        var isQuoted = false
        var isEscaped = false
        for octet in value {
            if isEscaped {
                isEscaped = false
            } else if octet == .backslash, isQuoted || depth > 0 {
                isEscaped = true
            } else if isQuoted {
                isQuoted = octet != .quote
            } else if octet == UInt8(ascii: "(") {
                depth += 1
            } else if depth > 0 {
                if octet == UInt8(ascii: ")") { depth -= 1 }
            } else if octet == .quote {
                isQuoted = true
                output.append(UInt8(ascii: "q"))
            } else if octet == .carriageReturn || octet == .lineFeed {
                continue
            } else {
                output.append(octet)
            }
        }
        return output
    }
}
