import Testing

@testable import SMTPCore

/// Every limit of a session, at its maximum and one beyond.
struct SMTPLimitTests {
    private func line(_ start: String, octets count: Int) -> String {
        start + String(repeating: "x", count: count - start.utf8.count - 2)
    }

    @Test func `a command line has 512 octets, and MAIL more`() {
        let driver = SessionDriver.greeted()
        #expect(driver.code(of: self.line("NOOP ", octets: 512)) == 250)
        #expect(driver.code(of: self.line("NOOP ", octets: 513)) == 500)
        #expect(driver.code(of: self.line("NOOP ", octets: 565)) == 500)
        #expect(driver.code(of: self.line("NOOP ", octets: 566)) == 500)
        #expect(driver.code(of: self.line("NOOP ", octets: 5000)) == 500)
        #expect(driver.code(of: "NOOP") == 250)
        #expect(driver.code(of: self.line("MAIL FROM:<a@b> ", octets: 565)) == 555)
        #expect(driver.code(of: self.line("MAIL FROM:<a@b> ", octets: 566)) == 500)
        #expect(SMTPLimits.mailLineOctets == 565)
    }

    /// RFC 5321 §4.5.3.1 and §6.3, RFC 4954 §9.
    @Test func `the defaults are not below what RFCs ask`() {
        let limits = SMTPLimits()
        #expect(limits.maximumRecipients >= 100)
        #expect(limits.maximumMessageOctets >= 65_536)
        #expect(limits.maximumTextLineOctets >= 1_000)
        #expect(limits.maximumReceived >= 100)
        #expect(limits.maximumFailedLogins >= 3)
        #expect(SMTPLimits.localPartOctets >= 64 && SMTPLimits.domainOctets >= 255)
    }

    @Test func `an overlong line is dropped up to a limit, then the session closes`() {
        for (count, isClosed) in [(65_536, false), (65_537, true)] {
            for piece in [1000, 100_000] {
                let driver = SessionDriver.greeted()
                var rest = [UInt8](repeating: 0x78, count: count)
                while !rest.isEmpty {
                    driver.send(Array(rest.prefix(piece)))
                    rest.removeFirst(min(piece, rest.count))
                }
                #expect(driver.isClosed == isClosed)
                guard !isClosed else { continue }
                driver.send("\r")
                #expect(driver.replies.isEmpty)
                driver.send("\nNOOP\r\n")
                #expect(driver.codes() == [500, 250])
            }
        }
    }

    @Test(arguments: ["\n", "\rx", "\r\r\n"])
    func `an overlong line ends in CRLF or not at all`(lineEnd: String) {
        let driver = SessionDriver.greeted()
        driver.send(String(repeating: "x", count: 1000) + lineEnd)
        #expect(driver.codes() == [500])
        #expect(driver.isClosed)
    }

