import Testing

@testable import SMTPCore

/// What an answer of policy leads to, and what the session is like after it.
struct SMTPAnswerTests {
    private static let deny = StandardReplies.mailDenied
    private static let close421 = StandardReplies.deferredClosing

    @Test func `the connection is asked about before anything is said`() {
        let driver = SessionDriver { _ in nil }
        driver.open()
        driver.send("EHLO x\r\n")
        #expect(driver.events == [.asked(.connect)])
        #expect(driver.wait == .answer)
        #expect(driver.isEarlyTalker)
        driver.decide(.granted(nil))
        #expect(driver.replies == [driver.configuration.greeting])
        #expect(driver.questions.last == .ehlo(name: octets("x")))
    }

    @Test func `a refused connection is closed with its reply`() {
        for outcome in [SMTPOutcome.refused(Self.deny), .refusedThenClose(Self.deny)] {
            let driver = SessionDriver { _ in outcome }
            driver.open()
            #expect(driver.events == [.asked(.connect), .said(Self.deny), .closed])
            #expect(driver.wait == .nothing)
        }
    }

    static let commands: [(String, standard: SMTPReply?)] = [
        ("HELO x", nil), ("EHLO x", nil),
        ("MAIL FROM:<a@b>", StandardReplies.senderAccepted),
        ("VRFY a", StandardReplies.cannotVerify), ("HELP", StandardReplies.help),
        ("NOOP", StandardReplies.ok),
    ]

    @Test(arguments: commands)
    func `a command is granted, refused, or closes`(line: String, standard: SMTPReply?) {
        let driver = SessionDriver.greeted()
        #expect(driver.code(of: line).map { $0 / 100 } == 2)
        if let standard { #expect(driver.replies == [standard]) }

        let refused = SessionDriver.greeted { _ in .refused(Self.deny) }
        #expect(refused.code(of: line) == 550)
        #expect(refused.wait == .command)
        #expect(!refused.isInTransaction)
        #expect(refused.counters.errors == 0)

        let closed = SessionDriver.greeted { _ in .refusedThenClose(Self.deny) }
        #expect(closed.code(of: line) == 550)
        #expect(closed.events.last == .closed)
        #expect(closed.wait == .nothing)
    }

    @Test(arguments: commands)
    func `421 closes and a negative reply is no grant`(line: String, standard: SMTPReply?) {
        let closed = SessionDriver.greeted { _ in .refused(Self.close421) }
        #expect(closed.code(of: line) == 421)
        #expect(closed.events.last == .closed)

        let granted = SessionDriver.greeted { _ in .granted(Self.deny) }
        #expect(granted.code(of: line) == 550)
        #expect(!granted.isInTransaction)
    }

    @Test func `a reply of policy's replaces the standard one`() throws {
        let reply = try SMTPReply(
            policy: ReplyCode(known: 250),
            status: nil,
            text: [octets("fine")]
        )
        let driver = SessionDriver.greeted { _ in .granted(reply) }
        driver.send("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n")
        #expect(driver.replies == [reply, reply])
        // Only 354 begins content.
        #expect(driver.code(of: "DATA") == 354)
        #expect(driver.replies == [StandardReplies.startMailInput])
    }

    @Test func `354 answers nothing but DATA`() {
        let driver = SessionDriver.greeted { _ in .granted(StandardReplies.startMailInput) }
        #expect(driver.code(of: "NOOP") == 250)
        #expect(driver.code(of: "MAIL FROM:<>") == 250)
    }

    @Test func `refused recipients are counted and not added`() {
        let driver = SessionDriver.greeted()
        driver.beginTransaction(recipients: 2)
        driver.answer = { _ in .refused(StandardReplies.recipientDenied) }
        #expect(driver.code(of: "RCPT TO:<c@d>") == 550)
        #expect(driver.counters.recipientsGranted == 2)
        #expect(driver.counters.recipientsRefused == 1)
        driver.answer = { _ in .granted(nil) }
        #expect(driver.code(of: "DATA") == 354)
    }

    @Test func `a refused DATA ends the transaction`() {
        let driver = SessionDriver.greeted()
        driver.beginTransaction()
        driver.answer = { _ in .refused(StandardReplies.dataDenied) }
        driver.send("DATA\r\n")
        #expect(driver.events == [.asked(.data), .reset, .said(StandardReplies.dataDenied)])
        #expect(driver.code(of: "RCPT TO:<a@b>") == 503)
    }

    @Test func `quit closes, whatever policy says`() {
        for (outcome, code) in [
            (SMTPOutcome.granted(nil), 221), (.refused(Self.deny), 550),
            (.refusedThenClose(Self.deny), 550),
        ] as [(SMTPOutcome, UInt16)] {
            let driver = SessionDriver.greeted { _ in outcome }
            #expect(driver.code(of: "QUIT") == code)
            #expect(driver.events.last == .closed)
            driver.events = []
            driver.send("NOOP\r\n")
            #expect(driver.events.isEmpty)
        }
    }

    @Test func `an unrecognised command is policy's to answer`() throws {
        let driver = SessionDriver.greeted()
        driver.send("XYZZY one two \r\n")
        let line = octets("XYZZY one two ")
        #expect(
            driver.events == [
                .asked(.unrecognized(command: octets("XYZZY"), line: line)),
                .said(StandardReplies.unrecognizedCommand),
            ]
        )
        driver.events = []
        driver.send("\r\n")
        #expect(driver.questions == [.unrecognized(command: [], line: [])])
        #expect(driver.counters.unrecognized == 2)
        #expect(driver.counters.errors == 2)

        let done = try SMTPReply(policy: ReplyCode(known: 250), status: nil, text: [octets("ok")])
        driver.answer = { _ in .granted(done) }
        #expect(driver.code(of: "XYZZY") == 250)
        #expect(driver.counters.errors == 2)
        driver.answer = { _ in .refusedThenClose(StandardReplies.unrecognizedClosing) }
        #expect(driver.code(of: "XYZZY") == 521)
        #expect(driver.events.last == .closed)
    }

