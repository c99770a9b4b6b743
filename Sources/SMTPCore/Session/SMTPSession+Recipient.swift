import Octets

extension SMTPSession {
    /// RCPT: names a recipient.
    ///
    /// A recipient over the limit is refused for now, and is no error: the client sends to the others in
    /// another transaction (RFC 5321 §4.5.3.1.10).
    ///
    /// - Note: RFC 5321 §4.1.1.3; RFC 6531 §3.5; RFC 3461 §4.1, §4.2.
    mutating func checkRecipient(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        guard case .inTransaction(let transaction)? = self.phase.stage else {
            switch self.phase.stage {
            case .betweenChunks: return self.refuse(StandardReplies.recipientBehindChunk)
            case .greeted, .inTransaction: return self.refuse(StandardReplies.mailFirst)
            case .connected, nil: return self.refuse(self.configuration.helloFirst)
            }
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
        let (path, pathEnd) = try self.readPath(of: ForwardPath.self, argument, octets)
        do {
            let parameters = try ParameterGrammar.recipient(
                in: octets,
                pathEnd..<argument.upperBound,
                offered: self.configuration.extensions(in: self.security)
            )
            return (path, parameters)
        } catch {
            throw SMTPRefusal(error.reply)
        }
    }
}
