import Testing

@testable import SMTPCore

struct SMTPCommandLineTests {
    @Test(arguments: SMTPVerb.allCases)
    func `a verb is recognised in any letter case, and with no other octet`(verb: SMTPVerb) {
        let word = withUnsafeBytes(of: verb.rawValue.bigEndian) { [UInt8]($0) }
        for position in 0..<4 {
            for octet in UInt8.min...UInt8.max {
                var changed = word
                changed[position] = octet
                let value = changed.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                let isSame = octet == word[position] || octet == word[position] | 0x20
                #expect((SMTPVerb(foldingCase: value) == verb) == isSame)
            }
        }
    }

    static let lines: [(String, SMTPVerb?, word: String, argument: String)] = [
        ("NOOP", .noop, "NOOP", ""),
        ("noop", .noop, "noop", ""),
        ("NoOp  x y ", .noop, "NoOp", "x y"),
        ("NOOP \t ", .noop, "NOOP", ""),
        ("QUIT\t", .quit, "QUIT", ""),
        ("EHLO  a.example", .ehlo, "EHLO", "a.example"),
        ("MAIL FROM:<>", .mail, "MAIL", "FROM:<>"),
        ("MAILFROM:<>", nil, "MAILFROM:<>", ""),
        ("STARTTLS", .starttls, "STARTTLS", ""),
        ("starttls x", .starttls, "starttls", "x"),
        ("STAR", nil, "STAR", ""),
        ("STARTTLX", nil, "STARTTLX", ""),
        ("STARTTLSX", nil, "STARTTLSX", ""),
        ("xclient ADDR=1", .xclient, "xclient", "ADDR=1"),
        ("XCLI", nil, "XCLI", ""),
        ("XCLIENX", nil, "XCLIENX", ""),
        ("XCLIENTS", nil, "XCLIENTS", ""),
        ("XFORWARD", .xforward, "XFORWARD", ""),
        ("XFORWAR", nil, "XFORWAR", ""),
        ("XFORWARX", nil, "XFORWARX", ""),
        ("STARTTL", nil, "STARTTL", ""),
        ("NOOPNOOP", nil, "NOOPNOOP", ""),
        ("NOO", nil, "NOO", ""),
        ("", nil, "", ""),
        ("   ", nil, "", ""),
        (" NOOP", nil, "", "NOOP"),
        ("NOOP\tx", nil, "NOOP\tx", ""),
        ("GET / HTTP/1.1", nil, "GET", "/ HTTP/1.1"),
    ]

    @Test(arguments: lines)
    func `a line falls into verb and argument`(
        text: String,
        verb: SMTPVerb?,
        word: String,
        argument: String
    ) {
        let line = octets(text)
        let command = SMTPCommandLine(in: line.span, count: line.count)
        #expect(command.verb == verb)
        #expect(Array(line[command.word]) == octets(word))
        #expect(Array(line[command.argument]) == octets(argument))
    }
}
