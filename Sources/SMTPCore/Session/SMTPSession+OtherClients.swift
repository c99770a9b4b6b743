// XCLIENT and XFORWARD: what a trusted client says of another client.

extension SMTPSession {
    /// The verb, unless the listener trusts no client with it: then it is as any unknown word.
    func offered(_ verb: SMTPVerb?) -> SMTPVerb? {
        switch verb {
        case .xclient: self.configuration.trust.contains(.xclient) ? verb : nil
        case .xforward: self.configuration.trust.contains(.xforward) ? verb : nil
        default: verb
        }
    }

    /// XCLIENT: the session begins again, with another client.
    mutating func checkXClient(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        guard self.trust.contains(.xclient) else { return self.refuse(StandardReplies.notTrusted) }
        guard !self.isInTransaction else {
            return self.refuse(StandardReplies.clientInTransaction)
        }
        guard let client = ClientAttributes(octets, command.line.argument, of: .xclient) else {
            return self.refuse(StandardReplies.clientSyntax)
        }
        return .clientNamed(client)
    }

    /// XFORWARD: where the next message came from, for logs.
    mutating func checkXForward(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        guard self.trust.contains(.xforward) else {
            return self.refuse(StandardReplies.notTrusted)
        }
        guard !self.isInTransaction else {
            return self.refuse(StandardReplies.clientInTransaction)
        }
        guard let client = ClientAttributes(octets, command.line.argument, of: .xforward) else {
            return self.refuse(StandardReplies.clientSyntax)
        }
        return .forwarded(client, StandardReplies.ok)
    }
}
