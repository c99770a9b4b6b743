import Octets

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
    /// - Note: RFC 5321 §3.5, §4.1.1.6; RFC 6531 §3.7.4.2.
    mutating func checkVerify(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        guard !command.line.argument.isEmpty else {
            return self.refuse(StandardReplies.verifySyntax)
        }
        let argument = command.line.argument
        let isOffered = self.configuration.extensions(in: self.security).contains(.smtpUTF8)
        return self.ask(
            .vrfy,
            .vrfy(
                octets.octets(argument),
                isSMTPUTF8: isOffered && Self.endsInSMTPUTF8(argument, octets)
            )
        )
    }

    /// Whether the last word of an argument that has more than one is SMTPUTF8.
    private static func endsInSMTPUTF8(
        _ argument: Range<Int>,
        _ octets: borrowing Span<UInt8>
    ) -> Bool {
        let keyword: StaticString = "SMTPUTF8"
        let start = argument.upperBound - keyword.utf8CodeUnitCount
        return start > argument.lowerBound + 1 && octets[start - 1] == .space
            && octets.equals(keyword, in: start..<argument.upperBound)
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
