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

    private static func message(
        _ mechanism: SMTPMechanism,
        _ user: String,
        _ message: String,
        step: Int = 1
    ) -> SMTPQuestion {
        .auth(
            SMTPCredentials(
                mechanism: mechanism,
                user: octets(user),
                proof: .message(octets(message), step: step)
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

    @Test(
        arguments: [(false, false, 538), (true, false, 504), (true, true, 235)]
            as [(Bool, Bool, UInt16)]
    )
    func `what is bound to a certificate is offered where there is one`(
        isTLS: Bool,
        isBound: Bool,
        code: UInt16
    ) {
        let mechanisms = [SMTPMechanism.scramSHA256Plus, .scramSHA256]
        let driver = SessionDriver(Self.configuration(mechanisms: mechanisms))
        if isTLS {
            var isDone = false
            driver.tell { session in
                isDone = session.encrypted(isBound: isBound)
                return .proceed
            }
            #expect(isDone)
        }
        driver.open()
        driver.send("EHLO x\r\n")
        let wire = driver.replies.last.map { String(decoding: $0.wire, as: UTF8.self) } ?? ""
        let offer = isBound ? "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256\r\n" : "AUTH SCRAM-SHA-256\r\n"
        #expect(wire.contains(offer))
        let first = Self.base64("p=tls-server-end-point,,n=jo,r=x")
        #expect(driver.code(of: "AUTH SCRAM-SHA-256-PLUS \(first)") == code)
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
        (["AUTH GSSAPI"], [504], nil), (["AUTH SCRAM-SHA-25"], [504], nil),
        (["AUTH SCRAM-SHA-1"], [504], nil), (["AUTH XOAUTH"], [504], nil),
        (["AUTH SCRAM-SHA-256", "*"], [334, 501], nil),
        (["AUTH SCRAM-SHA-256", ""], [334, 501], nil),
        (["AUTH SCRAM-SHA-256 ="], [501], nil),
        (["AUTH SCRAM-SHA-256 !"], [501], nil),
        (
            ["AUTH SCRAM-SHA-256 \(base64("n,,n=jo,r=x"))"], [235],
            message(.scramSHA256, "jo", "n,,n=jo,r=x")
        ),
        (
            ["auth scram-sha-256", base64("y,a=j=2Co,n=j=2Co,r=x")], [334, 235],
            message(.scramSHA256, "j,o", "y,a=j=2Co,n=j=2Co,r=x")
        ),
        (["AUTH SCRAM-SHA-256 \(base64("n,a=ann,n=jo,r=x"))"], [535], nil),
        (
            ["AUTH OAUTHBEARER \(base64("n,a=jo,\u{1}auth=Bearer t\u{1}\u{1}"))"], [235],
            message(.oauthBearer, "jo", "n,a=jo,\u{1}auth=Bearer t\u{1}\u{1}")
        ),
        (
            ["AUTH XOAUTH2", base64("user=jo\u{1}auth=Bearer t\u{1}\u{1}")], [334, 235],
            message(.xoauth2, "jo", "user=jo\u{1}auth=Bearer t\u{1}\u{1}")
        ),
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

    // MARK: - Mechanisms of several steps

    /// What a first message says of its user: a name; `otherIdentity` or `badCredentials` if none.
    static let firstMessages: [(FirstMessage, String, String?)] = [
        (.scram, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "user"), (.scram, "y,,n=a,r=x,e=1", "a"),
        (.scram, "p=tls-server-end-point,,n=a,r=", "a"), (.scram, "n,a=u,n=u,r=x", "u"),
        (.scram, "n,,n=a=2Cb=3Dc,r=x", "a,b=c"), (.scram, "n,,n=é,r=x", "é"),
        (.scram, "", nil), (.scram, "n", nil), (.scram, "n,,", nil), (.scram, "n,,n=a", nil),
        (.scram, "n,,n=,r=x", nil), (.scram, ",,n=a,r=x", nil), (.scram, "x,,n=a,r=x", nil),
        (.scram, "N,,n=a,r=x", nil), (.scram, "p=,,n=a,r=x", nil), (.scram, "nn,,n=a,r=x", nil),
        (.scram, "n,,m=e,n=a,r=x", nil), (.scram, "n,,r=x,n=a", nil), (.scram, "n,u,n=u,r=x", nil),
        (.scram, "n,,n=a=,r=x", nil), (.scram, "n,,n=a=2,r=x", nil), (.scram, "n,,n=a=2c,r=x", nil),
        (.scram, "n,,n=a=41,r=x", nil), (.scram, "n,,N=a,r=x", nil), (.scram, "n,,na,r=x", nil),
        (.scram, "n,a=,n=u,r=x", nil),
        (
            .oauthBearer, "n,a=user@example.com,\u{1}host=h\u{1}auth=Bearer x\u{1}\u{1}",
            "user@example.com"
        ),
        (.oauthBearer, "y,a=j=3Do,\u{1}\u{1}", "j=o"), (.oauthBearer, "n,a=jo,\u{1}", "jo"),
        (.oauthBearer, "n,,\u{1}auth=Bearer x\u{1}\u{1}", nil), (.oauthBearer, "\u{1}", nil),
        (.oauthBearer, "n,a=jo,", nil), (.oauthBearer, "n,a=jo", nil),
        (.oauthBearer, "n,a=jo,auth=Bearer x", nil), (.oauthBearer, "", nil),
        (.xoauth2, "user=jo\u{1}auth=Bearer x\u{1}\u{1}", "jo"), (.xoauth2, "user=\u{1}", ""),
        (.xoauth2, "user=a=2Cb\u{1}", "a=2Cb"), (.xoauth2, "user=jo", nil), (.xoauth2, "", nil),
        (.xoauth2, "USER=jo\u{1}", nil), (.xoauth2, "auth=Bearer x\u{1}user=jo\u{1}", nil),
    ]

    @Test(arguments: firstMessages)
    func `a first message names its user, or is refused`(
        form: FirstMessage,
        text: String,
        user: String?
    ) {
        do throws(SMTPRefusal) {
            #expect(try form.user(in: octets(text)) == user.map(octets))
        } catch {
            #expect(user == nil && error.reply == StandardReplies.badCredentials)
        }
    }

    @Test func `each answer to a challenge is a step, read whole and split everywhere`() {
        let lines = [
            "AUTH SCRAM-SHA-256", Self.base64("n,,n=jo,r=x"), Self.base64("QUIT"), "", "NOOP",
        ]
        for pieces in splits(octets(lines.map { $0 + "\r\n" }.joined())) {
            var steps = 0
            let driver = Self.greeted { question in
                guard case .auth = question else { return .granted(nil) }
                steps += 1
                return steps < 3 ? .challenged(.challenge(octets("c\(steps)"))) : .granted(nil)
            }
            for piece in pieces { driver.send(piece) }
            let asked = driver.questions.filter { if case .auth = $0 { true } else { false } }
            #expect(driver.codes() == [334, 334, 334, 235, 250])
            #expect(
                asked == [
                    Self.message(.scramSHA256, "jo", "n,,n=jo,r=x"),
                    Self.message(.scramSHA256, "jo", "QUIT", step: 2),
                    Self.message(.scramSHA256, "jo", "", step: 3),
                ]
            )
            #expect(driver.session.security.isAuthenticated)
        }
    }

    /// What follows a challenge, the codes, and whether the session lives.
    static let endings: [([String], [UInt16])] = [
        (["*", "NOOP"], [501, 250]), (["!", "NOOP"], [501, 250]), (["QUIT", "QUIT"], [535, 221]),
        ([String(repeating: "A", count: 12_287), "NOOP"], [500, 250]),
        ([base64("no"), "NOOP"], [535, 250]), (["", "RSET"], [535, 250]),
        (["*", "AUTH PLAIN AGpvAHB3"], [501, 235]),
        ([base64("no"), "AUTH XOAUTH2", "*"], [535, 334, 501]),
    ]

    @Test(arguments: endings)
    func `a challenge is answered, cancelled, or refused as bad base64`(
        lines: [String],
        codes: [UInt16]
    ) {
        let driver = Self.greeted { question in
            guard case .auth(let credentials) = question else { return .granted(nil) }
            switch credentials.proof {
            case .message(_, step: 1): return .challenged(.challenge(octets("c")))
            case .message: return .refused(StandardReplies.loginDenied)
            default: return .granted(nil)
            }
        }
        driver.send("AUTH SCRAM-SHA-256 \(Self.base64("n,,n=jo,r=x"))\r\n")
        #expect(driver.replies == [.challenge(octets("c"))])
        driver.events = []
        for line in lines { driver.send(line + "\r\n") }
        #expect(driver.codes() == codes)
    }

    @Test func `a challenge where none can be ends the session`() {
        for line in ["AUTH PLAIN AGpvAHB3", "NOOP", "MAIL FROM:<a@b>"] {
            let driver = Self.greeted()
            driver.answer = { _ in .challenged(.challenge(octets("c"))) }
            #expect(driver.code(of: line) == 421)
            #expect(driver.isClosed)
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
