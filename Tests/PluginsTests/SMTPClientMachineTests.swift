import Testing

@testable import StandardPlugins

@Suite struct SMTPClientMachineTests {
    private static let envelope = SMTPEnvelope(
        sender: Array("bob@example.net".utf8),
        recipients: ["a@example.org", "b@example.org"].map { Array($0.utf8) },
        size: 100,
        is8BitMIME: true,
        isSMTPUTF8: false
    )

    private func reply(_ code: Int, _ lines: String...) -> SMTPServerReply {
        SMTPServerReply(code: code, lines: lines.map { Array($0.utf8) })
    }

    private func write(_ text: String) -> SMTPClientMachine.Action { .write(Array(text.utf8)) }

    /// A machine after the greeting.
    private func machine(_ keywords: String..., partially: Bool = false) -> SMTPClientMachine {
        var machine = SMTPClientMachine(name: "mx.example", deliversPartially: partially)
        #expect(machine.replyReceived(self.reply(220, "hop")) == self.write("EHLO mx.example\r\n"))
        let lines = (["hop"] + keywords).map { Array($0.utf8) }
        _ = machine.replyReceived(SMTPServerReply(code: 250, lines: lines))
        #expect(machine.isIdle)
        return machine
    }

    @Test func `without PIPELINING commands go one by one, and so do transactions`() {
        var machine = self.machine("8BITMIME", "SIZE 1000")
        for _ in 0..<2 {
            #expect(
                machine.transactionWanted(Self.envelope)
                    == self.write("MAIL FROM:<bob@example.net> SIZE=100 BODY=8BITMIME\r\n")
            )
            #expect(!machine.wasMailAccepted)
            #expect(
                machine.replyReceived(self.reply(250, "ok"))
                    == self.write("RCPT TO:<a@example.org>\r\n")
            )
            #expect(machine.wasMailAccepted)
            #expect(
                machine.replyReceived(self.reply(250, "ok"))
                    == self.write("RCPT TO:<b@example.org>\r\n")
            )
            #expect(machine.replyReceived(self.reply(251, "ok")) == self.write("DATA\r\n"))
            #expect(machine.replyReceived(self.reply(354, "go")) == .goAhead)
            #expect(machine.contentSent() == self.write(".\r\n"))
            let last = self.reply(250, "2.0.0 queued")
            #expect(machine.replyReceived(last) == .completed(.accepted(last, refused: [])))
            #expect(machine.isIdle)
        }
    }

    @Test func `with PIPELINING the envelope is one write, and DATA waits for it`() {
        var machine = self.machine("pipelining", "SMTPUTF8")
        var envelope = Self.envelope
        envelope.isSMTPUTF8 = true
        #expect(
            machine.transactionWanted(envelope)
                == self.write(
                    "MAIL FROM:<bob@example.net> SMTPUTF8\r\nRCPT TO:<a@example.org>\r\n"
                        + "RCPT TO:<b@example.org>\r\n"
                )
        )
        #expect(machine.replyReceived(self.reply(250, "ok")) == .none)
        #expect(machine.replyReceived(self.reply(250, "ok")) == .none)
        #expect(machine.replyReceived(self.reply(250, "ok")) == self.write("DATA\r\n"))
        #expect(machine.replyReceived(self.reply(354, "go")) == .goAhead)
    }

    /// A machine that is greeted and has said `MAIL` alone.
    private func saidMail() -> SMTPClientMachine {
        var machine = SMTPClientMachine(name: "mx.example", deliversPartially: false)
        for reply in [self.reply(220, "hop"), self.reply(250, "hop", "PIPELINING", "DSN")] {
            _ = machine.replyReceived(reply)
        }
        var envelope = Self.envelope
        envelope.size = nil
        #expect(machine.mailWanted(envelope) == self.write("MAIL FROM:<bob@example.net>\r\n"))
        #expect(!machine.isIdle)
        return machine
    }

    @Test func `commands are said one at a time, and each has its answer`() {
        var machine = self.saidMail()
        let ok = self.reply(250, "ok")
        #expect(machine.replyReceived(ok) == .answered(ok))
        #expect(machine.wasMailAccepted && !machine.isIdle)
        for (name, code) in [("a", 550), ("b", 250), ("c", 450)] {
            let address = Array("\(name)@example.org".utf8)
            #expect(
                machine.recipientWanted(address, notification: Array(" NOTIFY=NEVER".utf8))
                    == self.write("RCPT TO:<\(name)@example.org> NOTIFY=NEVER\r\n")
            )
            let reply = self.reply(code, "what")
            #expect(machine.replyReceived(reply) == .answered(reply))
        }
        #expect(machine.contentWanted() == self.write("DATA\r\n"))
        #expect(machine.replyReceived(self.reply(354, "go")) == .goAhead)
        #expect(machine.contentSent() == self.write(".\r\n"))
        #expect(machine.replyReceived(ok) == .completed(.accepted(ok, refused: [])))
        #expect(machine.isIdle)
    }

    @Test func `a transaction that is said in steps is reset, or ends with its connection`() {
        let ok = self.reply(250, "ok")
        let error = SMTPForwardError(.closed, "")
        var reset = self.saidMail()
        _ = reset.replyReceived(ok)
        #expect(reset.resetWanted() == self.write("RSET\r\n"))
        #expect(reset.replyReceived(ok) == .free)
        #expect(reset.isIdle)
        var refused = self.saidMail()
        let no = self.reply(550, "no")
        #expect(refused.replyReceived(no) == .answered(no))
        #expect(refused.isIdle && !refused.wasMailAccepted)
        var closing = self.saidMail()
        let bye = self.reply(421, "bye")
        #expect(closing.replyReceived(bye) == .answeredThenClose(bye))
        #expect(closing.resetWanted() == .fail(error))
        var lost = self.saidMail()
        #expect(lost.connectionLost(error) == .fail(error))
        var open = self.saidMail()
        _ = open.replyReceived(ok)
        #expect(open.connectionLost(error) == .none)
        #expect(open.recipientWanted([0x61], notification: []) == .fail(error))
        var unasked = self.saidMail()
        _ = unasked.replyReceived(ok)
        #expect(unasked.replyReceived(bye) == .fail(error))
        // Without a recipient there is no content.
        var early = self.saidMail()
        _ = early.replyReceived(ok)
        #expect(early.contentWanted() == .fail(error))
        var confused = self.saidMail()
        let malformed = SMTPForwardError(.malformed, "")
        #expect(confused.replyReceived(self.reply(354, "go")) == .fail(malformed))
    }

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

    @Test func `a refused MAIL ends the transaction, pipelined or not`() {
        let refusal = self.reply(550, "no")
        var plain = self.machine()
        _ = plain.transactionWanted(Self.envelope)
        #expect(plain.replyReceived(refusal) == .completed(.refused(refusal)))
        #expect(plain.isIdle && !plain.wasMailAccepted)
        var pipelined = self.machine("PIPELINING")
        _ = pipelined.transactionWanted(Self.envelope)
        #expect(pipelined.replyReceived(refusal) == .none)
        #expect(pipelined.replyReceived(self.reply(503, "no")) == .none)
        #expect(pipelined.replyReceived(self.reply(503, "no")) == .completed(.refused(refusal)))
        #expect(pipelined.isIdle && !pipelined.wasMailAccepted)
    }

    @Test func `one refused recipient stops the message before DATA`() {
        for keyword in ["PIPELINING", "SIZE"] {
            var machine = self.machine(keyword)
            _ = machine.transactionWanted(Self.envelope)
            _ = machine.replyReceived(self.reply(250, "ok"))
            _ = machine.replyReceived(self.reply(250, "ok"))
            let refusal = self.reply(550, "5.1.1 who?")
            let expected = NextHopRefusal(recipient: Self.envelope.recipients[1], reply: refusal)
            #expect(
                machine.replyReceived(refusal)
                    == .completedWriting(.recipientsRefused([expected]), Array("RSET\r\n".utf8))
            )
            #expect(!machine.isIdle)
            #expect(machine.replyReceived(self.reply(250, "ok")) == .free)
            #expect(machine.isIdle)
        }
    }

    @Test func `delivering partially needs a taker, and refusals for good`() {
        for (first, second, goesOn) in [
            (250, 550, true), (250, 450, false), (550, 550, false), (450, 250, false),
        ] {
            var machine = self.machine(partially: true)
            _ = machine.transactionWanted(Self.envelope)
            _ = machine.replyReceived(self.reply(250, "ok"))
            _ = machine.replyReceived(self.reply(first, "x"))
            let action = machine.replyReceived(self.reply(second, "x"))
            #expect((action == self.write("DATA\r\n")) == goesOn, "\(first) \(second)")
            guard goesOn else { continue }
            _ = machine.replyReceived(self.reply(354, "go"))
            _ = machine.contentSent()
            let last = self.reply(250, "queued")
            let refused = [
                NextHopRefusal(recipient: Self.envelope.recipients[1], reply: self.reply(550, "x"))
            ]
            #expect(machine.replyReceived(last) == .completed(.accepted(last, refused: refused)))
        }
    }

    @Test(arguments: [
        (452, "4.5.3 too many recipients", true), (552, "5.5.3 Too many", true),
        (452, "Too many recipients received this hour", true), (552, "too many Recipients", true),
        (452, "4.3.1 recipient's disk is full", false), (552, "mailbox full", false),
        (450, "4.5.3 too many recipients", false), (452, "4.2.2 full", false),
    ])
    func `too many for one transaction are left for the next`(
        code: Int,
        text: String,
        isLeft: Bool
    ) {
        var machine = self.machine("PIPELINING")
        _ = machine.transactionWanted(Self.envelope)
        _ = machine.replyReceived(self.reply(250, "ok"))
        _ = machine.replyReceived(self.reply(250, "ok"))
        let refusal = self.reply(code, text)
        let action = machine.replyReceived(refusal)
        #expect((action == self.write("DATA\r\n")) == isLeft)
        guard isLeft else { return }
        #expect(machine.replyReceived(self.reply(354, "go")) == .goAhead)
        #expect(machine.contentSent() == self.write(".\r\n"))
        let last = self.reply(250, "queued")
        let left = [Self.envelope.recipients[1]]
        #expect(
            machine.replyReceived(last) == .completed(.accepted(last, refused: [], left: left))
        )
        #expect(machine.isIdle)
    }

    @Test func `too many is a refusal like another where no recipient was taken`() {
        for (code, text) in [(452, "4.5.3 too many"), (550, "5.1.1 who")] {
            var machine = self.machine("PIPELINING")
            _ = machine.transactionWanted(Self.envelope)
            _ = machine.replyReceived(self.reply(250, "ok"))
            _ = machine.replyReceived(self.reply(code, text))
            let action = machine.replyReceived(self.reply(452, "4.5.3 too many"))
            guard case .completedWriting(.recipientsRefused(let refused), _) = action else {
                Issue.record("\(action)")
                continue
            }
            #expect(refused.map(\.reply.code) == [code, 452])
        }
    }

    @Test func `DATA refused resets, the dot refused does not`() {
        var machine = self.machine("PIPELINING")
        _ = machine.transactionWanted(Self.envelope)
        for _ in 0..<3 { _ = machine.replyReceived(self.reply(250, "ok")) }
        let refusal = self.reply(451, "later")
        #expect(
            machine.replyReceived(refusal)
                == .completedWriting(.refused(refusal), Array("RSET\r\n".utf8))
        )
        #expect(machine.replyReceived(self.reply(250, "ok")) == .free)
        _ = machine.transactionWanted(Self.envelope)
        for _ in 0..<3 { _ = machine.replyReceived(self.reply(250, "ok")) }
        _ = machine.replyReceived(self.reply(354, "go"))
        _ = machine.contentSent()
        let spam = self.reply(554, "spam")
        #expect(machine.replyReceived(spam) == .completed(.refused(spam)))
        #expect(machine.isIdle)
    }

    @Test func `421 anywhere is the end of the connection`() {
        let closing = self.reply(421, "bye")
        var mail = self.machine("PIPELINING")
        _ = mail.transactionWanted(Self.envelope)
        #expect(mail.replyReceived(closing) == .completedThenClose(.refused(closing)))
        #expect(!mail.wasMailAccepted)
        var dot = self.machine()
        _ = dot.transactionWanted(Self.envelope)
        for _ in 0..<3 { _ = dot.replyReceived(self.reply(250, "ok")) }
        #expect(dot.replyReceived(self.reply(354, "go")) == .goAhead)
        #expect(dot.replyReceived(closing) == .completedThenClose(.refused(closing)))
        #expect(dot.contentSent() == .none)
        var idle = self.machine()
        #expect(idle.replyReceived(closing) == .fail(SMTPForwardError(.closed, "")))
        #expect(!idle.isIdle)
    }

    @Test func `a lost connection fails what is under way and nothing else`() {
        let lost = SMTPForwardError(.closed, "")
        var idle = self.machine()
        #expect(idle.connectionLost(lost) == .none)
        #expect(!idle.isIdle)
        var busy = self.machine()
        _ = busy.transactionWanted(Self.envelope)
        #expect(busy.connectionLost(lost) == .fail(lost))
        #expect(busy.connectionLost(lost) == .none)
        #expect(busy.replyReceived(self.reply(250, "late")) == .none)
    }

    @Test(arguments: [[354], [250, 354], [250, 250, 250, 250], [250, 250, 250, 354, 354]])
    func `a reply that the question does not have ends the connection`(codes: [Int]) {
        var machine = self.machine()
        _ = machine.transactionWanted(Self.envelope)
        var last = SMTPClientMachine.Action.none
        for code in codes { last = machine.replyReceived(self.reply(code, "x")) }
        #expect(last == .fail(SMTPForwardError(.malformed, "")))
        #expect(!machine.isIdle)
    }
}

