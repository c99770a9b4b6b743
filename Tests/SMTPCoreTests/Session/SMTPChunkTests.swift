import Testing

@testable import SMTPCore

/// BDAT (RFC 3030): what each dialogue answers and which message comes of it, wherever its octets are cut.
struct SMTPChunkTests {
    static let mail = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"

    /// What a client sends after EHLO, the codes of the replies, and the messages that are complete.
    struct Dialogue: Sendable {
        let text: String
        let codes: [UInt16]
        var messages: [String] = []
        var closes = false
        var errors: UInt64 = 0
    }

    static let dialogues: [Dialogue] = [
        Dialogue(
            text: mail + "BDAT 14 LAST\r\na: b\r\n\r\nbody\r\n",
            codes: [250, 250, 250],
            messages: ["a: b\r\n\r\nbody\r\n"]
        ),
        // In two, with a command between them, and an empty last one; lower case; white space.
        Dialogue(
            text: mail + "BDAT 6\r\na: b\r\nNOOP\r\nbdat 8\r\n\r\nbody\r\nBDAT  0  last \r\n",
            codes: [250, 250, 250, 250, 250, 250],
            messages: ["a: b\r\n\r\nbody\r\n"]
        ),
        // A chunk may end anywhere: in a field, between CR and LF, behind a dot.
        Dialogue(
            text: mail + "BDAT 5\r\na: b\rBDAT 2\r\n\n\rBDAT 3\r\n\n.\rBDAT 3 LAST\r\n\nx\r"
                + mail + "BDAT 0 LAST\r\n",
            codes: [250, 250, 250, 250, 250, 554, 250, 250, 250],
            messages: [""]
        ),
        Dialogue(
            text: mail + "BDAT 5\r\na: b\rBDAT 2\r\n\n\rBDAT 3\r\n\n.\rBDAT 2 LAST\r\n\nx",
            codes: [250, 250, 250, 250, 250, 250],
            messages: ["a: b\r\n\r\n.\r\nx\r\n"]
        ),
        // A dot is a dot, commands in a chunk are text, and the last line is ended.
        Dialogue(
            text: mail + "BDAT 24 LAST\r\na: b\r\n\r\n.\r\nQUIT\r\n..\r\nend",
            codes: [250, 250, 250],
            messages: ["a: b\r\n\r\n.\r\nQUIT\r\n..\r\nend\r\n"]
        ),
        Dialogue(
            text: mail + "BDAT 4 LAST\r\na: b",
            codes: [250, 250, 250],
            messages: ["a: b\r\n"]
        ),
        // Two messages in one pipeline.
        Dialogue(
            text: mail + "BDAT 6 LAST\r\na: b\r\n" + mail + "BDAT 6 LAST\r\nc: d\r\nQUIT\r\n",
            codes: [250, 250, 250, 250, 250, 250, 221],
            messages: ["a: b\r\n", "c: d\r\n"],
            closes: true
        ),
        // RSET between chunks.
        Dialogue(
            text: mail + "BDAT 6\r\na: b\r\nRSET\r\nBDAT 6 LAST\r\nQUIT\r\n" + mail
                + "BDAT 6 LAST\r\nc: d\r\n",
            codes: [250, 250, 250, 250, 503, 250, 250, 250],
            messages: ["c: d\r\n"],
            errors: 1
        ),
        // EHLO between chunks ends the transaction as well.
        Dialogue(
            text: mail + "BDAT 6\r\na: b\r\nEHLO x\r\nBDAT 0 LAST\r\n",
            codes: [250, 250, 250, 250, 503],
            errors: 1
        ),
        // Out of order: the chunk is no command.
        Dialogue(text: "BDAT 6\r\nQUIT\r\n", codes: [503], errors: 1),
        Dialogue(text: "BDAT 0 LAST\r\nNOOP\r\n", codes: [503, 250], errors: 1),
        Dialogue(
            text: "MAIL FROM:<a@b>\r\nBDAT 6\r\nQUIT\r\nRCPT TO:<c@d>\r\nBDAT 6 LAST\r\nQUIT\r\n",
            codes: [250, 503, 503, 503],
            errors: 3
        ),
        // Chunks in the pipeline behind a refused one are no mistakes.
        Dialogue(
            text: "BDAT 6\r\nQUIT\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
            codes: [503, 503, 503, 250],
            errors: 1
        ),
        // RCPT and MAIL after BDAT.
        Dialogue(
            text: mail + "BDAT 6\r\na: b\r\nRCPT TO:<e@f>\r\nMAIL FROM:<a@b>\r\nBDAT 0 LAST\r\n",
            codes: [250, 250, 250, 503, 503, 250],
            messages: ["a: b\r\n"],
            errors: 2
        ),
        // A size that is none: nothing behind it may be read.
        Dialogue(text: mail + "BDAT\r\nQUIT\r\n", codes: [250, 250, 501], closes: true, errors: 1),
        Dialogue(text: mail + "BDAT -1\r\n", codes: [250, 250, 501], closes: true, errors: 1),
        Dialogue(text: mail + "BDAT 6LAST\r\n", codes: [250, 250, 501], closes: true, errors: 1),
        Dialogue(text: mail + "BDAT 6 LST\r\n", codes: [250, 250, 501], closes: true, errors: 1),
        Dialogue(
            text: mail + "BDAT 6 LAST 7\r\n",
            codes: [250, 250, 501],
            closes: true,
            errors: 1
        ),
        Dialogue(text: mail + "BDAT 0x6\r\n", codes: [250, 250, 501], closes: true, errors: 1),
        Dialogue(text: mail + "BDAT 6\0\r\n", codes: [250, 250, 501], closes: true, errors: 1),
        Dialogue(
            text: mail + "BDAT 99999999999999999999999\r\nQUIT\r\n",
            codes: [250, 250, 552],
            closes: true,
            errors: 1
        ),
        Dialogue(
            text: mail + "BDAT 6" + String(repeating: " ", count: 520) + "\r\nQUIT\r\n",
            codes: [250, 250, 500],
            closes: true
        ),
        Dialogue(
            text: mail + "BDAT 6" + String(repeating: " ", count: 900) + "\r\nQUIT\r\n",
            codes: [250, 250, 500],
            closes: true
        ),
        // Over the limit (60): dropped up to a bound (120), also with what came before.
        Dialogue(
            text: mail + "BDAT 66\r\n" + String(repeating: "QUIT\r\n", count: 11) + mail
                + "BDAT 6 LAST\r\na: b\r\n",
            codes: [250, 250, 552, 250, 250, 250],
            messages: ["a: b\r\n"]
        ),
        Dialogue(text: mail + "BDAT 121\r\nQUIT\r\n", codes: [250, 250, 552], closes: true),
        Dialogue(
            text: mail + "BDAT 6\r\na: b\r\nBDAT 60 LAST\r\n"
                + String(repeating: "QUIT\r\n", count: 10) + "NOOP\r\n",
            codes: [250, 250, 250, 552, 250]
        ),
        // The same bound for chunks in a row.
        Dialogue(
            text: "BDAT 120\r\n" + String(repeating: "QUIT\r\n", count: 20) + "BDAT 1\r\nQ",
            codes: [503, 503],
            closes: true,
            errors: 1
        ),
        // What a message may not have is answered at its chunk.
        Dialogue(
            text: mail + "BDAT 7\r\na: b\nc\nBDAT 6 LAST\r\nQUIT\r\n",
            codes: [250, 250, 554, 503]
        ),
        Dialogue(text: mail + "BDAT 7 LAST\r\na: b\0\r\n", codes: [250, 250, 554]),
        Dialogue(text: mail + "BDAT 7 LAST\r\na: b\r\n\r", codes: [250, 250, 554]),
        // In binary the body has no lines; the header does.
        Dialogue(
            text: "MAIL FROM:<a@b> BODY=binarymime\r\nRCPT TO:<c@d>\r\nBDAT 9\r\na: b\r\n\r\n\r"
                + "BDAT 5 LAST\r\n\0\nx\r\r",
            codes: [250, 250, 250, 250],
            messages: ["a: b\r\n\r\n\r\0\nx\r\r"]
        ),
        Dialogue(
            text: "MAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nBDAT 9 LAST\r\na: b\nc: d",
            codes: [250, 250, 554]
        ),
        Dialogue(
            text: "MAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nBDAT 4 LAST\r\na: b",
            codes: [250, 250, 250],
            messages: ["a: b\r\n"]
        ),
    ]

