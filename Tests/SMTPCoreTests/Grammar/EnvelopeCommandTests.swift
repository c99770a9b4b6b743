import Testing

@testable import SMTPCore

/// MAIL and RCPT as whole commands: paths, parameters, options.
struct EnvelopeCommandTests {
    private static let x = String(repeating: "x", count: 61)
    /// `<a@domain>` with 256 octets in all, and one more.
    private static let path256 = "<a@\(x).\(x).\(x).\(String(repeating: "x", count: 63)).xx>"
    private static let path257 = "<a@\(x).\(x).\(x).\(String(repeating: "x", count: 63)).xxx>"

    static let senders: [(String, code: UInt16, status: String)] = [
        ("MAIL FROM:<a@b>", 250, "2.1.0"),
        ("mail from:<a@b>", 250, "2.1.0"),
        ("MAIL  FROM:<a@b>  ", 250, "2.1.0"),
        ("MAIL FROM:<>", 250, "2.1.0"),
        ("MAIL FROM:<\"a b>\"@b>", 250, "2.1.0"),
        ("MAIL FROM:<@one,@two.example:a@b>", 250, "2.1.0"),
        ("MAIL FROM:\(path256)", 250, "2.1.0"),
        ("MAIL FROM:\(path257)", 501, "5.1.7"),
        ("MAIL FROM:<a@b> SIZE=0", 250, "2.1.0"),
        ("MAIL FROM:<a@b> size=26214400", 250, "2.1.0"),
        ("MAIL FROM:<a@b> SIZE=26214401", 552, "5.3.4"),
        ("MAIL FROM:<a@b> SIZE=9223372036854775807", 552, "5.3.4"),
        ("MAIL FROM:<a@b> SIZE=9223372036854775808", 552, "5.3.4"),
        ("MAIL FROM:<a@b> SIZE=99999999999999999999", 552, "5.3.4"),
        ("MAIL FROM:<a@b> SIZE=00000000000000000001", 250, "2.1.0"),
        ("MAIL FROM:<a@b> SIZE=000000000000000000001", 501, "5.5.4"),
        ("MAIL FROM:<a@b> SIZE=-1", 501, "5.5.4"),
        ("MAIL FROM:<a@b> SIZE=1k", 501, "5.5.4"),
        ("MAIL FROM:<a@b> SIZE=", 501, "5.5.4"),
        ("MAIL FROM:<a@b> SIZE", 501, "5.5.4"),
        ("MAIL FROM:<a@b> SIZE=1=2", 501, "5.5.4"),
        ("MAIL FROM:<a@b> SIZE=1 SIZE=1", 501, "5.5.4"),
        ("MAIL FROM:<a@b> BODY=7BIT", 250, "2.1.0"),
        ("MAIL FROM:<a@b>  body=8bitMIME   SIZE=5", 250, "2.1.0"),
        ("MAIL FROM:<a@b> BODY=BINARYMIME", 501, "5.5.4"),
        ("MAIL FROM:<a@b> BODY", 501, "5.5.4"),
        ("MAIL FROM:<a@b> BODY=7BIT BODY=7BIT", 501, "5.5.4"),
        ("MAIL FROM:<a@b> SMTPUTF8", 250, "2.1.0"),
        ("MAIL FROM:<a@b> SMTPUTF8=1", 501, "5.5.4"),
        ("MAIL FROM:<a@b> SMTPUTF8 SMTPUTF8", 501, "5.5.4"),
        ("MAIL FROM:<ü@b> SMTPUTF8", 250, "2.1.0"),
        ("MAIL FROM:<ü@b>", 550, "5.6.7"),
        ("MAIL FROM:<a@bücher.example>", 550, "5.6.7"),
        ("MAIL FROM:<a@b> RET=FULL", 555, "5.5.4"),
        ("MAIL FROM:<a@b> AUTH=<>", 555, "5.5.4"),
        ("MAIL FROM:<a@b> X", 555, "5.5.4"),
        ("MAIL FROM:<a@b> -X", 501, "5.5.4"),
        ("MAIL FROM:<a@b> =X", 501, "5.5.4"),
        ("MAIL FROM:<a@b> X=\u{1}", 501, "5.5.4"),
        ("MAIL FROM:<a@b>SIZE=1", 501, "5.1.7"),
        ("MAIL FROM:<a@b>\tSIZE=1", 501, "5.1.7"),
        ("MAIL FROM: <a@b>", 501, "5.1.7"),
        ("MAIL FROM:a@b", 501, "5.1.7"),
        ("MAIL FROM:", 501, "5.1.7"),
        ("MAIL FROM:<", 501, "5.1.7"),
        ("MAIL FROM:<a@b", 501, "5.1.7"),
        ("MAIL FROM:<a@b>>", 501, "5.1.7"),
        ("MAIL FROM:<<a@b>>", 501, "5.1.7"),
        ("MAIL FROM:< a@b>", 501, "5.1.7"),
        ("MAIL FROM:<a@b >", 501, "5.1.7"),
        ("MAIL FROM:<postmaster>", 501, "5.1.7"),
        ("MAIL FROM:<@one:>", 501, "5.1.7"),
        ("MAIL FROM:<@one,two:a@b>", 501, "5.1.7"),
        ("MAIL FROM:<@one@two:a@b>", 501, "5.1.7"),
        ("MAIL FROM:<@:a@b>", 501, "5.1.7"),
        ("MAIL FROM:<#@[]>", 501, "5.1.7"),
        ("MAIL FROM:<\u{301}a@b>", 550, "5.6.7"),
        ("MAIL FROM :<a@b>", 501, "5.5.4"),
        ("MAIL", 501, "5.5.4"),
        ("MAIL <a@b>", 501, "5.5.4"),
        ("MAIL TO:<a@b>", 501, "5.5.4"),
        ("MAIL FROM\u{301}:<a@b>", 501, "5.5.4"),
    ]

