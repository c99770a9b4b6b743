import Testing

@testable import SMTPCore

/// LMTP: what is not as in SMTP.
///
/// - Note: RFC 2033.
struct SMTPLMTPTests {
    private static func driver(
        _ commandOptions: SMTPCommandOptions = [],
        _ change: (inout SMTPLimits) -> Void = { _ in }
    ) -> SessionDriver {
        var limits = SMTPLimits()
        change(&limits)
        let driver = SessionDriver(
            SMTPConfiguration(
                hostname: octets("mx.example.org"),
                limits: limits,
                extensions: { _ in .standard },
                commandOptions: commandOptions,
                isLMTP: true
            )
        )
        driver.open()
        return driver
    }

    private static func greeted(
        _ commandOptions: SMTPCommandOptions = [],
        _ change: (inout SMTPLimits) -> Void = { _ in }
    ) -> SessionDriver {
        let driver = Self.driver(commandOptions, change)
        driver.send("LHLO client.example\r\n")
        driver.events = []
        return driver
    }

    static let message = "a: b\r\n\r\nbody\r\n.\r\n"

    // MARK: - LHLO

    @Test func `LHLO is EHLO's, and HELO and EHLO are none of LMTP's commands`() {
        let driver = Self.driver()
        #expect(driver.replies.first?.wire == octets("220 mx.example.org LMTP\r\n"))
        #expect(driver.code(of: "EHLO x") == 500)
        #expect(driver.code(of: "HELO x") == 500)
        #expect(driver.questions.isEmpty && driver.counters.errors == 2)
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 503)
        #expect(driver.replies.last?.wire == octets("503 5.5.1 Send LHLO first\r\n"))
        #expect(driver.code(of: "LHLO") == 501)
        #expect(driver.code(of: "lhlo client.example") == 250)
        #expect(driver.questions == [.ehlo(name: octets("client.example"))])
        #expect(driver.replies.last == driver.configuration.ehloReply(in: SMTPSecurity()))
        driver.beginTransaction()
        #expect(driver.code(of: "LHLO x") == 250)
        #expect(driver.events.contains(.reset))
        #expect(driver.code(of: "HELP") == 214)
    }

    @Test func `SMTP does not know LHLO`() {
        let driver = SessionDriver.greeted()
        driver.send("LHLO x\r\nNOOP\r\n")
        #expect(
            driver.questions.first == .unrecognized(command: octets("LHLO"), line: octets("LHLO x"))
        )
        #expect(!driver.isEarlyTalker)
    }

    // MARK: - Replies

    /// How many RCPTs are granted and refused, in this order; `!` is refused.
    private static func begin(_ driver: SessionDriver, _ recipients: String) {
        driver.send("MAIL FROM:<a@b>\r\n")
        for recipient in recipients {
            driver.answer = { _ in
                recipient == "!" ? .refused(StandardReplies.recipientDenied) : .granted(nil)
            }
            driver.send("RCPT TO:<\(recipient == "!" ? "x" : "\(recipient)")@b>\r\n")
        }
        driver.answer = { _ in .granted(nil) }
        driver.events = []
    }

    static let recipients: [(String, Int)] = [
        ("a", 1), ("ab", 2), ("!ab", 2), ("a!b!", 2), ("aaa", 3),
    ]

    @Test(arguments: recipients)
    func `each RCPT that was granted has a reply at the end`(recipients: String, count: Int) {
        let ok = StandardReplies.messageAccepted
        for pieces in splits(octets(Self.message + "NOOP\r\n")) {
            let driver = Self.greeted()
            Self.begin(driver, recipients)
            driver.send("DATA\r\n")
            driver.events = []
            for piece in pieces { driver.send(piece) }
            #expect(driver.replies == Array(repeating: ok, count: count) + [StandardReplies.ok])
            #expect(driver.events.filter { $0 == .reset }.count == 1)
            #expect(driver.code(of: "MAIL FROM:<a@b>") == 250)
        }
    }

    @Test(arguments: recipients)
    func `so has the last chunk, and no other`(recipients: String, count: Int) {
        let driver = Self.greeted()
        Self.begin(driver, recipients)
        driver.send("BDAT 8\r\na: b\r\n\r\n")
        #expect(driver.codes() == [250])
        driver.send("BDAT 0 LAST\r\nNOOP\r\n")
        #expect(driver.codes() == Array(repeating: 250, count: count + 1))
    }

    static let outcomes: [(SMTPOutcome, UInt16, closes: Bool)] = [
        (.refused(StandardReplies.dataDenied), 554, false),
        (.refused(StandardReplies.dataDeferred), 451, false),
        (.granted(StandardReplies.dataDenied), 554, false),
        (.refusedThenClose(StandardReplies.dataDeniedClosing), 554, true),
        (.refusedThenClose(StandardReplies.deferredClosing), 421, true),
    ]

    @Test(arguments: outcomes)
    func `a refusal is said to each, also where the session ends with it`(
        outcome: SMTPOutcome,
        code: UInt16,
        closes: Bool
    ) {
        for recipients in ["a", "a!bc"] {
            let count = recipients == "a" ? 1 : 3
            let driver = Self.greeted()
            Self.begin(driver, recipients)
            driver.send("DATA\r\n")
            driver.answer = { if case .message = $0 { outcome } else { .granted(nil) } }
            driver.events = []
            driver.send(Self.message)
            #expect(driver.replies.map(\.code.rawValue) == Array(repeating: code, count: count))
            #expect(driver.isClosed == closes)
            if !closes { #expect(driver.code(of: "MAIL FROM:<a@b>") == 250) }
        }
    }

    @Test func `policy may word a reply for each`() {
        let replies = [StandardReplies.messageAccepted, StandardReplies.recipientDeferred]
        let driver = Self.greeted()
        Self.begin(driver, "ab")
        driver.send("DATA\r\n")
        driver.answer = {
            if case .message = $0 { .answeredEach(replies) } else { .granted(nil) }
        }
        driver.events = []
        driver.send(Self.message)
        #expect(driver.replies == replies)
    }

    @Test func `what the frontend itself refuses is said to each`() {
        let big = Self.greeted { $0.maximumMessageOctets = 10 }
        Self.begin(big, "a!b")
        big.send("DATA\r\n")
        big.events = []
        big.send(Self.message)
        #expect(big.codes() == [552, 552])
        // A bare newline ends the session as well, after the last reply.
        for options: SMTPCommandOptions in [[], .commandsAfterBareNewline] {
            let bare = Self.greeted(options)
            Self.begin(bare, "ab")
            bare.send("DATA\r\n")
            bare.events = []
            bare.send("a: b\n\r\n.\r\nNOOP\r\n")
            #expect(bare.codes() == (options == [] ? [554, 554] : [554, 554, 250]))
            #expect(bare.isClosed == (options == []))
        }
        let headers = Self.greeted()
        Self.begin(headers, "ab")
        headers.answer = {
            if case .headersEnd = $0 { .refused(StandardReplies.dataDenied) } else { .granted(nil) }
        }
        headers.send("DATA\r\n")
        headers.events = []
        headers.send(Self.message)
        #expect(headers.codes() == [554, 554])
        headers.answer = {
            if case .headersEnd = $0 { .refused(StandardReplies.dataDenied) } else { .granted(nil) }
        }
        Self.begin(headers, "abc")
        headers.answer = {
            if case .headersEnd = $0 { .refused(StandardReplies.dataDenied) } else { .granted(nil) }
        }
        headers.send("DATA\r\na: b\r\n")
        #expect(headers.codes().last == 554)
    }

    @Test(arguments: [false, true])
    func `a chunk that is dropped is answered to each if it is the last`(isLast: Bool) {
        let driver = Self.greeted { $0.maximumMessageOctets = 10 }
        Self.begin(driver, "ab")
        driver.send("BDAT 11\(isLast ? " LAST" : "")\r\n12345678901NOOP\r\n")
        #expect(driver.codes() == (isLast ? [552, 552, 250] : [552, 250]))
        let denied = Self.greeted()
        Self.begin(denied, "abc")
        denied.answer = { $0 == .data ? .refused(StandardReplies.dataDenied) : .granted(nil) }
        denied.send("BDAT 2\(isLast ? " LAST" : "")\r\n12NOOP\r\n")
        #expect(denied.codes() == (isLast ? [554, 554, 554, 250] : [554, 250]))
    }

    @Test(arguments: ["", "!", "!!"])
    func `without a recipient DATA and BDAT get 503`(recipients: String) {
        let driver = Self.greeted()
        Self.begin(driver, recipients)
        #expect(driver.code(of: "DATA") == 503)
        #expect(driver.counters.errors == (recipients.isEmpty ? 1 : 0))
        driver.send("BDAT 2 LAST\r\n12")
        #expect(driver.replies.last?.code.rawValue == 503)
    }

    @Test func `a client that is cut off gets one reply`() {
        let driver = Self.greeted()
        Self.begin(driver, "ab")
        driver.send("DATA\r\n")
        driver.answer = { if case .message = $0 { nil } else { .granted(nil) } }
        driver.events = []
        driver.send(Self.message)
        driver.tell { $0.shutdownDeadlinePassed() }
        #expect(driver.codes() == [421])
        #expect(driver.isClosed)
    }
}
