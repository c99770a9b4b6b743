import Testing

@testable import SMTPCore

/// The same octets give the same dialogue, however they arrive.
struct SMTPSplitTests {
    static let dialogues = [
        "EHLO a\r\nMAIL FROM:<a@b> SIZE=5\r\nRCPT TO:<c@d>\r\nRCPT TO:<>\r\nDATA\r\n"
            + "a: b\r\n c\r\n\r\n..x\r\n.\r\nQUIT\r\n",
        "HELO a\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<\"a b\"@[IPv6:::1]>\r\nRCPT TO:<postmaster>\r\n"
            + "DATA\r\n.\r\nNOOP\r\nWHAT\r\n\r\nHELP\r\n",
        "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx: y\r\n.\r\nNOOP \u{0}\r\nA\rB\r\n",
        "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\ny\r\n.\r\nNOOP\r\n",
        "EHLO a\r\n" + String(repeating: "x", count: 600) + "\r\nNOOP\r\nEHLO b\nNOOP\r\n",
    ]

    @Test(arguments: dialogues)
    func `a dialogue is the same whole, octet by octet, and split anywhere`(text: String) {
        var first: [SessionDriver.Event]?
        for pieces in splits(octets(text)) {
            // Whether content is early depends on how it arrives.
            let driver = SessionDriver(.test(commandOptions: .earlyContent))
            driver.open()
            for piece in pieces { driver.send(piece) }
            if let first, first != driver.events {
                Issue.record("split differently: \(driver.events)")
            }
            first = driver.events
        }
        #expect((first?.count ?? 0) > 8)
    }
}

/// A listener that takes LF at the end of a command.
struct SMTPBareLineFeedTests {
    static let dialogues: [(text: String, codes: [UInt16])] = [
        ("EHLO a\nNOOP\nRSET\r\nWHAT\n\nQUIT\n", [220, 250, 250, 250, 500, 500, 221]),
        // Inside a message only CRLF ends a line: the LF dot does not end it, and nothing behind the
        // dot is a command.
        (
            "EHLO a\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nx: y\r\n\r\nz\n.\nMAIL FROM:<e@f>\n\r\n.\r\n"
                + "NOOP\nQUIT\n",
            [220, 250, 250, 250, 354, 554]
        ),
        // A message in CRLF, and the next group in LF right behind it.
        (
            "HELO a\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nx: y\r\n\r\nz\r\n.\r\nMAIL FROM:<e@f>\n"
                + "RSET\nQUIT\n",
            [220, 250, 250, 250, 354, 250, 250, 250, 221]
        ),
        ("EHLO a\nNOOP a\rb\nNOOP\n", [220, 250, 500]),
        (
            "EHLO a\n" + String(repeating: "x", count: 600) + "\nNOOP\nQUIT\n",
            [220, 250, 500, 250, 221]
        ),
    ]

    @Test(arguments: dialogues)
    func `LF ends commands and no line of a message`(text: String, codes: [UInt16]) {
        for pieces in splits(octets(text)) {
            let driver = SessionDriver(.test(commandOptions: [.bareLineFeed, .earlyContent]))
            driver.open()
            for piece in pieces { driver.send(piece) }
            #expect(driver.replies.map(\.code.rawValue) == codes)
        }
    }

    @Test(arguments: [511, 512, 513])
    func `the limit of a line counts its LF`(count: Int) {
        let driver = SessionDriver.greeted(.test(commandOptions: .bareLineFeed))
        driver.send(octets("NOOP " + String(repeating: "x", count: count - 6) + "\n"))
        #expect(driver.replies.last?.code.rawValue == (count > 512 ? 500 : 250))
    }

