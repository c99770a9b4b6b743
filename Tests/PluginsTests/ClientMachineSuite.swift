import Testing

@testable import StandardPlugins

/// What the suites of ``SMTPClientMachine`` have in common.
protocol ClientMachineSuite {}

extension ClientMachineSuite {
    /// Of bob, for two recipients.
    static var envelope: SMTPEnvelope {
        SMTPEnvelope(
            sender: Array("bob@example.net".utf8),
            recipients: ["a@example.org", "b@example.org"].map { Array($0.utf8) },
            size: 100,
            is8BitMIME: true,
            isSMTPUTF8: false
        )
    }

    func reply(_ code: Int, _ lines: String...) -> SMTPServerReply {
        SMTPServerReply(code: code, lines: lines.map { Array($0.utf8) })
    }

    func write(_ text: String) -> SMTPClientMachine.Action { .write(Array(text.utf8)) }

    /// A machine after the greeting.
    func machine(_ keywords: String..., partially: Bool = false) -> SMTPClientMachine {
        var machine = SMTPClientMachine(name: "mx.example", deliversPartially: partially)
        #expect(machine.replyReceived(self.reply(220, "hop")) == self.write("EHLO mx.example\r\n"))
        let lines = (["hop"] + keywords).map { Array($0.utf8) }
        _ = machine.replyReceived(SMTPServerReply(code: 250, lines: lines))
        #expect(machine.isIdle)
        return machine
    }
}
