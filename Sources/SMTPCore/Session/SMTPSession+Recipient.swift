extension SMTPSession {
    /// RCPT: names a recipient.
    ///
    /// One too many is refused for now, and is no error: the client sends the rest in another
    /// transaction (RFC 5321 §4.5.3.1.10).
    ///
    /// - Note: RFC 5321 §4.1.1.3; RFC 6531 §3.5.
    mutating func checkRecipient(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        guard case .inTransaction(let transaction)? = self.phase.stage else {
            let isGreeted = self.phase.stage?.isGreeted ?? false
            return self.refuse(
                isGreeted ? StandardReplies.mailFirst : StandardReplies.helloFirst
            )
        }
        let path: ForwardPath
        let parameters: SMTPParameters
        do {
            (path, parameters) = try self.parseRecipient(command.line.argument, octets)
        } catch {
            return self.refuse(error.reply)
        }
        guard transaction.isSMTPUTF8 || !path.isNonASCII else {
            return self.refuse(StandardReplies.recipientNeedsUTF8)
        }
        guard transaction.recipients < self.configuration.limits.maximumRecipients else {
            return .reply(StandardReplies.tooManyRecipients)
        }
        return self.ask(.rcpt, .rcpt(path, parameters))
    }

    private func parseRecipient(
        _ argument: Range<Int>,
        _ octets: borrowing Span<UInt8>
    ) throws(SMTPRefusal) -> (path: ForwardPath, parameters: SMTPParameters) {
        let end = argument.upperBound
        guard octets.hasPrefix("TO:", at: argument.lowerBound, before: end) else {
            throw SMTPRefusal(StandardReplies.recipientSyntax)
        }
        let path: ForwardPath
        let pathEnd: Int
        do {
            let read = try self.readPath(octets, at: argument.lowerBound + 3, before: end)
            path = try ForwardPath(octets, read.content)
            pathEnd = read.end
        } catch {
            throw SMTPRefusal(
                error == .tooLong ? StandardReplies.recipientTooLong : StandardReplies.badRecipient
            )
        }
        do {
            return (path, try ParameterGrammar.recipient(in: octets, pathEnd..<end))
        } catch {
            throw SMTPRefusal(error.reply)
        }
    }
}