    @Test func `the scanner says how long the end of a line is`() throws {
        var scanner = SMTPLineScanner(maximumLineOctets: 6, takesBareLineFeed: true)
        #expect(try scanner.endOfLine(in: octets("abcde\n").span) == 5)
        #expect(scanner.lineEndOctets == 1)
        #expect(try scanner.endOfLine(in: octets("abcd\r\n").span) == 4)
        #expect(scanner.lineEndOctets == 2)
        #expect(throws: SMTPLineError.self) { try scanner.endOfLine(in: octets("abcdef\n").span) }
    }
}

/// Random octets behind a valid beginning: no trap, no growth, one result however they arrive.
struct SMTPSessionFuzzTests {
    static let states = [
        "",
        "EHLO x\r\n",
        "EHLO x\r\nMAIL FROM:<a@b> SMTPUTF8\r\n",
        "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
        "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
        "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\na: b\r\n\r\n",
        "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 6\r\na: b\r\n",
    ]

    static let fragments: [String] = [
        "\r\n", "\r\n", "\r\n", "\r", "\n", ".", "..", ".\r\n", "\r\n.\r\n", "\n.\r\n", "\r\n.\n",
        ":", " ",
        "<", ">", "@", "\"", "\\", "[", "]", "[IPv6:", "::", "1.2.3.4", "a", "=", "SIZE=",
        "99999999999",
        "BODY=8BITMIME", "SMTPUTF8", "EHLO x", "HELO ", "MAIL FROM:<a@b>", "MAIL FROM:",
        "RCPT TO:<",
        "RCPT TO:<c@d>\r\n", "DATA\r\n", "DATA", "RSET\r\n", "NOOP", "QUIT", "VRFY x", "BDAT 5",
        "BDAT 9\r\n", "BDAT 0 LAST\r\n", "BDAT 4 LAST\r\n", "BDAT 1\r\n\r", "BDAT 700\r\n",
        "BODY=BINARYMIME",
        "AUTH",
        "STARTTLS", "Received: x\r\n", "Subject", "\u{0}", "ü", "\u{2028}", "\u{301}",
    ]

    @Test(arguments: states.indices, [BareNewlineRule.reject, .normalize])
    func `random octets give one dialogue`(state: Int, rule: BareNewlineRule) {
        var random = SeededGenerator(seed: UInt64(state) + 7)
        for _ in 0..<150 {
            let noise = Self.noise(&random)
            let whole = self.run(state, rule, [noise])
            let single = self.run(state, rule, noise.map { [$0] })
            let pieces = self.run(state, rule, Self.cut(noise, &random))
            if !Self.isSame(whole, single) || !Self.isSame(whole, pieces) {
                Issue.record("not one dialogue: \(noise)")
            }
        }
    }

    private static func noise(_ random: inout SeededGenerator) -> [UInt8] {
        var noise: [UInt8] = []
        for _ in 0..<Int.random(in: 1...60, using: &random) {
            if Int.random(in: 0..<12, using: &random) == 0 {
                noise.append(UInt8.random(in: .min ... .max, using: &random))
            } else if Int.random(in: 0..<60, using: &random) == 0 {
                noise += [UInt8](repeating: 0x78, count: Int.random(in: 1...900, using: &random))
            } else {
                noise += octets(self.fragments.randomElement(using: &random) ?? "")
            }
        }
        return noise
    }

