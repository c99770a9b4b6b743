import Testing

@testable import StandardPlugins

@Suite struct SMTPServerReplyParserTests {
    private static let text =
        "250-mx.example hello\r\n250-SIZE 1000\r\n250 OK\n550 5.1.1 no\r\n354\r\n250-\r\n250 \r\n"

    @Test func `replies are the same whatever the split`() throws {
        let octets = Array(Self.text.utf8)
        let expected = [
            SMTPServerReply(
                code: 250,
                lines: ["mx.example hello", "SIZE 1000", "OK"].map { Array($0.utf8) }
            ),
            SMTPServerReply(code: 550, lines: [Array("5.1.1 no".utf8)]),
            SMTPServerReply(code: 354, lines: [[]]),
            SMTPServerReply(code: 250, lines: [[], []]),
        ]
        for cut in 0...octets.count {
            var parser = SMTPServerReplyParser()
            var replies: [SMTPServerReply] = []
            try parser.received(octets[..<cut], into: &replies)
            try parser.received(octets[cut...], into: &replies)
            #expect(replies == expected, "cut at \(cut)")
        }
        var parser = SMTPServerReplyParser()
        var replies: [SMTPServerReply] = []
        for octet in octets {
            let count = replies.count
            try parser.received([octet], into: &replies)
            #expect(parser.isInReply == (replies.count == count))
        }
        #expect(replies == expected)
    }

    @Test(arguments: [
        "\r\n", "25\r\n", "2500\r\n", "abc\r\n", "250_x\r\n", "150 x\r\n", "600 x\r\n",
        "250-x\r\n251 y\r\n",
        "220 SSH-2.0\r\n\u{0}\u{0}\r\n",
    ])
    func `what is no reply is an error`(text: String) {
        #expect(throws: SMTPForwardError.self) {
            var parser = SMTPServerReplyParser()
            var replies: [SMTPServerReply] = []
            try parser.received(Array(text.utf8), into: &replies)
        }
    }

    @Test func `lines and their length are limited`() throws {
        func parse(_ text: String) throws {
            var parser = SMTPServerReplyParser()
            var replies: [SMTPServerReply] = []
            try parser.received(Array(text.utf8), into: &replies)
        }
        let limit = SMTPServerReplyParser.maximumLineOctets
        try parse("250 " + String(repeating: "x", count: limit - 4) + "\n")
        #expect(throws: SMTPForwardError.self) {
            try parse("250 " + String(repeating: "x", count: limit - 3) + "\n")
        }
        let lines = SMTPServerReplyParser.maximumLines
        try parse(String(repeating: "250-x\r\n", count: lines - 1) + "250 x\r\n")
        #expect(throws: SMTPForwardError.self) {
            try parse(String(repeating: "250-x\r\n", count: lines) + "250 x\r\n")
        }
    }
}
