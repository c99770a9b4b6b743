import Testing

@testable import PolicyCore

struct ReceivedFieldTests {
    @Test(arguments: [0, 7, 10, 99, 100, 4_294_967_296, UInt64.max])
    func `a number is appended digit by digit`(number: UInt64) {
        var octets = Array("q".utf8)
        octets.appendDecimal(number)
        #expect(String(decoding: octets, as: UTF8.self) == "q\(number)")
    }

    @Test func `the Received field cannot be broken by a client's name`() {
        let field = ReceivedField(
            helloName: Array("evil)\r\nX: y;".utf8),
            clientName: "mail.example.net",
            clientAddress: "2001:db8::1",
            hostname: Array("mx1.example.org".utf8),
            protocolName: "ESMTP",
            transactionID: "T.1",
            recipient: Array("a@example.com".utf8),
            date: Array("Thu, 1 Jan 1970 00:00:00 +0000".utf8)
        )
        #expect(
            String(decoding: field.value(), as: UTF8.self) == " from evil???X:?y?"
                + " (mail.example.net [IPv6:2001:db8::1])\r\n\tby mx1.example.org"
                + " with ESMTP id T.1\r\n\tfor <a@example.com>;\r\n\tThu, 1 Jan 1970 00:00:00 +0000"
        )
    }

    /// Names that clients give, and what stands for them.
    @Test(arguments: [
        ("mail.example.net", "mail.example.net"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("[192.0.2.1", "?192.0.2.1"), ("a[b]", "a?b?"), ("[a]b]", "[a?b]"),
        ("drucker-büro", "drucker-b??ro"),
        ("a\"b\\c<d>e,f", "a?b?c?d?e?f"),
        ("a\u{0}b\u{7F}\tc", "a?b??c"),
        ("", "unknown"),
    ])
    func `a client's name opens and ends nothing in our trace field`(name: String, text: String) {
        let field = ReceivedField(
            helloName: Array(name.utf8),
            clientName: name,
            clientAddress: "192.0.2.1",
            hostname: Array("mx1.example.org".utf8),
            protocolName: "UTF8SMTP",
            transactionID: "T.1",
            recipient: Array("\"a (b);\"@example.com".utf8),
            date: Array("now".utf8)
        )
        let value = String(decoding: field.value(), as: UTF8.self)
        #expect(value.hasPrefix(" from \(text) (\(text) [192.0.2.1])\r\n"))
        #expect(value.hasSuffix("\r\n\tfor <\"a (b);\"@example.com>;\r\n\tnow"))
    }

    /// RFC 3848 §1 and RFC 6531 §4.3, and SMTP for HELO.
    static let names: [(isLMTP: Bool, isUTF8: Bool, isHELO: Bool, name: String)] = [
        (false, false, true, "SMTP"), (false, false, false, "ESMTP"), (true, false, false, "LMTP"),
        (false, true, false, "UTF8SMTP"), (true, true, false, "UTF8LMTP"),
    ]

    @Test(arguments: names)
    func `the protocol's name says how the message came`(
        isLMTP: Bool,
        isUTF8: Bool,
        isHELO: Bool,
        name: String
    ) {
        for (isEncrypted, isAuthenticated, end) in [
            (false, false, ""), (true, false, "S"), (false, true, "A"), (true, true, "SA"),
        ] {
            let found = ReceivedField.protocolName(
                isUTF8: isUTF8,
                isHELO: isHELO,
                isLMTP: isLMTP,
                isEncrypted: isEncrypted,
                isAuthenticated: isAuthenticated
            )
            #expect(found == (isHELO ? name : name + end))
        }
    }
}
