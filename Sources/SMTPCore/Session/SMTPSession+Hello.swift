extension SMTPSession {
    /// HELO and EHLO, or LHLO of LMTP: allowed at any time, and once granted they end a transaction.
    ///
    /// - Note: RFC 5321 §4.1.1.1, §4.1.4; RFC 2033 §4.1.
    mutating func checkHello(
        _ open: SMTPPhase.CommandQuestion,
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        if self.configuration.isLMTP, command.line.verb != .lhlo {
            return self.refuse(StandardReplies.helloOfSMTP)
        }
        var range = command.line.argument
        if self.configuration.commandOptions.contains(.wordsAfterHello) {
            range = HelloName.firstWord(octets, range)
        }
        guard HelloName.isAcceptable(octets, range) else {
            return self.refuse(StandardReplies.helloSyntax)
        }
        let name = octets.octets(range)
        return self.ask(open, open == .ehlo ? .ehlo(name: name) : .helo(name: name))
    }
}
