import Testing

@testable import SMTPCore

/// Which command may come when.
///
/// Every answer is followed by the next command's.
struct SMTPOrderTests {
    static let dialogues: [(String, [(String, UInt16)])] = [
        (
            "nothing of a transaction before hello",
            [
                ("MAIL FROM:<a@b>", 503), ("RCPT TO:<a@b>", 503), ("DATA", 503), ("RSET", 250),
                ("NOOP", 250), ("HELP", 214), ("VRFY a", 252), ("EHLO x", 250),
                ("MAIL FROM:<a@b>", 250),
            ]
        ),
        (
            "a transaction in its order",
            [
                ("HELO x", 250), ("RCPT TO:<a@b>", 503), ("DATA", 503), ("MAIL FROM:<a@b>", 250),
                ("DATA", 503), ("RCPT TO:<a@b>", 250), ("RCPT TO:<c@d>", 250), ("DATA", 354),
                (".", 250), ("RCPT TO:<a@b>", 503), ("MAIL FROM:<a@b>", 250),
            ]
        ),
        (
            "MAIL does not nest",
            [
                ("EHLO x", 250), ("MAIL FROM:<a@b>", 250), ("MAIL FROM:<a@b>", 503),
                ("RCPT TO:<a@b>", 250), ("MAIL FROM:<a@b>", 503), ("DATA", 354), (".", 250),
            ]
        ),
        (
            "RSET and EHLO end a transaction",
            [
                ("EHLO x", 250), ("MAIL FROM:<a@b>", 250), ("RSET", 250), ("RCPT TO:<a@b>", 503),
                ("MAIL FROM:<a@b>", 250), ("EHLO y", 250), ("RCPT TO:<a@b>", 503),
                ("MAIL FROM:<a@b>", 250), ("HELO y", 250), ("DATA", 503),
                ("MAIL FROM:<a@b>", 250),
            ]
        ),
        (
            "other commands do not",
            [
                ("EHLO x", 250), ("MAIL FROM:<a@b>", 250), ("NOOP", 250), ("VRFY a", 252),
                ("HELP", 214), ("EXPN a", 502), ("WHAT", 500), ("RCPT TO:<a@b>", 250),
                ("RCPT TO:<>", 501), ("STARTTLS", 502), ("AUTH PLAIN", 502), ("DATA", 354),
            ]
        ),
        (
            "arguments where none may be",
            [
                ("EHLO x", 250), ("RSET x", 501), ("DATA x", 501), ("QUIT x", 501),
                ("NOOP x", 250), ("HELP x", 214), ("VRFY", 501), ("EXPN", 502),
            ]
        ),
        (
            "hello needs one acceptable name",
            [
                ("EHLO", 501), ("EHLO ", 501), ("HELO a b", 501), ("EHLO a\u{1}b", 501),
                ("EHLO a\tb", 501), ("EHLO [192.0.2.1]", 250), ("EHLO under_score", 250),
                ("EHLO bücher.example", 250), ("HELO -", 250),
            ]
        ),
    ]

    @Test(arguments: [
        ("jo SMTPUTF8", true), ("jo smtputf8", true), ("\u{FC} <a@b> SMTPUTF8", true),
        ("jo", false),
        ("SMTPUTF8", false), (" SMTPUTF8", false), ("joSMTPUTF8", false), ("jo SMTPUTF8=", false),
        ("jo SMTPUTF8 x", false), ("jo\tSMTPUTF8", false), ("SMTPUTF8 jo", false),
    ])
    func `VRFY may say SMTPUTF8`(argument: String, isSaid: Bool) {
        let driver = SessionDriver.greeted()
        driver.send("VRFY \(argument)\r\n")
        guard case .asked(.vrfy(let given, let isSMTPUTF8))? = driver.events.first else {
            Issue.record("\(driver.events)")
            return
        }
        #expect(isSMTPUTF8 == isSaid)
        #expect(given.suffix(2) == octets(argument).suffix(2))
        var extensions = SMTPExtensions.standard
        extensions.remove(.smtpUTF8)
        let without = SessionDriver.greeted(.test(extensions: extensions))
        without.send("VRFY \(argument)\r\n")
        #expect(without.events.first == .asked(.vrfy(given, isSMTPUTF8: false)))
    }