    @Test(arguments: senders)
    func `MAIL is answered by the grammar`(line: String, code: UInt16, status: String) throws {
        let driver = SessionDriver.greeted()
        #expect(driver.code(of: line) == code)
        #expect(driver.replies.last?.status?.description == status)
        #expect(driver.isInTransaction == (code == 250))
    }

    static let recipients: [(String, code: UInt16, status: String)] = [
        ("RCPT TO:<a@b>", 250, "2.1.5"),
        ("rcpt to:<a@b>", 250, "2.1.5"),
        ("RCPT TO:<Postmaster>", 250, "2.1.5"),
        ("RCPT TO:<POSTMASTER@b>", 250, "2.1.5"),
        ("RCPT TO:<@one,@two:a@b>", 250, "2.1.5"),
        ("RCPT TO:<postmasters>", 501, "5.1.3"),
        ("RCPT TO:<>", 501, "5.1.3"),
        ("RCPT TO:", 501, "5.1.3"),
        ("RCPT TO: <a@b>", 501, "5.1.3"),
        ("RCPT TO:postmaster", 501, "5.1.3"),
        ("RCPT TO:\(path257)", 501, "5.1.3"),
        ("RCPT TO:<a@b> NOTIFY=NEVER", 555, "5.5.4"),
        ("RCPT TO:<a@b> ORCPT=rfc822;a+0D+0Ab@c", 555, "5.5.4"),
        ("RCPT TO:<a@b> =", 501, "5.5.4"),
        ("RCPT TO:<ü@b>", 553, "5.6.7"),
        ("RCPT TO:<a@b>,<c@d>", 501, "5.1.3"),
        ("RCPT FROM:<a@b>", 501, "5.5.4"),
        ("RCPT", 501, "5.5.4"),
    ]

    @Test(arguments: recipients)
    func `RCPT is answered by the grammar`(line: String, code: UInt16, status: String) {
        let driver = SessionDriver.greeted()
        driver.beginTransaction(recipients: 0)
        #expect(driver.code(of: line) == code)
        #expect(driver.replies.last?.status?.description == status)
        #expect(driver.counters.recipientsGranted == (code == 250 ? 1 : 0))
    }

