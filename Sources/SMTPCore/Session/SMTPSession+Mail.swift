import Octets

extension SMTPSession {
    /// MAIL: begins a transaction.
    ///
    /// - Note: RFC 5321 §4.1.1.2, §4.1.4; RFC 1870 §6.1; RFC 6531 §3.4, §3.5; RFC 4865.
    mutating func checkMail(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        switch self.phase.stage {
        case .greeted: break
        case .inTransaction, .betweenChunks: return self.refuse(StandardReplies.nestedMail)
        case .connected, nil: return self.refuse(self.configuration.helloFirst)
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
        let transaction = SMTPTransaction(
            isSMTPUTF8: parameters.isSMTPUTF8,
            isBinary: parameters.body == .binaryMIME,
            isAnsweredEach: self.configuration.isLMTP,
            isPRDR: parameters.isPRDR && !self.configuration.isLMTP
        )
        return self.ask(.mail(transaction), .mail(path, parameters))
    }

    private func parseMail(
        _ argument: Range<Int>,
        _ octets: borrowing Span<UInt8>
    ) throws(SMTPRefusal) -> (path: ReversePath, parameters: MailParameters) {
        let (path, pathEnd) = try self.readPath(of: ReversePath.self, argument, octets)
        var offered = self.configuration.extensions(in: self.security)
        if self.futureRelease == nil { offered.remove(.futureRelease) }
        let parameters: MailParameters
        do {
            parameters = try ParameterGrammar.mail(
                in: octets,
                pathEnd..<argument.upperBound,
                offered: offered,
                auth: self.configuration.authParameter(in: self.security)
            )
        } catch {
            throw SMTPRefusal(error.reply)
        }
        if let size = parameters.declaredSize,
            size > self.configuration.limits.maximumMessageOctets
        {
            throw SMTPRefusal(StandardReplies.messageTooBig)
        }
        if let wish = parameters.futureRelease, self.futureRelease?.allows(wish) != true {
            throw SMTPRefusal(StandardReplies.releaseOutOfRange)
        }
        if path.mailbox?.isNonASCII == true, !parameters.isSMTPUTF8 {
            throw SMTPRefusal(StandardReplies.senderNeedsUTF8)
        }
        return (path, parameters)
    }
}