    static func configuration(
        bareNewline: BareNewlineRule = .reject,
        _ change: (inout SMTPLimits) -> Void = { _ in }
    ) -> SMTPConfiguration {
        .test(
            bareNewline: bareNewline,
            extensions: SMTPExtensions.standard.union(.binaryMIME)
        ) {
            $0.maximumMessageOctets = 60
            change(&$0)
        }
    }

    @Test(arguments: dialogues.indices)
    func `a dialogue with chunks`(index: Int) {
        let dialogue = Self.dialogues[index]
        for pieces in splits(octets(dialogue.text)) {
            let driver = SessionDriver.greeted(Self.configuration())
            for piece in pieces { driver.send(piece) }
            #expect(driver.codes() == dialogue.codes, "\(dialogue.text)")
            #expect(driver.messages == dialogue.messages.map(octets), "\(dialogue.text)")
            #expect(driver.isClosed == dialogue.closes, "\(dialogue.text)")
            #expect(driver.counters.errors == dialogue.errors, "\(dialogue.text)")
        }
    }

    @Test func `in normalize mode a bare CR or LF becomes CRLF, across chunks too`() {
        let text = Self.mail + "BDAT 7\r\na: b\n\n\rBDAT 4\r\n\n.\n.BDAT 6 LAST\r\n\r\n\r\rx\r"
        for pieces in splits(octets(text)) {
            let driver = SessionDriver.greeted(Self.configuration(bareNewline: .normalize))
            for piece in pieces { driver.send(piece) }
            #expect(driver.codes() == [250, 250, 250, 250, 250])
            #expect(driver.messages == [octets("a: b\r\n\r\n\r\n.\r\n.\r\n\r\n\r\nx\r\n")])
        }
    }

