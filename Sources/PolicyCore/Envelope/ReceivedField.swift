/// The trace field that a receiver puts on top of a message (RFC 5321 §4.4).
///
/// ASCII, unless the recipient is not: an SMTPUTF8 message whose own header is ASCII must not need
/// SMTPUTF8 at the next hop for the name of the client's machine.
struct ReceivedField {
    /// The client's HELO or EHLO name, as it came.
    var helloName: [UInt8]
    /// The client's verified name, `nil` if it was not looked up.
    var clientName: String?
    /// The client's address without brackets; IPv6 in its usual text.
    var clientAddress: String
    var hostname: [UInt8]
    /// A name of RFC 3848 or RFC 6531, such as SMTP, ESMTP or UTF8SMTP.
    var protocolName: String
    /// The cipher suite; `nil` without TLS.
    var cipher: String?
    var transactionID: String
    /// The recipient as the client named it, if it named one only; `nil` keeps the others private.
    var recipient: [UInt8]?
    /// When, as RFC 5322 §3.3 writes it.
    var date: [UInt8]

    /// The field's value, folded, with the space that follows the colon and without the last CRLF.
    func value() -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(256)
        text.append(contentsOf: " from ".utf8)
        self.appendName(self.helloName, to: &text)
        text.append(contentsOf: " (".utf8)
        if let name = self.clientName {
            self.appendName(Array(name.utf8), to: &text)
            text.append(UInt8(ascii: " "))
        }
        text.append(UInt8(ascii: "["))
        if self.clientAddress.utf8.contains(UInt8(ascii: ":")) {
            text.append(contentsOf: "IPv6:".utf8)
        }
        text.append(contentsOf: self.clientAddress.utf8)
        text.append(contentsOf: "])\r\n\tby ".utf8)
        text.append(contentsOf: self.hostname)
        text.append(contentsOf: " with ".utf8)
        text.append(contentsOf: self.protocolName.utf8)
        text.append(contentsOf: " id ".utf8)
        text.append(contentsOf: self.transactionID.utf8)
        if let recipient = self.recipient {
            text.append(contentsOf: "\r\n\tfor <".utf8)
            // Parsed by the SMTP parser, so that what it quotes is quoted.
            text.append(contentsOf: recipient.map { $0 < 0x20 || $0 == 0x7F ? 0x3F : $0 })
            text.append(UInt8(ascii: ">"))
        }
        if let cipher = self.cipher {
            text.append(contentsOf: "\r\n\ttls ".utf8)
            text.append(contentsOf: cipher.utf8)
        }
        text.append(contentsOf: ";\r\n\t".utf8)
        text.append(contentsOf: self.date)
        return text
    }

    /// The name of the protocol that a session used (RFC 3848 §1, RFC 6531 §4.3).
    static func protocolName(
        isUTF8: Bool,
        isHELO: Bool,
        isLMTP: Bool = false,
        isEncrypted: Bool,
        isAuthenticated: Bool
    ) -> String {
        guard isUTF8 || !isHELO else { return "SMTP" }
        let name =
            isLMTP ? (isUTF8 ? "UTF8LMTP" : "LMTP") : (isUTF8 ? "UTF8SMTP" : "ESMTP")
        return name + (isEncrypted ? "S" : "") + (isAuthenticated ? "A" : "")
    }

    /// Appends a name that the client gave; `?` stands for white space, controls, 8-bit octets and
    /// most of RFC 5322's specials (§3.2.3).
    ///
    /// So nothing ends or opens a comment, a quoted string, an address, a token or a line.
    private func appendName(_ octets: [UInt8], to text: inout [UInt8]) {
        let isLiteral = octets.first == UInt8(ascii: "[") && octets.last == UInt8(ascii: "]")
        for (index, octet) in octets.enumerated() {
            switch octet {
            case ..<0x21, 0x7F...: text.append(UInt8(ascii: "?"))
            case UInt8(ascii: "["), UInt8(ascii: "]"):
                let isBracket = isLiteral && (index == 0 || index == octets.count - 1)
                text.append(isBracket ? octet : UInt8(ascii: "?"))
            case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "<"), UInt8(ascii: ">"),
                UInt8(ascii: ";"), UInt8(ascii: ","), UInt8(ascii: "\""), UInt8(ascii: "\\"):
                text.append(UInt8(ascii: "?"))
            default: text.append(octet)
            }
        }
        if octets.isEmpty { text.append(contentsOf: "unknown".utf8) }
    }
}

extension [UInt8] {
    /// Appends a number in decimal digits.
    mutating func appendDecimal(_ number: UInt64) {
        var divisor: UInt64 = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            self.append(UInt8(truncatingIfNeeded: number / divisor % 10) &+ UInt8(ascii: "0"))
            divisor /= 10
        }
    }
}
