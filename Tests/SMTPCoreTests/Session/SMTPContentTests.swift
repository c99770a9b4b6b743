import Testing

@testable import SMTPCore

/// From DATA to the answer to the final dot.
struct SMTPContentTests {
    @Test func `a message is asked about twice, then answered`() {
        let driver = SessionDriver.greeted()
        driver.beginContent()
        driver.send("Received: x\r\nSubject: y\r\n\r\n..body\r\n.\r\nNOOP\r\n")
        let facts = SMTPMessageFacts(octets: 34, bodyOffset: 25, hops: 1)
        #expect(
            driver.events == [
                .asked(.headersEnd(bodyOffset: 25)), .asked(.message(facts)), .reset,
                .said(StandardReplies.messageAccepted), .asked(.noop([])),
                .said(StandardReplies.ok),
            ]
        )
        #expect(driver.headerOctets == [27])
        #expect(driver.messages == [octets("Received: x\r\nSubject: y\r\n\r\n.body\r\n")])
    }

    @Test func `a message without a body is asked about in the same order`() {
        for (message, bodyOffset) in [("Subject: y\r\n", 12), ("", 0)] {
            let driver = SessionDriver.greeted()
            driver.beginContent()
            driver.send(message + ".\r\n")
            let facts = SMTPMessageFacts(octets: bodyOffset, bodyOffset: bodyOffset, hops: 0)
            #expect(
                driver.questions == [.headersEnd(bodyOffset: bodyOffset), .message(facts)]
            )
            #expect(driver.codes() == [250])
        }
    }

    @Test func `content waits while the end of the header is asked about`() {
        let driver = SessionDriver.greeted {
            $0 == .headersEnd(bodyOffset: 6) ? nil : .granted(nil)
        }
        driver.beginContent()
        driver.send("a: b\r\n\r\nbody\r\n.\r\n")
        #expect(driver.questions == [.headersEnd(bodyOffset: 6)])
        #expect(driver.content == octets("a: b\r\n\r\n"))
        #expect(driver.wait == .answer)
        driver.decide(.granted(nil))
        #expect(driver.messages == [octets("a: b\r\n\r\nbody\r\n")])
        #expect(driver.codes() == [250])
        #expect(!driver.isEarlyTalker)
    }

    @Test(arguments: ["a: b\r\n\r\nbody\r\n.\r\nNOOP\r\n", "a: b\r\n.\r\nNOOP\r\n"])
    func `a refusal at the end of the header is told at the final dot`(message: String) {
        let driver = SessionDriver.greeted {
            if case .headersEnd = $0 { .refused(StandardReplies.dataDenied) } else { .granted(nil) }
        }
        driver.beginContent()
        driver.send(message)
        #expect(driver.codes() == [554, 250])
        #expect(driver.messages.isEmpty)
        #expect(driver.wait == .command)
    }

    @Test func `a refusal that closes does so in the middle of content`() {
        let driver = SessionDriver.greeted {
            if case .headersEnd = $0 {
                .refusedThenClose(StandardReplies.dataDeniedClosing)
            } else {
                .granted(nil)
            }
        }
        driver.beginContent()
        driver.send("a: b\r\n\r\nMAIL FROM:<x@y>\r\n.\r\nNOOP\r\n")
        #expect(driver.codes() == [554])
        #expect(driver.isClosed)
    }

    @Test(
        arguments: [
            (SMTPOutcome.refused(StandardReplies.queueDeferred), 451, false),
            (.refused(StandardReplies.queueDenied), 554, false),
            (.refusedThenClose(StandardReplies.dataDeniedClosing), 554, true),
            (.granted(StandardReplies.queueUndecided), 451, false),
            (.granted(nil), 250, false),
        ] as [(SMTPOutcome, UInt16, Bool)]
    )
    func `the message's answer ends the transaction`(
        outcome: SMTPOutcome,
        code: UInt16,
        closes: Bool
    ) {
        let driver = SessionDriver.greeted {
            if case .message = $0 { outcome } else { .granted(nil) }
        }
        driver.beginContent()
        driver.send("a: b\r\n\r\nbody\r\n.\r\n")
        #expect(driver.replies.map(\.code.rawValue) == [code])
        #expect(driver.events.contains(.reset) == !closes)
        #expect(driver.isClosed == closes)
        if !closes { #expect(driver.code(of: "MAIL FROM:<a@b>") == 250) }
    }

    /// A stub of LMTP: the final dot has a reply for each recipient (RFC 2033 §4.2).
    @Test(arguments: [1, 2, 3])
    func `a message may have a reply for each recipient`(recipients: Int) {
        let replies = [
            StandardReplies.messageAccepted, StandardReplies.recipientDeferred,
            StandardReplies.recipientDenied,
        ].prefix(recipients)
        for pieces in splits(octets("a: b\r\n\r\nbody\r\n.\r\nNOOP\r\n")) {
            let driver = SessionDriver.greeted {
                if case .message = $0 { .answeredEach(Array(replies)) } else { .granted(nil) }
            }
            driver.beginTransaction(recipients: recipients)
            driver.send("DATA\r\n")
            driver.events = []
            for piece in pieces { driver.send(piece) }
            #expect(driver.replies == replies + [StandardReplies.ok])
            #expect(driver.events.filter { $0 == .reset }.count == 1)
            #expect(driver.code(of: "MAIL FROM:<a@b>") == 250)
        }
    }

    @Test func `the replies of a message come before those that end the session`() {
        let replies = [StandardReplies.messageAccepted, StandardReplies.recipientDeferred]
        let driver = SessionDriver.greeted {
            if case .message = $0 { nil } else { .granted(nil) }
        }
        driver.beginContent()
        driver.send("a: b\r\n\r\n.\r\n")
        driver.tell { $0.shutdownRequested() }
        driver.decide(.answeredEach(replies))
        #expect(driver.replies == replies + [StandardReplies.shuttingDown])
    }

    @Test(arguments: ["MAIL FROM:<a@b>\r\n", "\r\nNOOP\r\n"])
    func `nothing but a message has a reply for each recipient`(text: String) {
        let driver = SessionDriver.greeted { _ in .answeredEach([StandardReplies.ok]) }
        driver.send(text)
        #expect(driver.replies == [StandardReplies.internalError])
        #expect(driver.isClosed)
    }

    @Test(arguments: [SMTPOutcome.answeredEach([]), .answeredEach([StandardReplies.ok])])
    func `neither has the end of a header, nor has a message no reply`(outcome: SMTPOutcome) {
        let driver = SessionDriver.greeted {
            switch $0 {
            case .message: outcome
            case .headersEnd: outcome == .answeredEach([]) ? .granted(nil) : outcome
            default: .granted(nil)
            }
        }
        driver.beginContent()
        driver.send("a: b\r\n\r\n.\r\n")
        #expect(driver.replies == [StandardReplies.internalError])
        #expect(driver.isClosed)
    }

    static let refused: [(String, String, SMTPReply)] = [
        ("bare LF", "a: b\r\n\r\nbo\ndy\r\n", StandardReplies.bareNewlineInMessage),
        ("bare CR", "a: b\r\n\r\nbo\rdy\r\n", StandardReplies.bareNewlineInMessage),
        ("bare LF in the header", "a: \nb\r\n\r\n", StandardReplies.bareNewlineInMessage),
        (
            "LF dot CRLF", "a: b\r\n\r\nx\n.\r\nMAIL FROM:<x@y>\r\n",
            StandardReplies.bareNewlineInMessage
        ),
        (
            "CRLF dot LF", "a: b\r\n\r\nx\r\n.\nMAIL FROM:<x@y>\r\n",
            StandardReplies.bareNewlineInMessage
        ),
        (
            "CRLF dot CR", "a: b\r\n\r\nx\r\n.\rMAIL FROM:<x@y>\r\n",
            StandardReplies.bareNewlineInMessage
        ),
        ("too big", String(repeating: "x", count: 200) + "\r\n", StandardReplies.messageTooBig),
        (
            "too big, then smuggling", String(repeating: "x\r\n", count: 80) + "\n.\r\nRSET\r\n",
            StandardReplies.bareNewlineInMessage
        ),
        (
            "long header", "a: " + String(repeating: "x", count: 60) + "\r\n\r\n",
            StandardReplies.headerTooBig
        ),
        (
            "long line", "a: b\r\n\r\n" + String(repeating: "x", count: 70) + "\r\n",
            StandardReplies.textLineTooLong
        ),
        ("loop", "Received: 1\r\nReceived: 2\r\nReceived: 3\r\n\r\n", StandardReplies.tooManyHops),
    ]

    @Test(arguments: refused)
    func `SMTP's own refusals are told at the true end, and the session goes on`(
        name: String,
        message: String,
        reply: SMTPReply
    ) {
        let configuration = SMTPConfiguration.test {
            $0.maximumMessageOctets = 150
            $0.maximumHeaderOctets = 50
            $0.maximumTextLineOctets = 68
            $0.maximumReceived = 3
        }
        for pieces in splits(octets(message + ".\r\nNOOP\r\n")) {
            let driver = SessionDriver.greeted(configuration)
            driver.beginContent()
            for piece in pieces { driver.send(piece) }
            // Behind a bare CR or LF nothing is read as a command.
            let isOver = reply == StandardReplies.bareNewlineInMessage
            #expect(driver.replies == (isOver ? [reply] : [reply, StandardReplies.ok]), "\(name)")
            #expect(driver.isClosed == isOver)
            #expect(driver.messages.isEmpty)
            #expect(!driver.isInTransaction)
            #expect(driver.counters.commands == (isOver ? 4 : 5))
        }
    }

    @Test func `a listener may take commands behind a bare CR or LF`() {
        let driver = SessionDriver.greeted(.test(commandOptions: .commandsAfterBareNewline))
        driver.beginContent()
        driver.send("a: b\r\n\r\nbo\ndy\r\n.\r\nNOOP\r\n")
        #expect(driver.replies == [StandardReplies.bareNewlineInMessage, StandardReplies.ok])
    }

    @Test func `a message that will be refused says so before its end`() {
        let driver = SessionDriver.greeted()
        driver.beginContent()
        driver.send("a: b\r\n\r\nx")
        #expect(!driver.isDiscardingContent)
        driver.send("\ny\r\n")
        #expect(driver.isDiscardingContent)
        driver.send(".\r\n")
        #expect(!driver.isDiscardingContent)
    }

    @Test func `normalised content has no bare CR or LF`() {
        let driver = SessionDriver.greeted(.test(bareNewline: .normalize))
        driver.beginContent()
        driver.send("a: b\n\nbo\rdy\n.\r\nRSET\r\n.\r\n")
        #expect(driver.messages == [octets("a: b\r\n\r\nbo\r\ndy\r\n.\r\nRSET\r\n")])
        #expect(driver.codes() == [250])
    }
}