    @Test func `policy is asked once for data, at the end of the header, and for the message`() {
        let driver = SessionDriver.greeted(Self.configuration())
        driver.beginTransaction()
        driver.send("BDAT 6\r\na: b\r\nBDAT 3\r\n\r\nxBDAT 0 LAST\r\n")
        let facts = SMTPMessageFacts(octets: 11, bodyOffset: 6, hops: 0)
        #expect(driver.questions == [.data, .headersEnd(bodyOffset: 6), .message(facts)])
        #expect(driver.replies.map(\.code.rawValue) == [250, 250, 250])
    }

    @Test func `what policy refuses is answered at its chunk, and ends the transaction`() {
        let refusal = StandardReplies.dataDenied
        let text = "BDAT 6\r\na: b\r\nBDAT 6\r\n\r\nxx\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"
        let rows: [(SMTPQuestion, [UInt16])] = [
            (.data, [554, 503, 503, 250]),
            (.headersEnd(bodyOffset: 6), [250, 554, 503, 250]),
        ]
        for (question, codes) in rows {
            for pieces in splits(octets(text)) {
                let driver = SessionDriver.greeted(Self.configuration())
                driver.beginTransaction()
                driver.answer = { $0 == question ? .refused(refusal) : .granted(nil) }
                for piece in pieces { driver.send(piece) }
                #expect(driver.replies.map(\.code.rawValue) == codes)
                #expect(driver.events.filter { $0 == .reset }.count == 1)
                #expect(driver.counters.errors == 0)
                #expect(driver.messages.isEmpty)
            }
        }
    }

    @Test func `a chunk that policy refuses and closes is not read`() {
        let driver = SessionDriver.greeted(Self.configuration())
        driver.beginTransaction()
        driver.answer = { _ in .refusedThenClose(StandardReplies.dataDeniedClosing) }
        driver.send("BDAT 6\r\nQUIT\r\n")
        #expect(driver.events.last == .closed)
        #expect(driver.codes() == [554])
    }