    @Test func `what policy is asked about is what the client wrote`() throws {
        let driver = SessionDriver.greeted()
        driver.send("MAIL FROM:<@x:Bob@B>  SIZE=42 body=8BITMIME  SMTPUTF8\r\n")
        driver.send("RCPT TO:<@x,@y:Jürgen@b>\r\nRCPT TO:<PostMaster>\r\n")
        var parameters = MailParameters()
        parameters.all = SMTPParameters(octets: octets("SIZE=42 body=8BITMIME  SMTPUTF8"))
        parameters.declaredSize = 42
        parameters.body = .eightBitMIME
        parameters.isSMTPUTF8 = true
        #expect(
            driver.questions == [
                .mail(try ReversePath(address: octets("Bob@B")), parameters),
                .rcpt(try ForwardPath(address: octets("Jürgen@b")), .none),
                .rcpt(.postmaster(octets("PostMaster")), .none),
            ]
        )
        let entries = parameters.all.entries
        #expect(entries.map { Array($0.keyword) } == ["SIZE", "body", "SMTPUTF8"].map(octets))
        #expect(
            entries.map { $0.value.map(Array.init) } == [octets("42"), octets("8BITMIME"), nil]
        )
    }

    static let tolerated: [(String, UInt16)] = [
        ("MAIL FROM:a@b", 250),
        ("MAIL FROM:a@b SIZE=1", 250),
        ("MAIL FROM: <a@b>", 250),
        ("MAIL FROM:  a@b", 250),
        ("MAIL FROM: <>", 250),
        ("MAIL FROM:\t<a@b>", 250),
        ("MAIL FROM: \t a@b", 250),
        ("MAIL FROM:\t", 501),
        ("MAIL FROM:", 501),
        ("MAIL FROM: ", 501),
        ("MAIL FROM: SIZE=1", 501),
        ("MAIL FROM:postmaster", 501),
        ("MAIL FROM:a@b>", 501),
        ("MAIL FROM:a@b c", 555),
    ]

    @Test(arguments: tolerated)
    func `a listener may tolerate missing brackets and a space`(line: String, code: UInt16) {
        let options: PathGrammar.Options = [.missingBrackets, .spaceAfterColon]
        let driver = SessionDriver.greeted(.test(pathOptions: options))
        #expect(driver.code(of: line) == code)
    }

    static let oddPaths: [(String, PathGrammar.Options, String)] = [
        ("<a@my_host>", .underscoreInDomain, "a@my_host"), ("<a@b.>", .trailingDot, "a@b"),
        ("<a..b@c>", .dotsInLocalPart, "a..b@c"), ("<a.@b>", .dotsInLocalPart, "a.@b"),
        ("<@one_x:a@b>", .underscoreInDomain, "a@b"),
    ]

    @Test(arguments: oddPaths)
    func `a listener may tolerate odd addresses`(
        path: String,
        option: PathGrammar.Options,
        address: String
    ) throws {
        let strict = SessionDriver.greeted()
        #expect(strict.code(of: "MAIL FROM:\(path)") == 501)
        let driver = SessionDriver.greeted(.test(pathOptions: option))
        #expect(driver.code(of: "MAIL FROM:\(path) SIZE=1") == 250)
        #expect(driver.code(of: "RCPT TO:\(path)") == 250)
        let expected = try ForwardPath(address: octets(address), options: .anyAddress)
        #expect(driver.questions.last == .rcpt(expected, .none))
        let bare = SessionDriver.greeted(.test(pathOptions: [option, .missingBrackets]))
        if !path.hasPrefix("<@") {
            #expect(bare.code(of: "MAIL FROM:\(path.dropFirst().dropLast()) SIZE=1") == 250)
        }
    }

    @Test func `a trailing dot counts for the length of the path`() {
        let dotted = "\(Self.path256.dropLast(2)).>"
        let driver = SessionDriver.greeted(.test(pathOptions: .trailingDot))
        #expect(driver.code(of: "MAIL FROM:\(dotted)") == 250)
        driver.send("RSET\r\n")
        #expect(driver.code(of: "MAIL FROM:\(Self.path256.dropLast()).>") == 501)
    }

    static let authParameters: [(String, UInt16)] = [
        ("AUTH=<>", 250), ("auth=e+3Dmc2@example.com SIZE=1", 250), ("AUTH=<username>", 250),
        ("AUTH", 501), ("AUTH=", 501), ("AUTH=<> AUTH=<>", 501), ("AUTHX=<>", 555),
    ]

    @Test(arguments: authParameters)
    func `a listener may take AUTH= and shows it to policy`(text: String, code: UInt16) throws {
        let driver = SessionDriver.greeted(.test(commandOptions: .authParameter))
        #expect(driver.code(of: "MAIL FROM:<a@b> \(text)") == code)
        guard code == 250, case .mail(_, let parameters)? = driver.questions.last else { return }
        #expect(parameters.all.octets == octets(text))
    }

    @Test(arguments: [
        ("EHLO MacBook-Pro (2)", "MacBook-Pro"), ("HELO a b c", "a"), ("EHLO a\tb", "a"),
        ("EHLO my_host", "my_host"),
    ])
    func `a listener may take words after the name`(line: String, name: String) {
        let isOdd = name != "my_host"
        #expect(SessionDriver.greeted().code(of: line) == (isOdd ? 501 : 250))
        let driver = SessionDriver.greeted(.test(commandOptions: .wordsAfterHello))
        #expect(driver.code(of: line) == 250)
        let expected: SMTPQuestion =
            line.hasPrefix("HELO") ? .helo(name: octets(name)) : .ehlo(name: octets(name))
        #expect(driver.questions.last == expected)
        #expect(driver.code(of: "EHLO") == 501)
    }

    @Test func `a bare postmaster may come without brackets where that is tolerated`() {
        let driver = SessionDriver.greeted(.test(pathOptions: .missingBrackets))
        driver.beginTransaction(recipients: 0)
        #expect(driver.code(of: "RCPT TO:Postmaster") == 250)
        #expect(driver.questions == [.rcpt(.postmaster(octets("Postmaster")), .none)])
        #expect(driver.code(of: "RCPT TO:postmasters") == 501)
        #expect(driver.code(of: "RCPT TO:post") == 501)
    }

    static let notifications: [(String, UInt16)] = [
        ("MAIL FROM:<a@b> RET=HDRS ENVID=QQ+3D314", 250), ("MAIL FROM:<a@b> ret=full", 250),
        ("MAIL FROM:<a@b> ENVID=a+20b", 250), ("MAIL FROM:<a@b> RET=ALL", 501),
        ("MAIL FROM:<a@b> RET", 501), ("MAIL FROM:<a@b> ENVID", 501),
        ("MAIL FROM:<a@b> ENVID=a+0Ab", 501), ("MAIL FROM:<a@b> ENVID=a+2", 501),
        ("MAIL FROM:<a@b> ENVID=a+3d", 501), ("MAIL FROM:<a@b> ENVID=ü", 501),
        ("MAIL FROM:<a@b> RET=FULL RET=FULL", 501), ("MAIL FROM:<a@b> ENVID=a ENVID=a", 501),
        ("MAIL FROM:<a@b> ENVID=" + String(repeating: "x", count: 100), 250),
        ("MAIL FROM:<a@b> ENVID=" + String(repeating: "x", count: 101), 501),
        ("MAIL FROM:<a@b> NOTIFY=NEVER", 555),
        ("RCPT TO:<a@b> NOTIFY=NEVER", 250), ("RCPT TO:<a@b> notify=success,DELAY,failure", 250),
        ("RCPT TO:<a@b> NOTIFY=NEVER,DELAY", 501), ("RCPT TO:<a@b> NOTIFY=DELAY,NEVER", 501),
        ("RCPT TO:<a@b> NOTIFY=DELAY,", 501), ("RCPT TO:<a@b> NOTIFY=,DELAY", 501),
        ("RCPT TO:<a@b> NOTIFY", 501), ("RCPT TO:<a@b> NOTIFY=", 501),
        ("RCPT TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY", 501),
        ("RCPT TO:<a@b> ORCPT=rfc822;a+2Bc@b NOTIFY=NEVER", 250),
        ("RCPT TO:<a@b> ORCPT=x-400;a", 250), ("RCPT TO:<a@b> ORCPT=rfc822;", 501),
        ("RCPT TO:<a@b> ORCPT=;a", 501), ("RCPT TO:<a@b> ORCPT=rfc822", 501),
        ("RCPT TO:<a@b> ORCPT=rfc822;a+", 501), ("RCPT TO:<a@b> ORCPT=rfc822;a+G0", 501),
        ("RCPT TO:<a@b> ORCPT=rfc822;ü", 501), ("RCPT TO:<a@b> ORCPT=utf-8;ü", 250),
        ("RCPT TO:<a@b> ORCPT=a;b ORCPT=a;b", 501),
        ("RCPT TO:<a@b> ORCPT=a;" + String(repeating: "x", count: 498), 250),
        ("RCPT TO:<a@b> ORCPT=a;" + String(repeating: "x", count: 499), 501),
        ("RCPT TO:<a@b> RET=FULL", 555),
    ]

    @Test(arguments: notifications)
    func `DSN's parameters are taken as they are, if they are well formed`(
        line: String,
        code: UInt16
    ) {
        let driver = SessionDriver.greeted(.test(extensions: [.pipelining, .dsn]))
        if line.hasPrefix("RCPT") { driver.beginTransaction(recipients: 0) }
        #expect(driver.code(of: line) == code)
        let words = line.split(separator: " ", maxSplits: 2)
        let written = octets(String(words[2]))
        switch driver.questions.last {
        case .mail(_, let parameters): #expect(parameters.all.octets == written && code == 250)
        case .rcpt(_, let parameters): #expect(parameters.octets == written && code == 250)
        default: #expect(code != 250)
        }
        let without = SessionDriver.greeted()
        without.beginTransaction(recipients: 0)
        if line.hasPrefix("RCPT") { #expect([500, 501, 555].contains(without.code(of: line))) }
    }

    @Test func `a line may be longer where DSN is offered`() {
        let path = "<" + String(repeating: "a", count: 200) + "@b>"
        let original = String(repeating: "x", count: 490)
        let tail = " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;" + original
        let driver = SessionDriver.greeted(.test(extensions: [.dsn]))
        driver.beginTransaction(recipients: 0)
        #expect(driver.code(of: "RCPT TO:" + path + tail) == 250)
        let without = SessionDriver.greeted()
        without.beginTransaction(recipients: 0)
        #expect(without.code(of: "RCPT TO:" + path + tail) == 500)
    }

    @Test func `REQUIRETLS has no value, and is shown to policy`() {
        let driver = SessionDriver.greeted(.test(extensions: [.requireTLS]))
        #expect(driver.code(of: "MAIL FROM:<a@b> REQUIRETLS=1") == 501)
        #expect(driver.code(of: "MAIL FROM:<a@b> REQUIRETLS REQUIRETLS") == 501)
        #expect(driver.code(of: "MAIL FROM:<a@b> requiretls") == 250)
        guard case .mail(_, let parameters)? = driver.questions.last else { return }
        #expect(parameters.requiresTLS)
        #expect(parameters.all.octets == octets("requiretls"))
    }

    @Test(
        arguments: [
            ("0", 250), ("9", 250), ("-9", 250), ("-1", 250), ("-0", 501), ("00", 501), ("09", 501),
            ("10", 501), ("-10", 501), ("+1", 501), ("a", 501), ("-", 501), ("", 501),
            ("1 MT-PRIORITY=1", 501),
        ] as [(String, UInt16)]
    )
    func `MT-PRIORITY is -9 to 9, once`(value: String, code: UInt16) {
        let driver = SessionDriver.greeted(.test(extensions: [.priority]))
        #expect(driver.code(of: "MAIL FROM:<a@b> mt-priority=\(value)") == code)
        guard code == 250 else { return }
        guard case .mail(_, let parameters)? = driver.questions.last else {
            Issue.record("MAIL was not asked about")
            return
        }
        #expect(parameters.all.octets == octets("mt-priority=\(value)"))
    }

    @Test func `a MAIL line may be longer where MT-PRIORITY is offered`() {
        let rest = SMTPLimits.mailLineOctets - 2 - "MAIL FROM:<a@b>".utf8.count
        let line = "MAIL FROM:<a@b>" + String(repeating: " ", count: rest) + " MT-PRIORITY=-9"
        #expect(SessionDriver.greeted(.test(extensions: [.priority])).code(of: line) == 250)
        #expect(SessionDriver.greeted(.test(extensions: [])).code(of: line) == 500)
        let longer = SessionDriver.greeted(.test(extensions: [.priority]))
        #expect(longer.code(of: line + " ") == 500)
    }

    @Test(arguments: [
        "SIZE=1", "BODY=7BIT", "SMTPUTF8", "RET=FULL", "ENVID=a", "REQUIRETLS", "PRDR",
        "MT-PRIORITY=1",
    ])
    func `a parameter of an extension that is not offered is unknown`(parameter: String) {
        let driver = SessionDriver.greeted(.test(extensions: []))
        #expect(driver.code(of: "MAIL FROM:<a@b> \(parameter)") == 555)
    }
}