    @Test(arguments: [
        ("NOOP\n", true), ("NOOP\rx", false), ("NO\nOP\r\n", true), ("\r\r\n", false),
    ])
    func `a bare CR or LF in a command closes with a clear reply`(text: String, isLineFeed: Bool) {
        let driver = SessionDriver.greeted()
        driver.send(text)
        #expect(
            driver.events == [
                .said(
                    isLineFeed
                        ? StandardReplies.bareLineFeedInCommand
                        : StandardReplies.bareCarriageReturnInCommand
                ),
                .closed,
            ]
        )
    }

    @Test(arguments: ["NOOP\u{0}", "\u{0}", "MAIL FROM:<a\u{0}@b>", "EHLO \u{0}", "X\u{0}Y"])
    func `NUL in a command is refused`(line: String) {
        let driver = SessionDriver.greeted()
        driver.send(line + "\r\n")
        #expect(driver.events == [.said(StandardReplies.nulInCommand)])
        #expect(driver.code(of: "NOOP") == 250)
    }

    @Test func `a hello name has 255 octets`() {
        let driver = SessionDriver.greeted()
        #expect(driver.code(of: self.line("EHLO ", octets: 262)) == 250)
        #expect(driver.code(of: self.line("EHLO ", octets: 263)) == 501)
    }

    @Test func `recipients beyond the maximum are put off, which is no error`() {
        let driver = SessionDriver.greeted(.test { $0.maximumRecipients = 3 })
        driver.beginTransaction(recipients: 2)
        #expect(driver.code(of: "RCPT TO:<a@b>") == 250)
        for _ in 0..<20 { #expect(driver.code(of: "RCPT TO:<a@b>") == 452) }
        #expect(driver.counters.errors == 0)
        #expect(driver.code(of: "DATA") == 354)
        #expect(driver.code(of: ".") == 250)
        driver.beginTransaction()
        #expect(driver.counters.recipientsGranted == 4)
    }

    @Test func `as many errors as allowed are answered, one more closes`() {
        let driver = SessionDriver.greeted(.test { $0.maximumErrors = 3 })
        for _ in 0..<3 { #expect(driver.code(of: "DATA") == 503) }
        #expect(driver.code(of: "NOOP") == 250)
        #expect(driver.code(of: "DATA") == 421)
        #expect(driver.isClosed)
    }

    @Test func `before hello fewer errors are allowed`() {
        let driver = SessionDriver(.test { $0.maximumErrorsBeforeHello = 2 })
        driver.open()
        for _ in 0..<2 { #expect(driver.code(of: "USER x") == 500) }
        #expect(driver.code(of: "Host: x") == 421)
        #expect(driver.isClosed)
    }

    @Test func `errors without a limit never close`() {
        let driver = SessionDriver.greeted(
            .test {
                $0.maximumErrors = 0
                $0.maximumErrorsBeforeHello = 0
                $0.maximumUnrecognized = 0
            }
        )
        for _ in 0..<100 { #expect(driver.code(of: "XYZZY") == 500) }
    }

    @Test func `unrecognised commands beyond the maximum are not asked about`() {
        let driver = SessionDriver.greeted(.test { $0.maximumUnrecognized = 3 })
        for _ in 0..<3 { #expect(driver.code(of: "XYZZY") == 500) }
        driver.events = []
        driver.send("XYZZY\r\n")
        #expect(driver.events == [.said(StandardReplies.tooManyUnrecognized), .closed])
    }

    @Test func `transactions beyond the maximum close`() {
        let driver = SessionDriver.greeted(.test { $0.maximumTransactions = 2 })
        for _ in 0..<2 {
            // What ends before DATA is no message and uses nothing up.
            for _ in 0..<5 {
                #expect(driver.code(of: "MAIL FROM:<>") == 250)
                #expect(driver.code(of: "RSET") == 250)
            }
            driver.beginContent()
            #expect(driver.code(of: ".") == 250)
        }
        #expect(driver.counters.transactions == 12)
        driver.events = []
        driver.send("MAIL FROM:<>\r\n")
        #expect(driver.events == [.said(StandardReplies.tooManyTransactions), .closed])
    }

    @Test func `NOOPs in a row beyond the maximum close`() {
        let driver = SessionDriver.greeted(.test { $0.maximumNoops = 3 })
        for _ in 0..<3 { #expect(driver.code(of: "NOOP") == 250) }
        #expect(driver.code(of: "RSET") == 250)
        for _ in 0..<3 { #expect(driver.code(of: "NOOP") == 250) }
        #expect(driver.code(of: "NOOP") == 421)
        #expect(driver.isClosed)
    }

    @Test(arguments: ["RSET", "HELP", "VRFY a", "NOOP", "EHLO a", "XYZZY", "MAIL FROM:<>|RSET"])
    func `commands in a row without a message beyond the maximum close`(commands: String) {
        let driver = SessionDriver.greeted(
            .test {
                $0.maximumCommandsWithoutMessage = 12
                $0.maximumUnrecognized = 0
                $0.maximumErrors = 0
                $0.maximumNoops = 0
            }
        )
        func send(_ count: Int) {
            for index in 0..<count {
                let cycle = commands.split(separator: "|")
                let code = driver.code(of: String(cycle[index % cycle.count]))
                #expect(code != nil && code != 421)
            }
        }
        // A message starts the count again: here EHLO came before it, behind it MAIL and the RCPTs.
        send(8)
        driver.beginTransaction(recipients: 100)
        #expect(driver.code(of: "DATA") == 354)
        #expect(driver.code(of: ".") == 250)
        send(12)
        driver.events = []
        driver.send("RSET\r\n")
        #expect(driver.events.last == .closed)
        #expect(driver.replies.last == StandardReplies.tooManyWithoutMessage)
    }

    @Test func `QUIT is answered after as many commands as there may be`() {
        let driver = SessionDriver.greeted(.test { $0.maximumCommandsWithoutMessage = 3 })
        for _ in 0..<2 { #expect(driver.code(of: "RSET") == 250) }
        #expect(driver.code(of: "QUIT") == 221)
    }

    @Test(arguments: ["RSET", "NOOP", "XYZZY", "MAIL FROM:<>", "RCPT TO:<a@b>", "DATA"])
    func `commands of a session beyond the maximum close, messages or not`(last: String) {
        let driver = SessionDriver.greeted(.test { $0.maximumCommands = 8 })
        // EHLO was the first.
        driver.beginTransaction(recipients: 4)
        #expect(driver.code(of: "DATA") == 354)
        #expect(driver.code(of: ".") == 250)
        #expect(driver.code(of: "RSET") == 250)
        #expect(driver.counters.commands == 8)
        driver.events = []
        driver.send("\(last)\r\n")
        #expect(driver.events == [.said(StandardReplies.tooManyCommands), .closed])
    }

    @Test func `QUIT is answered after as many commands as a session may have`() {
        let driver = SessionDriver.greeted(.test { $0.maximumCommands = 2 })
        #expect(driver.code(of: "RSET") == 250)
        #expect(driver.code(of: "QUIT") == 221)
    }

    @Test func `refused recipients in a row beyond the maximum close`() {
        var isRefusing = true
        let driver = SessionDriver.greeted(.test { $0.maximumRefusedRecipients = 3 }) {
            if case .rcpt = $0, isRefusing {
                .refused(StandardReplies.recipientDenied)
            } else {
                .granted(nil)
            }
        }
        driver.beginTransaction(recipients: 2)
        isRefusing = false
        #expect(driver.code(of: "RCPT TO:<a@b>") == 250)
        isRefusing = true
        for _ in 0..<2 { #expect(driver.code(of: "RCPT TO:<a@b>") == 550) }
        // Neither another command nor another transaction starts the count again.
        #expect(driver.code(of: "RSET") == 250)
        driver.beginTransaction(recipients: 1)
        #expect(driver.counters.recipientsRefused == 5)
        driver.events = []
        driver.send("RCPT TO:<a@b>\r\n")
        #expect(driver.events == [.said(StandardReplies.tooManyRefusedRecipients), .closed])
    }

    @Test func `commands and refused recipients without a limit never close`() {
        let driver = SessionDriver.greeted(
            .test {
                $0.maximumCommandsWithoutMessage = 0
                $0.maximumRefusedRecipients = 0
            }
        ) {
            if case .rcpt = $0 { .refused(StandardReplies.recipientDenied) } else { .granted(nil) }
        }
        for _ in 0..<3_000 {
            #expect(driver.code(of: "MAIL FROM:<>") == 250)
            #expect(driver.code(of: "RCPT TO:<a@b>") == 550)
            #expect(driver.code(of: "RSET") == 250)
        }
    }

    @Test func `counters count`() {
        let driver = SessionDriver.greeted()
        driver.send("NOOP\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nFOO\r\nRSET\r\nSTARTTLS\r\n")
        let counters = driver.counters
        #expect(counters.commands == 7)
        #expect(counters.errors == 2)
        #expect(counters.unrecognized == 1)
        #expect(counters.transactions == 1)
        #expect(counters.recipientsGranted == 1)
        #expect(counters.recipientsRefused == 0)
    }
}