    private static func cut(_ octets: [UInt8], _ random: inout SeededGenerator) -> [[UInt8]] {
        var rest = octets[...]
        var pieces: [[UInt8]] = []
        while !rest.isEmpty {
            let count = Int.random(in: 1...20, using: &random)
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return pieces
    }

    private func run(_ state: Int, _ rule: BareNewlineRule, _ pieces: [[UInt8]]) -> SessionDriver {
        let configuration = SMTPConfiguration.test(
            bareNewline: rule,
            commandOptions: .earlyContent
        ) {
            $0.maximumMessageOctets = 300
            $0.maximumHeaderOctets = 100
            $0.maximumTextLineOctets = 80
            $0.maximumReceived = 3
            $0.maximumErrors = 30
            $0.maximumErrorsBeforeHello = 30
            $0.maximumUnrecognized = 0
        }
        let driver = SessionDriver(configuration)
        driver.open()
        driver.send(Self.states[state])
        // Policy refuses now and then: the same question every time.
        driver.answer = { [unowned driver] question in
            if question == .data { return .granted(nil) }
            return driver.questionID % 5 == 0
                ? .refused(StandardReplies.queueDeferred) : .granted(nil)
        }
        for piece in pieces {
            driver.send(piece)
            if !driver.isClosed {
                #expect(driver.pending.count < SMTPLimits.mailLineOctets)
            }
            #expect(driver.content.count <= configuration.limits.maximumMessageOctets)
        }
        return driver
    }

    /// The same dialogue, up to a DATA that was refused and had content behind it.
    ///
    /// Only there does it matter what has arrived already: such a session is closed.
    private static func isSame(_ one: SessionDriver, _ other: SessionDriver) -> Bool {
        for (index, (a, b)) in zip(one.events, other.events).enumerated() where a != b {
            guard a == .closed || b == .closed, index > 0 else { return false }
            return self.refusesData(one.events[index - 1])
        }
        if one.events.count != other.events.count {
            let shorter = one.events.count < other.events.count ? one.events : other.events
            let longer = one.events.count < other.events.count ? other.events : one.events
            guard let last = shorter.last, longer[shorter.count] == .closed else { return false }
            return self.refusesData(last)
        }
        return one.messages == other.messages && one.counters == other.counters
            && one.headerOctets == other.headerOctets
    }

    private static func refusesData(_ event: SessionDriver.Event) -> Bool {
        [
            StandardReplies.noArgumentAllowed, StandardReplies.mailFirst,
            StandardReplies.helloFirst,
            StandardReplies.recipientFirst, StandardReplies.noValidRecipients,
            StandardReplies.dataBehindChunk, StandardReplies.binaryNeedsChunks,
        ].contains { event == .said($0) }
    }
}

/// Dot framing against the literal definition of the end of data.
struct SMTPDotFramingFuzzTests {
    @Test(arguments: [BareNewlineRule.reject, .normalize])
    func `random content ends at the first CRLF dot CRLF and is kept exactly`(
        rule: BareNewlineRule
    ) {
        var random = SeededGenerator(seed: 42)
        let parts = ["\r\n", "\r\n", ".", ".", "\r", "\n", "a", "bb: c", " ", "\u{0}"]
        for _ in 0..<3000 {
            let count = Int.random(in: 1...14, using: &random)
            let text = (0..<count).map { _ in parts.randomElement(using: &random) ?? "" }.joined()
            let wire = octets(text + "\r\n.\r\n")
            var limits = SMTPLimits()
            limits.maximumReceived = 0
            let whole = SMTPDotFramingTests.read([wire], limits, rule)
            let single = SMTPDotFramingTests.read(wire.map { [$0] }, limits, rule)
            let end = SMTPDotFramingTests.trueEnd(of: wire)
            if whole != single || whole.consumed != end || !whole.hasEnded {
                Issue.record("\(wire): \(whole)")
            }
            guard let end else { continue }
            let expected = Self.content(Array(wire[..<end]))
            if rule == .reject, whole.content != expected {
                Issue.record("\(wire): \(whole)")
            }
        }
    }

    /// Line by line and slowly: `nil` if a CR or LF stands alone.
    private static func content(_ wire: [UInt8]) -> [UInt8]? {
        let lines = String(decoding: wire, as: UTF8.self)
            .unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
        var content: [UInt8] = []
        for line in lines.dropLast() {
            guard line.last == "\r", !line.dropLast().contains("\r") else { return nil }
            if line.elementsEqual(".\r".unicodeScalars) { return content }
            let kept = line.first == "." ? line.dropFirst() : line
            content += Array(String(String.UnicodeScalarView(kept)).utf8) + [0x0A]
        }
        return nil
    }
}