@Suite struct SMTPServerReplyParserTests {
    private static let text =
        "250-mx.example hello\r\n250-SIZE 1000\r\n250 OK\n550 5.1.1 no\r\n354\r\n250-\r\n250 \r\n"

    @Test func `replies are the same whatever the split`() throws {
        let octets = Array(Self.text.utf8)
        let expected = [
            SMTPServerReply(
                code: 250,
                lines: ["mx.example hello", "SIZE 1000", "OK"].map { Array($0.utf8) }
            ),
            SMTPServerReply(code: 550, lines: [Array("5.1.1 no".utf8)]),
            SMTPServerReply(code: 354, lines: [[]]),
            SMTPServerReply(code: 250, lines: [[], []]),
        ]
        for cut in 0...octets.count {
            var parser = SMTPServerReplyParser()
            var replies: [SMTPServerReply] = []
            try parser.received(octets[..<cut], into: &replies)
            try parser.received(octets[cut...], into: &replies)
            #expect(replies == expected, "cut at \(cut)")
        }
        var parser = SMTPServerReplyParser()
        var replies: [SMTPServerReply] = []
        for octet in octets {
            let count = replies.count
            try parser.received([octet], into: &replies)
            #expect(parser.isInReply == (replies.count == count))
        }
        #expect(replies == expected)
    }

