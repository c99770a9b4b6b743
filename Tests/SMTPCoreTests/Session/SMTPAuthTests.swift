import Octets
import Testing

@testable import SMTPCore

/// AUTH (RFC 4954), until policy is asked and after it answered.
struct SMTPAuthTests {
    private static func configuration(
        inClear: Bool = true,
        mechanisms: [SMTPMechanism] = SMTPMechanism.allCases,
        _ change: (inout SMTPLimits) -> Void = { _ in }
    ) -> SMTPConfiguration {
        var limits = SMTPLimits()
        change(&limits)
        return SMTPConfiguration(
            hostname: octets("mx.example.org"),
            limits: limits,
            mechanisms: mechanisms,
            offersAuthInClear: inClear
        )
    }

    private static func greeted(
        _ configuration: SMTPConfiguration = Self.configuration(),
        answer: @escaping (SMTPQuestion) -> SMTPOutcome? = { _ in .granted(nil) }
    ) -> SessionDriver {
        let driver = SessionDriver.greeted(configuration, answer: answer)
        driver.session.challengeNonce = octets("nonce")
        return driver
    }

    private static func base64(_ text: String) -> String {
        String(decoding: Base64.encoded(octets(text)), as: UTF8.self)
    }

    private static func password(
        _ mechanism: SMTPMechanism,
        _ user: String,
        _ password: String
    ) -> SMTPQuestion {
        .auth(
            SMTPCredentials(
                mechanism: mechanism,
                user: octets(user),
                proof: .password(octets(password))
            )
        )
    }

    // MARK: - The offer

    @Test(arguments: [
        (false, false, false), (false, true, true), (true, false, true), (true, true, true),
    ])
    func `AUTH is offered under TLS, or always`(inClear: Bool, isTLS: Bool, isOffered: Bool) {
        let driver = SessionDriver(
            Self.configuration(inClear: inClear, mechanisms: [.login, .plain])
        )
        if isTLS { #expect(driver.encrypted()) }
        driver.open()
        driver.send("EHLO x\r\n")
        let wire = driver.replies.last.map { String(decoding: $0.wire, as: UTF8.self) } ?? ""
        #expect(wire.contains("AUTH LOGIN PLAIN\r\n") == isOffered)
        #expect(driver.code(of: "AUTH PLAIN \(Self.base64("\0a\0b"))") == (isOffered ? 235 : 538))
        // The parameter of MAIL comes with it.
        #expect(driver.code(of: "MAIL FROM:<a@b> AUTH=<>") == (isOffered ? 250 : 555))
    }

    @Test func `a listener without mechanisms has no AUTH`() {
        let driver = Self.greeted(Self.configuration(mechanisms: []))
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 502)
        #expect(driver.code(of: "MAIL FROM:<a@b> AUTH=<>") == 555)
    }

    // MARK: - What a client may send

