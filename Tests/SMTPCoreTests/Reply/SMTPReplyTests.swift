import Testing

@testable import SMTPCore

struct SMTPReplyTests {
    private let code = ReplyCode(known: 550)
    private let status = EnhancedStatusCode(known: 5, 7, 1)

    @Test func `a reply of several lines repeats code and status`() throws {
        let reply = try SMTPReply(
            policy: self.code,
            status: self.status,
            text: [octets("one\ntwo"), [], octets("three")]
        )
        #expect(reply.wire == octets("550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three\r\n"))
        #expect(reply.cause == .policy)
    }

    @Test func `no control octet of policy's text reaches the wire`() {
        for octet in (UInt8(0)...0x1F).filter({ $0 != 0x0A }) + [0x7F] {
            #expect(throws: SMTPReplyError.controlOctet(octet)) {
                try SMTPReply(policy: self.code, status: nil, text: [[0x61, octet, 0x62]])
            }
        }
    }

    @Test func `octets beyond ASCII need SMTPUTF8, and must be UTF-8`() throws {
        let text = octets("Grüße")
        #expect(throws: SMTPReplyError.nonASCII) {
            try SMTPReply(policy: self.code, status: nil, text: [text])
        }
        let reply = try SMTPReply(policy: self.code, status: nil, text: [text], allowsUTF8: true)
        #expect(reply.wire == octets("550 Grüße\r\n"))
        #expect(throws: SMTPReplyError.nonASCII) {
            try SMTPReply(policy: self.code, status: nil, text: [[0xFF]], allowsUTF8: true)
        }
    }

    @Test func `a status contradicts no code`() {
        #expect(throws: SMTPReplyError.contradictoryStatus) {
            try SMTPReply(policy: ReplyCode(known: 450), status: self.status, text: [octets("x")])
        }
    }

    @Test(arguments: [[], [[]], [[0x0A, 0x0A]]] as [[[UInt8]]])
    func `a reply without text is for the caller's default`(text: [[UInt8]]) {
        #expect(throws: SMTPReplyError.empty) {
            try SMTPReply(policy: self.code, status: nil, text: text)
        }
    }

    @Test func `lines of a reply have a maximum`() throws {
        let line = octets("x")
        let most = [[UInt8]](repeating: line, count: SMTPLimits.replyLines)
        _ = try SMTPReply(policy: self.code, status: nil, text: most)
        #expect(throws: SMTPReplyError.tooManyLines(limit: SMTPLimits.replyLines)) {
            try SMTPReply(policy: self.code, status: nil, text: most + [line])
        }
    }

    @Test(arguments: [1, 500, 501, 502, 503, 999, 1000, 1001, 5000])
    func `no line of a reply is longer than 512 octets`(count: Int) throws {
        for text in [String(repeating: "x", count: count), String(repeating: "€", count: count)] {
            let reply = try SMTPReply(
                policy: self.code,
                status: self.status,
                text: [octets(text)],
                allowsUTF8: true
            )
            let lines = String(decoding: reply.wire, as: UTF8.self).split(separator: "\r\n")
            for (index, line) in lines.enumerated() {
                #expect(line.utf8.count <= 510)
                #expect(line.hasPrefix(index + 1 < lines.count ? "550-5.7.1 " : "550 5.7.1 "))
            }
            #expect(lines.map { $0.dropFirst(10) }.joined() == text)
        }
    }

    @Test func `what a client wrote is escaped in a reply of ours`() {
        let reply = SMTPReply(
            code: self.code,
            status: nil,
            cause: .badSyntax,
            escaping: octets("a\r\n250 b\u{0}ü")
        )
        #expect(reply.wire == octets("550 a??250 b???\r\n"))
    }

    static let greetings: [(String?, String)] = [
        (nil, "220 mx.example.org ESMTP\r\n"),
        ("", "220 mx.example.org ESMTP\r\n"),
        ("Hello", "220 mx.example.org Hello ESMTP\r\n"),
        ("mx.example.org Hello", "220 mx.example.org Hello ESMTP\r\n"),
        ("mx.example.org ESMTP Hello", "220 mx.example.org ESMTP Hello\r\n"),
        ("mx.example.org.evil ESMTP", "220 mx.example.org mx.example.org.evil ESMTP\r\n"),
        ("a\r\nb\u{0}", "220 mx.example.org a??b? ESMTP\r\n"),
    ]

    @Test(arguments: greetings)
    func `the greeting begins with the host and says ESMTP`(text: String?, wire: String) {
        let reply = SMTPReply.greeting(
            hostname: octets("mx.example.org"),
            text: text.map { [octets($0)] } ?? []
        )
        #expect(reply.wire == octets(wire))
    }

    @Test func `a worker's words stand behind the host's name, and are no keyword`() {
        let host = octets("mx")
        let greeting = SMTPReply.greeting(hostname: host, text: [octets("Hi"), octets("a\r\nb")])
        #expect(greeting.wire == octets("220-mx Hi ESMTP\r\n220 a??b\r\n"))
        let helo = SMTPReply.helo(hostname: host, text: [octets("mx Hi"), octets("there")])
        #expect(helo.wire == octets("250-mx Hi\r\n250 there\r\n"))
        let long = [UInt8](repeating: UInt8(ascii: "x"), count: 600)
        let ehlo = SMTPReply.helo(hostname: host, text: [long, octets("STARTTLS")])
            .offering(.size, mechanisms: [], limits: Self.limits)
        #expect(ehlo.wire == octets("250-mx ") + long[..<503] + octets("\r\n250 SIZE 7\r\n"))
    }

    @Test func `a reply keeps its text with other codes`() {
        let reply = SMTPReply(code: self.code, status: self.status, cause: .policy, escaping: [])
        #expect(reply.with(code: self.code, status: nil).wire == octets("550 \r\n"))
        let other = StandardReplies.recipientDenied.with(code: ReplyCode(known: 553), status: nil)
        #expect(other.wire == octets("553 Recipient refused\r\n"))
    }

    /// A message of seven octets at most.
    private static var limits: SMTPLimits {
        var limits = SMTPLimits()
        limits.maximumMessageOctets = 7
        return limits
    }

    @Test func `keywords are offered in one order`() {
        let reply = SMTPReply.helo(hostname: octets("mx"))
            .offering(
                SMTPExtensions.standard.union([
                    .binaryMIME, .dsn, .prdr, .priority, .requireTLS,
                ]),
                mechanisms: [],
                limits: Self.limits
            )
        #expect(
            String(decoding: reply.wire, as: UTF8.self) == """
                250-mx\r
                250-PIPELINING\r
                250-SIZE 7\r
                250-8BITMIME\r
                250-SMTPUTF8\r
                250-ENHANCEDSTATUSCODES\r
                250-CHUNKING\r
                250-BINARYMIME\r
                250-DSN\r
                250-LIMITS RCPTMAX=1000 MAILMAX=1000\r
                250-PRDR\r
                250-MT-PRIORITY\r
                250 REQUIRETLS\r

                """
        )
        let none = SMTPReply.helo(hostname: octets("mx"))
            .offering([], mechanisms: [], limits: Self.limits)
        #expect(none.wire == octets("250 mx\r\n"))
        // RFC 9422 §4: a value has one to six digits, and is not 0.
        var limits = Self.limits
        limits.maximumRecipients = 1_000_000
        limits.maximumTransactions = 10_000_000
        let most = SMTPReply.helo(hostname: octets("mx"))
            .offering(.limits, mechanisms: [], limits: limits)
        #expect(most.wire == octets("250-mx\r\n250 LIMITS RCPTMAX=999999 MAILMAX=999999\r\n"))
        limits.maximumTransactions = 0
        let unlimited = SMTPReply.helo(hostname: octets("mx"))
            .offering(.limits, mechanisms: [], limits: limits)
        #expect(unlimited.wire == octets("250-mx\r\n250 LIMITS RCPTMAX=999999\r\n"))
        // RFC 3030 §3: not without CHUNKING.
        let binary = SMTPReply.helo(hostname: octets("mx"))
            .offering(.binaryMIME, mechanisms: [], limits: Self.limits)
        #expect(binary.wire == octets("250 mx\r\n"))
        // RFC 6531 §3.1: not without 8BITMIME.
        let alone = SMTPReply.helo(hostname: octets("mx"))
            .offering(.smtpUTF8, mechanisms: [], limits: Self.limits)
        #expect(alone.wire == octets("250 mx\r\n"))
    }

    @Test(arguments: [
        ("5.7.1", true), ("2.0.0", true), ("4.999.999", true), ("5.07.1", false), ("5.7", false),
        ("5.7.1.", false), ("5..1", false), ("3.0.0", false), ("5.7.1000", false), ("", false),
        ("15.7.1", false), ("5.7.1 ", false), ("a.b.c", false), (".5.7", false), ("5.7.", false),
    ])
    func `an enhanced status code has three numbers`(text: String, isOne: Bool) {
        let status = EnhancedStatusCode(octets: octets(text).span)
        #expect((status != nil) == isOne)
        if isOne { #expect(status?.description == text) }
    }

    @Test(
        arguments: [
            (199, false), (200, true), (250, true), (559, true), (560, false), (599, false),
            (600, false), (0, false), (65535, false),
        ] as [(UInt16, Bool)]
    )
    func `a reply code is one that SMTP can write`(number: UInt16, isOne: Bool) {
        #expect((ReplyCode(rawValue: number) != nil) == isOne)
    }
}
