import Testing

@testable import SMTPCore

/// STARTTLS, TLS from the first octet, and listeners that want more than a greeting.
struct SMTPTLSTests {
    private static func newDriver(
        requirements: SMTPRequirements = [],
        answer: @escaping (SMTPQuestion) -> SMTPOutcome? = { _ in .granted(nil) }
    ) -> SessionDriver {
        let configuration = SMTPConfiguration(
            hostname: octets("mx.example.org"),
            extensions: { $0.isEncrypted ? .standard : SMTPExtensions.standard.union(.startTLS) },
            requirements: requirements
        )
        return SessionDriver(configuration, answer: answer)
    }

    private static func greeted(requirements: SMTPRequirements = []) -> SessionDriver {
        let driver = Self.newDriver(requirements: requirements)
        driver.open()
        driver.send("EHLO client.example\r\n")
        return driver
    }

    private static func ehlo(_ driver: SessionDriver) -> String {
        driver.events = []
        driver.send("EHLO client.example\r\n")
        return String(decoding: driver.replies.flatMap(\.wire), as: UTF8.self)
    }

    @Test func `STARTTLS is offered until the connection is encrypted`() {
        let driver = Self.greeted()
        #expect(
            driver.replies.last.map { String(decoding: $0.wire, as: UTF8.self) }?.contains(
                "STARTTLS"
            ) == true
        )
        driver.events = []
        driver.send("STARTTLS\r\n")
        #expect(driver.events == [.said(StandardReplies.readyToStartTLS), .handshake])
        #expect(driver.wait == .handshake)
        #expect(driver.encrypted())
        #expect(!Self.ehlo(driver).contains("STARTTLS"))
        #expect(driver.code(of: "STARTTLS") == 503)
        #expect(driver.replies.last == StandardReplies.alreadyEncrypted)
    }

    @Test func `the client has to greet again, and its counters stay`() {
        let driver = Self.greeted()
        driver.send("STARTTLS\r\n")
        #expect(driver.encrypted())
        let commands = driver.counters.commands
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 503)
        #expect(driver.replies.last == StandardReplies.helloFirst)
        #expect(driver.counters.commands == commands + 1)
    }

    @Test(arguments: ["MAIL FROM:<a@b>\r\n", "x", "\r\n", "\u{16}\u{3}\u{1}"])
    func `nothing behind STARTTLS is read as a command`(behind: String) {
        let driver = Self.greeted()
        driver.events = []
        driver.send("STARTTLS\r\n" + behind)
        #expect(driver.events == [.said(StandardReplies.octetsBehindStartTLS), .closed])
    }

    @Test func `octets in clear text during the handshake are dropped`() {
        let driver = Self.greeted()
        driver.send("STARTTLS\r\n")
        driver.events = []
        driver.send("MAIL FROM:<a@b>\r\n")
        #expect(driver.events.isEmpty && driver.pending.isEmpty)
        #expect(driver.encrypted())
        #expect(driver.code(of: "NOOP") == 250)
        #expect(driver.questions == [.noop([])])
    }

    @Test func `STARTTLS needs EHLO and no argument, and ends a transaction`() {
        let driver = Self.newDriver()
        driver.open()
        #expect(driver.code(of: "STARTTLS") == 503)
        #expect(driver.code(of: "EHLO x") == 250)
        #expect(driver.code(of: "STARTTLS now") == 501)
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 250)
        #expect(driver.code(of: "STARTTLS") == 220)
        #expect(driver.encrypted() && !driver.isInTransaction)
        #expect(driver.code(of: "RCPT TO:<c@d>") == 503)
    }

    @Test func `a connection that is encrypted before the greeting needs no STARTTLS`() {
        let driver = Self.newDriver(requirements: .encryption)
        #expect(driver.encrypted())
        driver.open()
        #expect(!Self.ehlo(driver).contains("STARTTLS"))
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 250)
    }

    @Test func `no handshake is done that was not due`() {
        let driver = Self.greeted()
        #expect(!driver.encrypted())
        driver.beginContent()
        #expect(!driver.encrypted())
        driver.connectionClosed()
        #expect(!driver.encrypted())
    }

    @Test func `a handshake may time out and may be shut down`() {
        let late = Self.greeted()
        late.send("STARTTLS\r\n")
        #expect(late.timedOut() == .replyThenClose(StandardReplies.timeout))
        let stopped = Self.greeted()
        stopped.send("STARTTLS\r\n")
        stopped.events = []
        stopped.tell { $0.shutdownRequested() }
        #expect(stopped.wait == .handshake)
        #expect(stopped.encrypted())
        stopped.send("EHLO x\r\n")
        #expect(stopped.events == [.said(StandardReplies.shuttingDown), .closed])
    }

    /// RFC 3207 §4 names what is allowed before STARTTLS.
    @Test(
        arguments: [
            ("NOOP", 250), ("EHLO x", 250), ("FOO", 500), ("HELO x", 530), ("MAIL FROM:<a@b>", 530),
            ("RCPT TO:<a@b>", 530), ("DATA", 530), ("RSET", 530), ("VRFY a", 530), ("HELP", 530),
            ("EXPN a", 530), ("AUTH PLAIN", 530),
        ] as [(String, UInt16)]
    )
    func `a listener that requires TLS refuses what is not encrypted`(line: String, code: UInt16) {
        let driver = Self.greeted(requirements: .encryption)
        driver.answer = { question in
            if case .unrecognized = question {
                .refused(StandardReplies.unrecognizedCommand)
            } else {
                .granted(nil)
            }
        }
        #expect(driver.code(of: line) == code)
        if code == 530 { #expect(driver.replies.last == StandardReplies.encryptionRequired) }
    }

    @Test func `a listener that requires AUTH refuses MAIL before it`() {
        let driver = Self.greeted(requirements: .authentication)
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 530)
        #expect(driver.replies.last == StandardReplies.authenticationRequired)
        #expect(driver.code(of: "VRFY a") == 530)
        #expect(driver.code(of: "NOOP") == 250)
        driver.session.security.isAuthenticated = true
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 250)
    }
}
