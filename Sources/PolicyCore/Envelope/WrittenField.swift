import PolicyProtocol

/// A field that policy writes, and whether it may stand in a message.
struct WrittenField {
    let nameOctets: Int
    /// What follows the colon.
    let value: [UInt8]

    /// Octets of a line without its CRLF (RFC 5322 §2.1.1).
    static let maximumLineOctets = 998

    var has8BitOctets: Bool { self.value.contains { $0 > 0x7F } }

    private var hasLongLine: Bool {
        var octets = self.nameOctets + 1
        for octet in self.value {
            octets = octet == 0x0A ? 0 : octets + 1
            // The CR before an LF is counted and does not belong to the line.
            if octets > Self.maximumLineOctets, octet != 0x0D { return true }
        }
        return false
    }

    /// What is wrong with it; octets above 127 are for messages with SMTPUTF8 (RFC 6532 §3.2).
    func violation(allows8Bit: Bool) -> ProtocolViolation? {
        if self.hasLongLine {
            return ProtocolViolation(
                .header_value,
                "value: a line over \(Self.maximumLineOctets) octets"
            )
        }
        guard allows8Bit || !self.has8BitOctets else {
            return ProtocolViolation(.header_value, "value: 8-bit octets without SMTPUTF8")
        }
        return nil
    }
}
