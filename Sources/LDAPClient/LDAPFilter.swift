/// Search filters in the text form of RFC 4515.
package enum LDAPFilter {
    /// `(attribute=value)`, in ASCII.
    ///
    /// - Parameters:
    ///   - attribute: An attribute's name, as ``isAttribute(_:)`` takes it.
    ///   - value: Any octets.
    /// - Returns: The filter; of the value what is not a letter, a digit or one of `@._-+ ` is escaped (RFC 4515 §3).
    package static func equality(_ attribute: String, _ value: [UInt8]) -> String {
        "(\(attribute)=\(self.escaped(value)))"
    }

    /// A value as it stands in a filter, in ASCII: what is not a letter, a digit or one of `@._-+ ` is escaped
    /// (RFC 4515 §3).
    package static func escaped(_ value: [UInt8]) -> String {
        var text = ""
        for octet in value {
            switch octet {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x20, 0x2B, 0x2D, 0x2E, 0x40, 0x5F:
                text.unicodeScalars.append(Unicode.Scalar(octet))
            default:
                text += octet < 0x10 ? "\\0" : "\\"
                text += String(octet, radix: 16)
            }
        }
        return text
    }

    /// Whether `text` is an attribute's name or numeric OID, with options if it has some (RFC 4512 §2.5), 100 octets
    /// at most.
    package static func isAttribute(_ text: String) -> Bool {
        let octets = Array(text.utf8)
        guard let first = octets.first, octets.count <= 100, Self.isLetterOrDigit(first) else {
            return false
        }
        return octets.allSatisfy { Self.isLetterOrDigit($0) || [0x2D, 0x2E, 0x3B].contains($0) }
    }

    private static func isLetterOrDigit(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }
}