    @Test(arguments: dialogues)
    func `commands are answered in their order`(name: String, lines: [(String, UInt16)]) {
        let driver = SessionDriver()
        driver.open()
        #expect(driver.codes() == [220])
        for (line, code) in lines { #expect(driver.code(of: line) == code, "\(name): \(line)") }
    }

    @Test func `the session says when the transaction is over`() {
        let driver = SessionDriver.greeted()
        for end in ["RSET\r\n", "EHLO x\r\n", "HELO x\r\n"] {
            driver.beginTransaction()
            driver.send(end)
            #expect(driver.events.contains(.reset))
            driver.events = []
            driver.send(end)
            #expect(!driver.events.contains(.reset))
        }
    }

    @Test func `a refused EHLO changes nothing`() {
        let driver = SessionDriver.greeted()
        driver.beginTransaction()
        driver.answer = { _ in .refused(StandardReplies.helloDenied) }
        #expect(driver.code(of: "EHLO x") == 550)
        #expect(!driver.events.contains(.reset))
        driver.answer = { _ in .granted(nil) }
        #expect(driver.code(of: "DATA") == 354)
    }

    @Test func `a refused first EHLO leaves the client ungreeted`() {
        let driver = SessionDriver()
        driver.open()
        driver.answer = { _ in .refused(StandardReplies.helloDenied) }
        #expect(driver.code(of: "EHLO x") == 550)
        #expect(driver.code(of: "MAIL FROM:<>") == 503)
    }

    @Test func `DATA without a recipient says whether one was refused`() {
        let driver = SessionDriver.greeted()
        driver.beginTransaction(recipients: 0)
        #expect(driver.code(of: "DATA") == 503)
        driver.answer = { _ in .refused(StandardReplies.recipientUndecided) }
        #expect(driver.code(of: "RCPT TO:<a@b>") == 450)
        #expect(driver.code(of: "DATA") == 554)
        #expect(driver.replies.last == StandardReplies.noValidRecipients)
        driver.answer = { _ in .granted(nil) }
        #expect(driver.code(of: "RCPT TO:<a@b>") == 250)
        #expect(driver.code(of: "DATA") == 354)
    }

    @Test func `recipients that a worker removes are gone, those it adds are there`() {
        let driver = SessionDriver.greeted()
        driver.beginTransaction(recipients: 2)
        driver.recipients = 0
        #expect(driver.code(of: "NOOP") == 250)
        #expect(driver.code(of: "DATA") == 503)
        driver.recipients = 1
        #expect(driver.code(of: "NOOP") == 250)
        #expect(driver.code(of: "DATA") == 354)
    }

    @Test func `recipients may change while one is asked about`() {
        let driver = SessionDriver.greeted()
        driver.beginTransaction(recipients: 2)
        driver.answer = { _ in nil }
        driver.send("RCPT TO:<c@d>\r\n")
        driver.recipients = 0
        driver.decide(.refused(StandardReplies.recipientDenied))
        #expect(driver.code(of: "DATA") == 554)
    }

    @Test func `BDAT that is not offered closes, for its chunk would be read as commands`() {
        let driver = SessionDriver.greeted(.test(extensions: .pipelining))
        driver.beginTransaction()
        driver.send("BDAT 20 LAST\r\nMAIL FROM:<x@y>\r\n")
        #expect(driver.events == [.said(StandardReplies.bdatNotOffered), .closed])
    }

    /// What follows XCLIENT: a proxy names the client that it speaks for.
    @Test(arguments: [true, false])
    func `another client is asked about and has to greet`(isGranted: Bool) {
        let driver = SessionDriver.greeted { _ in
            isGranted ? .granted(nil) : .refused(StandardReplies.connectDenied)
        }
        driver.tell { $0.clientReplaced() }
        #expect(driver.questions == [.connect])
        #expect(driver.codes() == [isGranted ? 220 : 554])
        #expect(driver.isClosed != isGranted)
        if isGranted {
            #expect(driver.code(of: "MAIL FROM:<>") == 503)
            #expect(driver.code(of: "EHLO x") == 250)
            #expect(driver.code(of: "MAIL FROM:<>") == 250)
        }
    }

    @Test func `a client is replaced between commands alone, outside a transaction`() {
        let unopened = SessionDriver()
        unopened.tell { $0.clientReplaced() }
        #expect(unopened.events.isEmpty)

        let driver = SessionDriver.greeted()
        driver.beginTransaction()
        driver.tell { $0.clientReplaced() }
        #expect(driver.questions.isEmpty)
        driver.send("DATA\r\n")
        driver.tell { $0.clientReplaced() }
        #expect(driver.codes() == [354])
        driver.answer = { _ in nil }
        driver.send("a: b\r\n\r\n.\r\n")
        driver.events = []
        driver.tell { $0.clientReplaced() }
        #expect(driver.events.isEmpty)
    }
}