    /// Lines of a client, the codes it gets, and what policy is asked.
    static let dialogues: [([String], [UInt16], SMTPQuestion?)] = [
        (["AUTH PLAIN AGpvAHB3"], [235], password(.plain, "jo", "pw")),
        (["auth plain   AGpvAHB3  "], [235], password(.plain, "jo", "pw")),
        (["AUTH PLAIN", "AGpvAHB3"], [334, 235], password(.plain, "jo", "pw")),
        (["AUTH PLAIN \(base64("jo\0jo\0pw"))"], [235], password(.plain, "jo", "pw")),
        (["AUTH PLAIN \(base64("ann\0jo\0pw"))"], [535], nil),
        (["AUTH PLAIN \(base64("\0jo\0"))"], [501], nil),
        (["AUTH PLAIN \(base64("\0\0pw"))"], [501], nil),
        (["AUTH PLAIN \(base64("jo\0pw"))"], [501], nil),
        (["AUTH PLAIN \(base64("\0jo\0pw\0"))"], [501], nil),
        (["AUTH PLAIN ="], [501], nil),
        (["AUTH PLAIN AGpvAHB3 x"], [501], nil),
        (["AUTH PLAIN AGpvAHB"], [501], nil),
        (["AUTH PLAIN AGpvAHA"], [501], nil),
        (["AUTH PLAIN !!!!"], [501], nil),
        (["AUTH PLAIN", "*"], [334, 501], nil),
        (["AUTH PLAIN", ""], [334, 501], nil),
        (["AUTH PLAIN", "QUIT"], [334, 501], nil),
        (["AUTH LOGIN", "am8=", "cHc="], [334, 334, 235], password(.login, "jo", "pw")),
        (["AUTH LOGIN am8=", "cHc="], [334, 235], password(.login, "jo", "pw")),
        (["AUTH LOGIN =", "cHc="], [501, 500], nil),
        (["AUTH LOGIN", "am8=", "*"], [334, 334, 501], nil),
        (["AUTH LOGIN", "am8=", ""], [334, 334, 501], nil),
        (["AUTH LOGIN", "AGpv"], [334, 501], nil),
        (["AUTH CRAM-MD5 am8="], [501], nil),
        (["AUTH CRAM-MD5", base64("jo 0123")], [334, 501], nil),
        (["AUTH CRAM-MD5", base64("jo")], [334, 501], nil),
        (["AUTH CRAM-MD5", base64(" 0123456789abcdef0123456789abcdef")], [334, 501], nil),
        (
            ["AUTH CRAM-MD5", base64("jo b 0123456789abcdef0123456789abcdef")], [334, 235],
            .auth(
                SMTPCredentials(
                    mechanism: .cramMD5,
                    user: octets("jo b"),
                    proof: .response(
                        octets("0123456789abcdef0123456789abcdef"),
                        challenge: octets("<nonce.1@mx.example.org>")
                    )
                )
            )
        ),
        (["AUTH"], [501], nil),
        (["AUTH SCRAM-SHA-256"], [504], nil),
        (["AUTH PLAINER AGpvAHB3"], [504], nil),
    ]

    @Test(arguments: dialogues)
    func `a dialogue is read whole, octet by octet and split everywhere`(
        lines: [String],
        codes: [UInt16],
        question: SMTPQuestion?
    ) {
        let text = octets(lines.map { $0 + "\r\n" }.joined())
        for pieces in splits(text) {
            let driver = Self.greeted { question in
                if case .unrecognized = question {
                    .refused(StandardReplies.unrecognizedCommand)
                } else {
                    .granted(nil)
                }
            }
            for piece in pieces { driver.send(piece) }
            let asked = driver.questions.filter { if case .auth = $0 { true } else { false } }
            #expect(driver.codes() == codes)
            #expect(asked == [question].compactMap(\.self))
            #expect(driver.code(of: "NOOP") == 250)
        }
    }

    /// RFC 4954 §4, §6.
    @Test(
        arguments: [
            ("AUTH PLAIN !!!!", "5.5.2"), ("AUTH PLAIN =AAA", "5.5.2"),
            ("AUTH PLAIN AAA=BBB", "5.5.2"),
            ("AUTH CRAM-MD5 am8=", "5.7.0"), ("AUTH GSSAPI", "5.5.4"),
            ("AUTH PLAIN AGpvAHB3", "2.7.0"),
        ]
    )
    func `an answer to AUTH has the status that the RFC names`(line: String, status: String) {
        let driver = Self.greeted()
        driver.send("\(line)\r\n")
        #expect(driver.replies.last?.status?.description == status)
    }

