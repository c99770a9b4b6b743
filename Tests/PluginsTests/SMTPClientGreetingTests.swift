import Testing

@testable import StandardPlugins

/// The machine until transactions may begin: EHLO, TLS, login.
@Suite struct SMTPClientGreetingTests: ClientMachineSuite {
    @Test func `EHLO refused is followed by HELO, and then nothing is offered`() {
        var machine = SMTPClientMachine(name: "mx.example", deliversPartially: false)
        _ = machine.replyReceived(self.reply(220, "hop"))
        #expect(machine.replyReceived(self.reply(502, "what")) == self.write("HELO mx.example\r\n"))
        #expect(
            machine.replyReceived(self.reply(250, "hop", "SIZE 5")) == .ready(SMTPCapabilities())
        )
        #expect(
            machine.transactionWanted(Self.envelope)
                == self.write("MAIL FROM:<bob@example.net>\r\n")
        )
    }

    /// A machine that was greeted and has said EHLO.
    private func greeted(_ encryption: SMTPClientMachine.Encryption) -> SMTPClientMachine {
        var machine = SMTPClientMachine(
            name: "mx.example",
            deliversPartially: false,
            encryption: encryption
        )
        if encryption == .implicit { #expect(machine.tlsStarted() == .none) }
        #expect(machine.replyReceived(self.reply(220, "hop")) == self.write("EHLO mx.example\r\n"))
        return machine
    }

    @Test(arguments: [SMTPClientMachine.Encryption.ifOffered, .required])
    func `after STARTTLS what the hop said before is forgotten`(
        encryption: SMTPClientMachine.Encryption
    ) {
        var machine = self.greeted(encryption)
        #expect(
            machine.replyReceived(self.reply(250, "hop", "STARTTLS", "PIPELINING", "SIZE 1"))
                == self.write("STARTTLS\r\n")
        )
        #expect(!machine.isIdle && !machine.isEncrypted)
        #expect(machine.replyReceived(self.reply(220, "go")) == .startTLS)
        #expect(machine.tlsStarted() == self.write("EHLO mx.example\r\n"))
        #expect(machine.isEncrypted && machine.capabilities == SMTPCapabilities())
        // STARTTLS is not said twice, whatever the hop offers.
        let second = machine.replyReceived(self.reply(250, "hop", "STARTTLS", "8BITMIME"))
        var expected = SMTPCapabilities()
        expected.has8BitMIME = true
        expected.hasSTARTTLS = true
        #expect(second == .ready(expected))
        #expect(machine.isIdle)
        #expect(machine.tlsStarted() == .none && machine.isIdle)
    }

    @Test(arguments: [
        // EHLO's reply, then STARTTLS's: what comes of it where TLS is wanted, and where it must be.
        ([250], nil as Int?, nil as SMTPForwardError.Code?, SMTPForwardError.Code.encryption),
        ([250], 454, nil, .encryption), ([250], 502, nil, .encryption),
        ([250], 421, .unreachable, .unreachable), ([250], 250, .malformed, .malformed),
        ([250], 354, .malformed, .malformed), ([502, 250], nil, nil, .encryption),
    ])
    func `a hop without TLS gets mail in clear text where TLS is only wanted`(
        hello: [Int],
        answer: Int?,
        ifOffered: SMTPForwardError.Code?,
        ifRequired: SMTPForwardError.Code?
    ) {
        for (encryption, failure) in [
            (SMTPClientMachine.Encryption.ifOffered, ifOffered), (.required, ifRequired),
        ] {
            var machine = self.greeted(encryption)
            var last = SMTPClientMachine.Action.none
            for code in hello {
                if case .fail = last { break }
                last = machine.replyReceived(
                    answer == nil ? self.reply(code, "hop") : self.reply(code, "hop", "starttls")
                )
            }
            if let answer {
                #expect(last == self.write("STARTTLS\r\n"))
                last = machine.replyReceived(self.reply(answer, "x"))
            }
            if let failure {
                #expect(last == .fail(SMTPForwardError(failure, "")), "\(hello) \(encryption)")
                #expect(!machine.isIdle)
            } else {
                #expect(last == .ready(machine.capabilities), "\(hello) \(encryption)")
                #expect(machine.isIdle && !machine.isEncrypted)
            }
        }
    }

    @Test func `a handshake that fails is told apart from a lost connection`() {
        for code in [SMTPForwardError.Code.closed, .timedOut] {
            let lost = SMTPForwardError(code, "")
            var before = self.greeted(.ifOffered)
            _ = before.replyReceived(self.reply(250, "hop", "STARTTLS"))
            var handshake = before
            #expect(before.connectionLost(lost) == .fail(lost))
            _ = handshake.replyReceived(self.reply(220, "go"))
            var after = handshake
            let failed = SMTPForwardError(.encryption, "")
            #expect(handshake.connectionLost(lost) == .fail(failed))
            #expect(handshake.tlsStarted() == .none && !handshake.isEncrypted)
            _ = after.tlsStarted()
            #expect(after.connectionLost(lost) == .fail(lost))
            var wrapped = SMTPClientMachine(
                name: "mx.example",
                deliversPartially: false,
                encryption: .implicit
            )
            #expect(wrapped.connectionLost(lost) == .fail(failed))
        }
    }

    @Test func `TLS from the first octet needs no STARTTLS, and a greeting comes under it alone`() {
        var machine = self.greeted(.implicit)
        #expect(machine.isEncrypted)
        guard case .ready = machine.replyReceived(self.reply(250, "hop", "STARTTLS")) else {
            Issue.record("not ready")
            return
        }
        var early = SMTPClientMachine(
            name: "mx.example",
            deliversPartially: false,
            encryption: .implicit
        )
        #expect(
            early.replyReceived(self.reply(220, "x")) == .fail(SMTPForwardError(.malformed, ""))
        )
    }

    private static func login(_ password: String = "secret", inClearText: Bool = false) -> SMTPLogin
    {
        SMTPLogin(
            user: Array("jo".utf8),
            password: Array(password.utf8),
            isAllowedInClearText: inClearText
        )
    }

    /// A machine that has heard EHLO's reply, and what it says next.
    private func loggingIn(
        _ login: SMTPLogin,
        encrypted: Bool = true,
        offering keywords: String...
    ) -> (SMTPClientMachine, SMTPClientMachine.Action) {
        var machine = SMTPClientMachine(
            name: "mx.example",
            deliversPartially: false,
            encryption: encrypted ? .implicit : .never,
            login: login
        )
        if encrypted { _ = machine.tlsStarted() }
        _ = machine.replyReceived(self.reply(220, "hop"))
        let lines = (["hop"] + keywords).map { Array($0.utf8) }
        let action = machine.replyReceived(SMTPServerReply(code: 250, lines: lines))
        return (machine, action)
    }

    @Test(arguments: [
        // What the hop offers, and what is said; each line but the first answers a 334.
        ("auth cram-md5 login plain", "secret", ["AUTH PLAIN AGpvAHNlY3JldA=="]),
        ("AUTH LOGIN", "secret", ["AUTH LOGIN", "am8=", "c2VjcmV0"]),
        (
            "AUTH PLAIN", String(repeating: "x", count: 366),
            ["AUTH PLAIN AGpvAHh4" + String(repeating: "eHh4", count: 121) + "eA=="]
        ),
        (
            "AUTH PLAIN", String(repeating: "x", count: 372),
            ["AUTH PLAIN", "AGpvAHh4" + String(repeating: "eHh4", count: 123) + "eA=="]
        ),
    ])
    func `we log in before the first transaction`(
        keyword: String,
        password: String,
        lines: [String]
    ) {
        var (machine, action) = self.loggingIn(Self.login(password), offering: keyword)
        for (index, line) in lines.enumerated() {
            if index > 0 { action = machine.replyReceived(self.reply(334, "")) }
            #expect(action == self.write("\(line)\r\n"))
            #expect(!machine.isIdle)
        }
        #expect(machine.replyReceived(self.reply(235, "in")) == .ready(machine.capabilities))
        #expect(machine.isIdle)
        // RFC 4954 §5: the hop must not take our account for the author's.
        let mail = machine.transactionWanted(Self.envelope)
        #expect(mail == self.write("MAIL FROM:<bob@example.net> AUTH=<>\r\n"))
    }

    @Test(arguments: [535, 454, 504, 334, 250, 500])
    func `a login that is refused is no refusal of the message`(code: Int) {
        var (machine, _) = self.loggingIn(Self.login(), offering: "AUTH PLAIN")
        let action = machine.replyReceived(self.reply(code, "AUTH PLAIN AGpvAHNlY3JldA=="))
        guard case .fail(let error) = action else {
            Issue.record("\(action)")
            return
        }
        #expect(error.code == .login && error.detail == "\(code) to AUTH PLAIN")
        #expect(!machine.isIdle)
    }

    @Test func `a password goes out under TLS, unless it is told otherwise`() {
        let refused = SMTPClientMachine.Action.fail(SMTPForwardError(.login, ""))
        for (login, encrypted, keyword, goesOut) in [
            (Self.login(), false, "AUTH PLAIN", false),
            (Self.login(inClearText: true), false, "AUTH PLAIN", true),
            (Self.login(), true, "AUTH PLAIN", true), (Self.login(), true, "AUTH GSSAPI", false),
            (Self.login(), true, "SIZE", false),
        ] {
            let (machine, action) = self.loggingIn(login, encrypted: encrypted, offering: keyword)
            #expect((action == self.write("AUTH PLAIN AGpvAHNlY3JldA==\r\n")) == goesOut)
            #expect((action == refused) == !goesOut && !machine.isIdle)
        }
    }

    @Test(arguments: [
        // RFC 2195 §2
        (
            "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+",
            "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
        ),
        ("", nil), ("not base64", nil),
    ])
    func `CRAM-MD5 is the last choice under TLS and the first in clear text`(
        challenge: String,
        response: String?
    ) {
        let login = SMTPLogin(
            user: Array("tim".utf8),
            password: Array("tanstaaftanstaaf".utf8),
            isAllowedInClearText: true
        )
        for (encrypted, keyword) in [(false, "AUTH PLAIN CRAM-MD5"), (true, "AUTH CRAM-MD5")] {
            var (machine, action) = self.loggingIn(login, encrypted: encrypted, offering: keyword)
            #expect(action == self.write("AUTH CRAM-MD5\r\n"))
            action = machine.replyReceived(self.reply(334, challenge))
            guard let response else {
                #expect(action == .fail(SMTPForwardError(.login, "")))
                continue
            }
            #expect(action == self.write("\(response)\r\n"))
            #expect(machine.replyReceived(self.reply(235, "in")) == .ready(machine.capabilities))
        }
    }

    @Test func `a description of a login has no password`() {
        #expect("\(Self.login())" == "jo")
    }

    @Test(arguments: [421, 450, 554, 250])
    func `a refusal in the greeting is never about the message`(code: Int) {
        var machine = SMTPClientMachine(name: "mx.example", deliversPartially: false)
        let action = machine.replyReceived(self.reply(code, "no"))
        if code == 250 {
            #expect(action == self.write("EHLO mx.example\r\n"))
            #expect(
                machine.replyReceived(self.reply(421, "no"))
                    == .fail(SMTPForwardError(.unreachable, ""))
            )
        } else {
            #expect(action == .fail(SMTPForwardError(.unreachable, "")))
        }
        #expect(!machine.isIdle)
        #expect(machine.replyReceived(self.reply(250, "late")) == .none)
    }
}