    @Test(arguments: [
        "\r\n", "25\r\n", "2500\r\n", "abc\r\n", "250_x\r\n", "150 x\r\n", "600 x\r\n",
        "250-x\r\n251 y\r\n",
        "220 SSH-2.0\r\n\u{0}\u{0}\r\n",
    ])
    func `what is no reply is an error`(text: String) {
        #expect(throws: SMTPForwardError.self) {
            var parser = SMTPServerReplyParser()
            var replies: [SMTPServerReply] = []
            try parser.received(Array(text.utf8), into: &replies)
        }
    }

    @Test func `lines and their length are limited`() throws {
        func parse(_ text: String) throws {
            var parser = SMTPServerReplyParser()
            var replies: [SMTPServerReply] = []
            try parser.received(Array(text.utf8), into: &replies)
        }
        let limit = SMTPServerReplyParser.maximumLineOctets
        try parse("250 " + String(repeating: "x", count: limit - 4) + "\n")
        #expect(throws: SMTPForwardError.self) {
            try parse("250 " + String(repeating: "x", count: limit - 3) + "\n")
        }
        let lines = SMTPServerReplyParser.maximumLines
        try parse(String(repeating: "250-x\r\n", count: lines - 1) + "250 x\r\n")
        #expect(throws: SMTPForwardError.self) {
            try parse(String(repeating: "250-x\r\n", count: lines) + "250 x\r\n")
        }
    }
}