    @Test func `every recipient was refused: the chunk is dropped, and it is no mistake`() {
        let driver = SessionDriver.greeted(Self.configuration())
        driver.answer = {
            if case .rcpt = $0 { .refused(StandardReplies.recipientDenied) } else { .granted(nil) }
        }
        driver.send(Self.mail + "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        #expect(driver.codes() == [250, 550, 554, 250])
        #expect(driver.counters.errors == 0)
    }

    @Test func `behind a message by DATA a chunk needs an envelope`() {
        let driver = SessionDriver.greeted(Self.configuration())
        driver.beginTransaction()
        driver.send("DATA\r\n")
        driver.send("a: b\r\n.\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        #expect(driver.codes() == [354, 250, 503, 250])
        #expect(driver.messages == [octets("a: b\r\n")])
    }

    @Test func `DATA is refused in a message of chunks, and with BODY=BINARYMIME`() {
        let driver = SessionDriver.greeted(Self.configuration())
        driver.beginTransaction()
        driver.send("BDAT 6\r\na: b\r\n")
        #expect(driver.code(of: "DATA") == 503)
        #expect(driver.code(of: "RSET") == 250)
        #expect(driver.code(of: "MAIL FROM:<a@b> BODY=BINARYMIME") == 250)
        #expect(driver.code(of: "RCPT TO:<c@d>") == 250)
        #expect(driver.code(of: "DATA") == 503)
        driver.events = []
        driver.send("DATA\r\nMAIL FROM:<x@y>\r\n")
        #expect(driver.events.last == .closed)
    }

    @Test func `BODY=BINARYMIME needs its keyword`() {
        let driver = SessionDriver.greeted(.test())
        #expect(driver.code(of: "MAIL FROM:<a@b> BODY=BINARYMIME") == 501)
        let without = SessionDriver.greeted(.test(extensions: [.eightBitMIME, .binaryMIME]))
        #expect(without.code(of: "MAIL FROM:<a@b> BODY=BINARYMIME") == 501)
    }

    @Test func `chunks with octets count for no limit of commands, empty ones do`() {
        let configuration = Self.configuration { $0.maximumCommandsWithoutMessage = 5 }
        let driver = SessionDriver.greeted(configuration)
        driver.send(Self.mail)
        for _ in 0..<20 { #expect(driver.code(of: "BDAT 2\r\n") == 250) }
        for _ in 0..<5 { #expect(driver.code(of: "BDAT 0") == 250) }
        #expect(driver.code(of: "BDAT 0") == 421)
    }

    @Test func `chunks may be pipelined, and are no early talk`() {
        let driver = SessionDriver.greeted(Self.configuration())
        driver.send(Self.mail + "BDAT 6\r\na: b\r\nBDAT 0 LAST\r\n" + Self.mail)
        #expect(driver.codes() == [250, 250, 250, 250, 250, 250])
        #expect(!driver.isEarlyTalker)
    }

    @Test func `half a chunk: the client's time runs, and nothing is a message`() {
        let driver = SessionDriver.greeted(Self.configuration())
        driver.beginTransaction()
        driver.send("BDAT 20 LAST\r\na: b\r\n")
        #expect(driver.wait == .content)
        #expect(driver.timedOut() == .replyThenClose(StandardReplies.timeout))
        #expect(driver.messages.isEmpty)

        let dropping = SessionDriver.greeted(Self.configuration())
        dropping.send("BDAT 20 LAST\r\nQUIT\r\n")
        #expect(dropping.wait == .content)
        #expect(dropping.replies.isEmpty)
    }

    @Test func `octets of a chunk that is dropped have arrived as well`() {
        let driver = SessionDriver.greeted()
        driver.send("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 6\r\na: b\r\n")
        #expect(driver.session.arrivedContentOctets == 6)
        driver.send("RSET\r\nBDAT 10\r\n")
        #expect(driver.session.arrivedContentOctets == 6)
        driver.send("1234")
        #expect(driver.session.arrivedContentOctets == 10)
        driver.send("567890")
        #expect(driver.session.arrivedContentOctets == 16)
        #expect(driver.replies.last?.code.rawValue == 503)
    }
}
