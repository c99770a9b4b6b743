import Testing

@testable import SMTPCore

/// XCLIENT and XFORWARD.
struct SMTPOtherClientTests {
    private static func greeted(_ trust: SMTPTrust = [.xclient, .xforward]) -> SessionDriver {
        let configuration = SMTPConfiguration(
            hostname: octets("mx"),
            extensions: { _ in .pipelining },
            requirements: .authentication,
            trust: [.xclient, .xforward],
            mechanisms: [.plain],
            offersAuthInClear: true
        )
        let driver = SessionDriver(configuration)
        driver.session.trust = trust
        driver.open()
        driver.send("EHLO proxy.example\r\n")
        driver.events = []
        return driver
    }

    // MARK: - Attributes

    typealias Entry = ClientAttributes.Entry

    private static func entry(_ name: ClientAttributes.Name, _ value: String?) -> Entry {
        Entry(name: name, value: value.map(octets))
    }

    private static func read(_ text: String, _ command: ClientCommand) -> [Entry]? {
        let text = octets(text)
        return ClientAttributes(text.span, 0..<text.count, of: command)?.entries
    }

    static let long = String(repeating: "a", count: 255)

    static let values: [(ClientAttributes.Name, String, String?)] = [
        (.name, "NAME=spike.example", "spike.example"), (.name, "name=a_b-1", "a_b-1"),
        (.name, "NAME=[unavailable]", nil), (.name, "NAME=[TEMPUNAVAIL]", nil),
        (.name, "NAME=" + long, long), (.name, "NAME=+61b", "ab"),
        (.address, "ADDR=192.0.2.1", "192.0.2.1"),
        (.address, "ADDR=IPV6:2001:db8::1", "2001:db8::1"),
        (.address, "ADDR=ipv6:::1", "::1"), (.address, "ADDR=[UNAVAILABLE]", nil),
        (.port, "PORT=0", "0"), (.port, "PORT=65535", "65535"), (.proto, "PROTO=esmtp", "esmtp"),
        (.hello, "HELO=[192.0.2.1]", "[192.0.2.1]"), (.login, "LOGIN=jo+40b", "jo@b"),
        (.serverAddress, "DESTADDR=192.0.2.2", "192.0.2.2"), (.serverPort, "DESTPORT=25", "25"),
    ]

    @Test(arguments: values)
    func `an attribute is read`(name: ClientAttributes.Name, text: String, value: String?) {
        let entry = Self.entry(name, value)
        #expect(Self.read(text, .xclient) == [entry])
        #expect(Self.read("\(text)  ", .xclient) == [entry])
        let other = name == .login ? Self.entry(.port, "1") : Self.entry(.login, "x")
        let more = name == .login ? "PORT=1" : "LOGIN=x"
        #expect(Self.read("\(text)  \(more)", .xclient) == [entry, other])
        #expect(Self.read("\(text) \(text)", .xclient) == nil)
    }

    @Test(arguments: [
        "", "NAME", "=x", "NAME=", "NAME =x", "NAME=a b", "NAME=a/b", "NAME=" + long + "a",
        "NAME=+", "NAME=+4", "NAME=+4g", "NAME=a+0Ab", "NAME=a+00", "NAME=[OTHER]",
        "ADDR=2001:db8::1", "ADDR=IPV6:192.0.2.1", "ADDR=256.0.0.1", "ADDR=192.0.2.1]",
        "ADDR=x:y", "ADDR=IPV6:1", "PORT=65536", "PORT=-1", "PORT=000001", "PORT=1x",
        "PROTO=LMTP", "HELO=a+0D", "HELO=" + long + "a", "LOGIN=a+00b", "DESTADDR=mx",
        "IDENT=x", "SOURCE=LOCAL", "WHO=x", "NAME=a NAME=b", "NAME=a x",
    ])
    func `what is no attribute of XCLIENT is refused`(text: String) {
        #expect(Self.read(text, .xclient) == nil)
    }

    @Test func `XFORWARD has attributes of its own`() {
        let text = "NAME=a ADDR=192.0.2.1 PORT=1 PROTO=UUCP HELO=b IDENT=c+20d SOURCE=local"
        let values = ["a", "192.0.2.1", "1", "UUCP", "b", "c d", "local"]
        let names: [ClientAttributes.Name] = [
            .name, .address, .port, .proto, .hello, .identity, .source,
        ]
        let expected = zip(names, values).map { Self.entry($0, $1) }
        #expect(Self.read(text, .xforward) == expected)
        #expect(ClientAttributes(expected).text == octets(text.replacing("+20", with: " ")))
        for wrong in ["SOURCE=x", "LOGIN=x", "DESTADDR=192.0.2.1", "IDENT=" + Self.long + "a"] {
            #expect(Self.read(wrong, .xforward) == nil)
        }
    }

