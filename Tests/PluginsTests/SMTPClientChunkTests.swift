import Testing

@testable import StandardPlugins

/// A body without lines goes by one BDAT (RFC 3030).
@Suite struct SMTPClientChunkTests: ClientMachineSuite {
    private static var binary: SMTPEnvelope {
        var envelope = Self.envelope
        envelope.is8BitMIME = false
        envelope.isBinaryMIME = true
        return envelope
    }

    /// A machine whose hop has taken the envelope, and waits for the chunk.
    private func sending(
        _ replies: [Int] = [250, 250, 250],
        _ envelope: SMTPEnvelope = Self.binary
    ) -> SMTPClientMachine {
        var machine = self.machine("PIPELINING", "CHUNKING", "BINARYMIME")
        _ = machine.transactionWanted(envelope)
        var last = SMTPClientMachine.Action.none
        for code in replies { last = machine.replyReceived(self.reply(code, "x")) }
        #expect(last == .goAhead(.chunk))
        return machine
    }

    @Test(arguments: [true, false])
    func `the chunk follows the recipients at once, and ends without a dot`(isPipelined: Bool) {
        var machine = self.machine(isPipelined ? "PIPELINING" : "HELP", "CHUNKING", "BINARYMIME")
        let mail = "MAIL FROM:<bob@example.net> BODY=BINARYMIME\r\n"
        let (first, second) = ("RCPT TO:<a@example.org>\r\n", "RCPT TO:<b@example.org>\r\n")
        let ok = self.reply(250, "ok")
        for _ in 0..<2 {
            if isPipelined {
                #expect(
                    machine.transactionWanted(Self.binary) == self.write(mail + first + second)
                )
                #expect(machine.replyReceived(ok) == .none)
                #expect(machine.replyReceived(ok) == .none)
            } else {
                #expect(machine.transactionWanted(Self.binary) == self.write(mail))
                #expect(machine.replyReceived(ok) == self.write(first))
                #expect(machine.replyReceived(ok) == self.write(second))
            }
            #expect(machine.replyReceived(ok) == .goAhead(.chunk))
            #expect(machine.contentSent() == .none)
            #expect(machine.contentSent() == .none)
            let last = self.reply(250, "2.0.0 queued")
            #expect(machine.replyReceived(last) == .completed(.accepted(last, refused: [])))
            #expect(machine.isIdle)
        }
        // A message of lines goes by DATA on the same connection.
        _ = machine.transactionWanted(Self.envelope)
        _ = machine.replyReceived(ok)
        _ = machine.replyReceived(ok)
        #expect(machine.replyReceived(ok) == self.write("DATA\r\n"))
        #expect(machine.replyReceived(self.reply(354, "go")) == .goAhead(.lines))
    }

    @Test func `one command after the other leads to a chunk as well`() {
        var machine = self.machine("CHUNKING", "BINARYMIME")
        var envelope = Self.binary
        envelope.recipients = []
        let recipient = Array("a@example.org".utf8)
        #expect(
            machine.mailWanted(envelope)
                == self.write("MAIL FROM:<bob@example.net> BODY=BINARYMIME\r\n")
        )
        _ = machine.replyReceived(self.reply(250, "ok"))
        _ = machine.recipientWanted(recipient, notification: [])
        _ = machine.replyReceived(self.reply(250, "ok"))
        #expect(machine.contentWanted() == .goAhead(.chunk))
        #expect(machine.contentSent() == .none)
    }

    @Test(arguments: [421, 452, 503, 554])
    func `a refusal in the middle of the chunk is heard, and the rest is not sent`(code: Int) {
        var machine = self.sending()
        let refusal = self.reply(code, "no")
        #expect(machine.replyReceived(refusal) == .completedThenClose(.refused(refusal)))
        #expect(machine.contentSent() == .none)
        #expect(!machine.isIdle)
    }

    @Test(arguments: [452, 554])
    func `a refusal of the whole chunk leaves the connection`(code: Int) {
        var machine = self.sending()
        #expect(machine.contentSent() == .none)
        let refusal = self.reply(code, "no")
        #expect(machine.replyReceived(refusal) == .completed(.refused(refusal)))
        #expect(machine.isIdle)
    }

    /// Consent before the end cannot be about the message; 354 belongs to DATA.
    @Test(arguments: [(false, 250), (false, 354), (true, 354)])
    func `a reply that a chunk does not have ends the connection`(isWhole: Bool, code: Int) {
        var machine = self.sending()
        if isWhole { #expect(machine.contentSent() == .none) }
        let malformed = SMTPForwardError(.malformed, "")
        #expect(machine.replyReceived(self.reply(code, "x")) == .fail(malformed))
        #expect(!machine.isIdle)
    }

    @Test(arguments: [false, true])
    func `a connection that ends with the chunk is an error`(isWhole: Bool) {
        var machine = self.sending()
        if isWhole { #expect(machine.contentSent() == .none) }
        let lost = SMTPForwardError(.closed, "")
        #expect(machine.connectionLost(lost) == .fail(lost))
    }

    @Test func `a refused recipient stops the message before the chunk`() {
        var machine = self.machine("PIPELINING", "CHUNKING", "BINARYMIME")
        _ = machine.transactionWanted(Self.binary)
        _ = machine.replyReceived(self.reply(250, "ok"))
        _ = machine.replyReceived(self.reply(250, "ok"))
        let no = self.reply(550, "no")
        let refused = NextHopRefusal(recipient: Array("b@example.org".utf8), reply: no)
        #expect(
            machine.replyReceived(no)
                == .completedWriting(.recipientsRefused([refused]), Array("RSET\r\n".utf8))
        )
    }

    /// RFC 2033 §4.2.
    @Test func `LMTP has a reply for each recipient behind the chunk`() {
        var machine = SMTPClientMachine(.lmtp, name: "mx.example", deliversPartially: false)
        #expect(machine.replyReceived(self.reply(220, "hop")) == self.write("LHLO mx.example\r\n"))
        _ = machine.replyReceived(self.reply(250, "hop", "PIPELINING", "CHUNKING", "BINARYMIME"))
        _ = machine.transactionWanted(Self.binary)
        let ok = self.reply(250, "ok")
        #expect(machine.replyReceived(ok) == .none)
        #expect(machine.replyReceived(ok) == .none)
        #expect(machine.replyReceived(ok) == .goAhead(.chunk))
        #expect(machine.contentSent() == .none)
        #expect(machine.replyReceived(ok) == .none)
        #expect(machine.replyReceived(ok) == .completed(.accepted(ok, refused: [])))
        #expect(machine.isIdle)
    }
}
