extension SMTPSession {
    /// MAIL: begins a transaction.
    ///
    /// - Note: RFC 5321 §4.1.1.2, §4.1.4; RFC 1870 §6.1; RFC 6531 §3.4, §3.5.
    mutating func checkMail(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        switch self.phase.stage {
        case .greeted: break
        case .inTransaction: return self.refuse(StandardReplies.nestedMail)
        case .connected, nil: return self.refuse(StandardReplies.helloFirst)
        }
        guard self.meter.mayBeginTransaction(self.configuration.limits) else {
            return self.close(StandardReplies.tooManyTransactions)
        }
        let path: ReversePath
        let parameters: MailParameters
        do {
            (path, parameters) = try self.parseMail(command.line.argument, octets)
        } catch {
            return self.refuse(error.reply)
        }
        return self.ask(.mail(isSMTPUTF8: parameters.isSMTPUTF8), .mail(path, parameters))
    }

    private func parseMail(
        _ argument: Range<Int>,
        _ octets: borrowing Span<UInt8>
    ) throws(SMTPRefusal) -> (path: ReversePath, parameters: MailParameters) {
        let end = argument.upperBound
        guard octets.hasPrefix("FROM:", at: argument.lowerBound, before: end) else {
            throw SMTPRefusal(StandardReplies.mailSyntax)
        }
        let path: ReversePath
        let pathEnd: Int
        do {
            let read = try self.readPath(octets, at: argument.lowerBound + 5, before: end)
            path = try ReversePath(octets, read.content)
            pathEnd = read.end
        } catch {
            throw SMTPRefusal(
                error == .tooLong ? StandardReplies.senderTooLong : StandardReplies.badSender
            )
        }
        let parameters: MailParameters
        do {
            parameters = try ParameterGrammar.mail(
                in: octets,
                pathEnd..<end,
                offered: self.configuration.extensions(in: self.security),
                takesAuth: self.configuration.commandOptions.contains(.authParameter)
            )
        } catch {
            throw SMTPRefusal(error.reply)
        }
        if let size = parameters.declaredSize,
            size > self.configuration.limits.maximumMessageOctets
        {
            throw SMTPRefusal(StandardReplies.messageTooBig)
        }
        if path.mailbox?.isNonASCII == true, !parameters.isSMTPUTF8 {
            throw SMTPRefusal(StandardReplies.senderNeedsUTF8)
        }
        return (path, parameters)
    }

    /// Reads a path behind the colon of FROM: or TO:, which must end the line or precede a space.
    func readPath(
        _ octets: borrowing Span<UInt8>,
        at start: Int,
        before end: Int
    ) throws(PathError) -> (content: PathGrammar.Content, end: Int) {
        var start = start
        let options = self.configuration.pathOptions
        if options.contains(.spaceAfterColon) {
            while start < end, octets[start].isBlank { start += 1 }
        }
        let path = try PathGrammar.path(in: octets, at: start, before: end, options: options)
        guard path.end == end || octets[path.end] == .space else { throw .syntax }
        return path
    }
}

/// A reply of ours as the reason why parsing ended.
struct SMTPRefusal: Error {
    let reply: SMTPReply

    init(_ reply: SMTPReply) {
        self.reply = reply
    }
}

extension ParameterError {
    var reply: SMTPReply {
        switch self {
        case .syntax: StandardReplies.badParameter
        case .unknown: StandardReplies.unknownParameter
        case .repeated: StandardReplies.repeatedParameter
        case .tooBig: StandardReplies.messageTooBig
        }
    }
}
