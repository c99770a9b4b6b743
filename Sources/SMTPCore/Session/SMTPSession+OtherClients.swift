// XCLIENT and XFORWARD: what a trusted client says of another client.

extension SMTPSession {
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
