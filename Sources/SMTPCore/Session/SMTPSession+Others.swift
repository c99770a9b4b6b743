// RSET, NOOP, VRFY, QUIT, and unrecognised commands.
extension SMTPSession {
    /// RSET: ends the transaction; policy is not asked.
    ///
    /// - Note: RFC 5321 §4.1.1.5.
    mutating func checkReset(_ command: Command) -> SMTPAction {
        guard command.line.argument.isEmpty else {
            return self.refuse(StandardReplies.noArgumentAllowed)
        }
        guard self.isInTransaction else { return .reply(StandardReplies.ok) }
        self.phase.stageChanged(to: .greeted)
        return .resetThenReply(StandardReplies.ok)
    }

    /// NOOP: its argument is ignored by SMTP and shown to policy.
    ///
    /// - Note: RFC 5321 §4.1.1.9.
    mutating func checkNoop(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        if self.meter.hasTooManyNoops(self.configuration.limits) {
            return self.close(StandardReplies.tooManyNoops)
        }
        return self.ask(.noop, .noop(octets.octets(command.line.argument)))
    }

    /// VRFY: policy is asked whether the address exists.
    ///
    /// - Note: RFC 5321 §3.5, §4.1.1.6.
    mutating func checkVerify(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        guard !command.line.argument.isEmpty else {
            return self.refuse(StandardReplies.verifySyntax)
        }
        return self.ask(.vrfy, .vrfy(octets.octets(command.line.argument)))
    }

    /// QUIT: policy may word the farewell, and cannot prevent it.
    ///
    /// - Note: RFC 5321 §4.1.1.10.
    mutating func checkQuit(_ command: Command) -> SMTPAction {
        guard command.line.argument.isEmpty else {
            return self.refuse(StandardReplies.noArgumentAllowed)
        }
        return self.ask(.quit, .quit)
    }

    /// An unrecognised command, or an empty line: policy is asked about it.
    mutating func checkUnrecognized(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        self.meter.unrecognizedReceived()
        if self.meter.hasTooManyUnrecognized(self.configuration.limits) {
            return self.close(StandardReplies.tooManyUnrecognized)
        }
        let word = octets.octets(command.line.word)
        let line = octets.octets(0..<command.textOctets)
        return self.ask(.unrecognized, .unrecognized(command: word, line: line))
    }
}