    @Test func `the challenges are what clients wait for`() {
        let driver = Self.greeted()
        driver.send("AUTH PLAIN\r\n*\r\nAUTH LOGIN\r\nam8=\r\n*\r\nAUTH CRAM-MD5\r\n*\r\n")
        let challenges = driver.replies.filter { $0.code.rawValue == 334 }
        #expect(
            challenges.map { String(decoding: $0.wire, as: UTF8.self) } == [
                "334 \r\n", "334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n",
                "334 \(Self.base64("<nonce.1@mx.example.org>"))\r\n",
            ]
        )
        driver.events = []
        driver.send("AUTH CRAM-MD5\r\n")
        #expect(driver.replies == [.challenge(octets("<nonce.2@mx.example.org>"))])
    }

    @Test(arguments: [(12_286, 501), (12_287, 500)] as [(Int, UInt16)])
    func `a response has 12,288 octets at most`(count: Int, code: UInt16) {
        let driver = Self.greeted()
        driver.send("AUTH PLAIN\r\n")
        driver.send(String(repeating: "A", count: count) + "\r\n")
        #expect(driver.codes() == [334, code])
        #expect(driver.code(of: "NOOP") == 250)
    }

    @Test(arguments: [(1_024, 235), (1_025, 501)] as [(Int, UInt16)])
    func `a password has 1,024 octets at most`(count: Int, code: UInt16) {
        let driver = Self.greeted()
        driver.send("AUTH PLAIN\r\n")
        driver.send(Self.base64("\0jo\0" + String(repeating: "p", count: count)) + "\r\n")
        #expect(driver.codes() == [334, code])
    }

    // MARK: - Order

    @Test func `AUTH needs a greeting, no transaction, and is taken once`() {
        let driver = SessionDriver(Self.configuration())
        driver.open()
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 503)
        #expect(driver.code(of: "EHLO x") == 250)
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 250)
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 503)
        #expect(driver.replies.last == StandardReplies.authInTransaction)
        #expect(driver.code(of: "RSET") == 250)
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 235)
        #expect(driver.replies.last == StandardReplies.authenticated)
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 503)
        #expect(driver.replies.last == StandardReplies.alreadyAuthenticated)
        #expect(driver.code(of: "EHLO x") == 250)
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 503)
    }

    @Test func `what was proved before STARTTLS, or by another client, is forgotten`() {
        let encrypted = Self.greeted()
        #expect(encrypted.code(of: "AUTH PLAIN AGEAYg==") == 235)
        #expect(encrypted.session.security.isAuthenticated)
        let configuration = SMTPConfiguration(
            hostname: octets("mx"),
            extensions: { $0.isEncrypted ? .standard : SMTPExtensions.standard.union(.startTLS) },
            requirements: .authentication,
            mechanisms: [.plain],
            offersAuthInClear: true
        )
        let driver = Self.greeted(configuration)
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 235)
        driver.send("STARTTLS\r\n")
        #expect(driver.encrypted())
        #expect(driver.code(of: "EHLO x") == 250)
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 530)
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 235)
        driver.tell { $0.clientReplaced() }
        #expect(driver.code(of: "EHLO x") == 250)
        #expect(driver.code(of: "MAIL FROM:<a@b>") == 530)
    }

    // MARK: - Failures

    @Test func `a login that policy refused counts, and too many end the session`() {
        let driver = Self.greeted(Self.configuration { $0.maximumFailedLogins = 2 }) { _ in
            .refused(StandardReplies.loginDenied)
        }
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 535)
        #expect(driver.counters.failedLogins == 1 && driver.counters.errors == 0)
        driver.answer = { _ in .refused(StandardReplies.policyFailedLogin) }
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 454)
        #expect(driver.counters.failedLogins == 1)
        driver.answer = { _ in .refused(StandardReplies.loginDenied) }
        #expect(driver.code(of: "AUTH LOGIN am8=") == 334)
        #expect(driver.code(of: "cHc=") == 535)
        #expect(driver.code(of: "AUTH PLAIN AGEAYg==") == 421)
        #expect(driver.isClosed)
    }

    // MARK: - The parameter of MAIL

    @Test(
        arguments: [
            ("AUTH=<>", 250), ("auth=e+3Dmc2@example.com", 250), ("AUTH=a+2b@b", 501),
            ("AUTH=a+2", 501), ("AUTH=+", 501), ("AUTH", 501), ("AUTH=<> AUTH=<>", 501),
            ("AUTH=" + String(repeating: "a", count: 500), 250),
        ] as [(String, UInt16)]
    )
    func `the parameter AUTH is xtext`(text: String, code: UInt16) {
        #expect(Self.greeted().code(of: "MAIL FROM:<a@b> \(text)") == code)
    }
}

struct AuthBase64Tests {
    /// RFC 4648 §10.
    static let vectors = [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"), ("\u{FB}\u{3FF}", "w7vPvw=="),
    ]

    private static func decoded(_ text: String) -> [UInt8]? {
        let text = octets(text)
        return Base64.decode(text.span)
    }

    @Test(arguments: vectors) func `octets become a text and come back`(plain: String, text: String)
    {
        #expect(Base64.encoded(octets(plain)) == octets(text))
        #expect(Self.decoded(text) == octets(plain))
    }

    @Test(arguments: [
        "Z", "Zg", "Zg=", "Zh==", "Zm9=", "====", "Zg==Zg==", "Z===", "=Zg=", "Zm 9", "Zm9v\n",
        "Zm-_", "*",
    ])
    func `what is not canonical is refused`(text: String) {
        #expect(Self.decoded(text) == nil)
    }
}