    @Test(arguments: ["STARTTLS", "AUTH PLAIN x", "EXPN a"])
    func `what is known but not offered is no unrecognised command`(line: String) {
        let driver = SessionDriver.greeted()
        #expect(driver.code(of: line) == 502)
        #expect(driver.counters.unrecognized == 0)
        #expect(driver.counters.errors == 1)
        #expect(driver.questions.isEmpty)
    }

    // MARK: Stale

    @Test func `an answer that nobody waits for is dropped`() {
        let driver = SessionDriver.greeted { _ in nil }
        #expect(driver.answered(.granted(nil)) == .dropStale)
        driver.send("MAIL FROM:<a@b>\r\n")
        let id = driver.questionID
        #expect(driver.answered(.granted(nil), to: id - 1) == .dropStale)
        #expect(driver.wait == .answer)
        #expect(
            driver.answered(.granted(nil), to: id) == .reply(StandardReplies.senderAccepted)
        )
        #expect(driver.answered(.granted(nil), to: id) == .dropStale)
        #expect(driver.isInTransaction)
        #expect(driver.counters.transactions == 1)
    }

    @Test func `nothing follows the end of a session`() {
        let driver = SessionDriver.greeted { _ in nil }
        driver.send("MAIL FROM:<a@b>\r\n")
        driver.connectionClosed()
        #expect(driver.answered(.granted(nil)) == .dropStale)
        #expect(driver.timedOut() == .dropStale)
        #expect(driver.shutdownDeadlinePassed() == .dropStale)
        #expect(driver.connectionOpened() == .dropStale)
        let step = driver.next(in: octets("NOOP\r\n"))
        #expect(step == SMTPSession.Step(action: .closed, consumed: 6))
    }

    @Test func `a session is opened once`() {
        let driver = SessionDriver { _ in nil }
        driver.open()
        #expect(driver.connectionOpened() == .dropStale)
        #expect(driver.wait == .answer)
    }
}
