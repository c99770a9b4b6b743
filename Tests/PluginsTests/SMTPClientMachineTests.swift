import Testing

@testable import StandardPlugins

@Suite struct SMTPClientMachineTests: ClientMachineSuite {
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
            #expect(machine.replyReceived(self.reply(354, "go")) == .goAhead(.lines))
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
        #expect(machine.replyReceived(self.reply(354, "go")) == .goAhead(.lines))
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
        #expect(machine.replyReceived(self.reply(354, "go")) == .goAhead(.lines))
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
        #expect(machine.replyReceived(self.reply(354, "go")) == .goAhead(.lines))
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
        #expect(dot.replyReceived(self.reply(354, "go")) == .goAhead(.lines))
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