@Suite struct DotStufferTests {
    @Test func `dots are doubled whatever the split, and the last line gets its end`() throws {
        let text = Array(".a\r\n..b\r\nc.\r\n.\r\n.d".utf8)
        let expected = Array("..a\r\n...b\r\nc.\r\n..\r\n..d\r\n".utf8)
        for cut in 0...text.count {
            var stuffer = DotStuffer()
            var output: [UInt8] = []
            let first = Array(text[..<cut])
            let second = Array(text[cut...])
            try stuffer.append(first.span, to: &output)
            try stuffer.append(second.span, to: &output)
            try stuffer.finish(&output)
            #expect(output == expected, "cut at \(cut)")
        }
        var empty = DotStuffer()
        var output: [UInt8] = []
        try empty.finish(&output)
        #expect(output.isEmpty)
    }

    @Test(arguments: [
        "\0.\r\n", "a\r\n\0.\0\r\n", "\0\0.\0\0\r\n", "a\r\n\0.",
    ])
    func `a line that is a dot without its NULs is never sent`(text: String) {
        self.expectRefusal(text)
    }

    @Test(arguments: [
        (".\0\r\n", "..\0\r\n"), ("\0a.\r\n", "\0a.\r\n"), ("\0..\r\n", "\0..\r\n"),
        ("\0\r\n.\r\n", "\0\r\n..\r\n"), ("a\0.\r\n", "a\0.\r\n"), ("\0.a\r\n", "\0.a\r\n"),
    ])
    func `other lines with NUL go out as they are`(text: String, expected: String) throws {
        var stuffer = DotStuffer()
        var output: [UInt8] = []
        try stuffer.append(Array(text.utf8).span, to: &output)
        try stuffer.finish(&output)
        #expect(output == Array(expected.utf8))
    }

    @Test(arguments: [
        "\n", "\r", "a\nb\r\n", "a\rb\r\n", "a\r\r\n", "a\r\n\n", "\r\n.\r", "a\r.\r\n",
    ])
    func `a CR or LF that is not part of a CRLF is never sent`(text: String) {
        self.expectRefusal(text)
    }

    /// Wherever it is cut.
    private func expectRefusal(_ text: String) {
        let text = Array(text.utf8)
        for cut in 0...text.count {
            #expect(throws: SMTPForwardError.self, "cut at \(cut)") {
                var stuffer = DotStuffer()
                var output: [UInt8] = []
                let first = Array(text[..<cut])
                let second = Array(text[cut...])
                try stuffer.append(first.span, to: &output)
                try stuffer.append(second.span, to: &output)
                try stuffer.finish(&output)
            }
        }
    }
}