    @Test func `what is named anew takes the place of what was named before`() {
        var client = ClientAttributes([Self.entry(.name, "a"), Self.entry(.port, "1")])
        client.merge(ClientAttributes([Self.entry(.name, nil), Self.entry(.hello, "h")]))
        #expect(
            client.entries == [
                Self.entry(.port, "1"), Self.entry(.name, nil), Self.entry(.hello, "h"),
            ]
        )
    }

    // MARK: - The dialogue

    @Test func `EHLO offers both to a trusted client alone`() {
        let both = Self.greeted()
        both.send("EHLO x\r\n")
        let lines = String(decoding: both.replies.flatMap(\.wire), as: UTF8.self)
        #expect(
            lines.hasSuffix(
                """
                250-AUTH PLAIN\r
                250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r
                250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r

                """
            )
        )
        for trust: SMTPTrust in [[], .xclient, .xforward] {
            let driver = Self.greeted(trust)
            driver.send("EHLO x\r\n")
            let text = String(decoding: driver.replies.flatMap(\.wire), as: UTF8.self)
            #expect(text.contains("XCLIENT") == (trust == .xclient))
            #expect(text.contains("XFORWARD") == (trust == .xforward))
        }
    }

    @Test func `after XCLIENT the session begins again`() {
        for pieces in splits(octets("XCLIENT ADDR=192.0.2.1\r\nMAIL FROM:<a@b>\r\n")) {
            let driver = Self.greeted()
            for piece in pieces { driver.send(piece) }
            let client = ClientAttributes([Self.entry(.address, "192.0.2.1")])
            #expect(driver.events.prefix(2) == [.named(client), .asked(.connect)])
            // MAIL wants a login first, and after that EHLO.
            #expect(driver.codes() == [220, 530])
            #expect(driver.code(of: "EHLO x") == 250)
            #expect(driver.code(of: "MAIL FROM:<a@b>") == 530)
        }
    }

    @Test func `a client that logged in at the proxy has logged in`() {
        let driver = Self.greeted()
        #expect(driver.code(of: "XCLIENT LOGIN=jo") == 220)
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 503)
        #expect(driver.code(of: "EHLO x") == 250)
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 503)
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 250)
        #expect(driver.code(of: "RSET") == 250)
        #expect(driver.code(of: "XCLIENT NAME=x") == 220)
        #expect(driver.code(of: "EHLO x") == 250)
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 530)
    }

    @Test(arguments: ["XCLIENT", "XFORWARD"])
    func `the commands have their place`(verb: String) {
        let stranger = Self.greeted(verb == "XCLIENT" ? .xforward : .xclient)
        #expect(stranger.code(of: "\(verb) ADDR=192.0.2.1") == 550)
        #expect(stranger.counters.errors == 1 && stranger.questions.isEmpty)
        let driver = Self.greeted()
        #expect(driver.code(of: "\(verb) ADDR=x") == 501)
        #expect(driver.code(of: "\(verb)") == 501)
        driver.session.security.isAuthenticated = true
        driver.beginTransaction()
        #expect(driver.code(of: "\(verb) ADDR=192.0.2.1") == 503)
        #expect(driver.code(of: "RSET") == 250)
        #expect(driver.code(of: "\(verb) ADDR=192.0.2.1") == (verb == "XCLIENT" ? 220 : 250))
        #expect(driver.events.contains(.named(ClientAttributes([]))) == false)
        // A listener without networks does not know the word: policy is asked as about any other.
        let plain = SessionDriver.greeted { _ in .refused(StandardReplies.unrecognizedCommand) }
        plain.session.trust = [.xclient, .xforward]
        #expect(plain.code(of: "\(verb) ADDR=192.0.2.1") == 500)
        #expect(
            plain.questions == [
                .unrecognized(command: octets(verb), line: octets("\(verb) ADDR=192.0.2.1"))
            ]
        )
    }

    @Test func `XFORWARD is told, and changes nothing`() {
        let driver = Self.greeted()
        driver.send("XFORWARD IDENT=a\r\nXFORWARD IDENT=b\r\n")
        let said = ["a", "b"].flatMap { value -> [SessionDriver.Event] in
            [
                .forwarded(ClientAttributes([Self.entry(.identity, value)])),
                .said(StandardReplies.ok),
            ]
        }
        #expect(driver.events == said)
        #expect(!driver.isEarlyTalker)
    }
}
