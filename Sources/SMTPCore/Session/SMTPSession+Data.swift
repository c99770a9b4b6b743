extension SMTPSession {
    /// DATA: what follows the 354 is content until its true end.
    ///
    /// A client that sent octets after DATA without waiting sent content. When DATA is refused
    /// they must not run as commands, so the session ends with the refusal. When it could be granted,
    /// the session ends too, unless the listener takes early content.
    ///
    /// - Note: RFC 5321 §3.3, §4.1.1.4; RFC 2920 §3.1.
    mutating func checkData(_ command: Command) -> SMTPAction {
        if let reply = self.refusalOfData(command) {
            // A client that pipelines could not know that policy refused every recipient.
            let isBlameless = reply == self.configuration.noValidRecipients
            guard command.hasMore else { return isBlameless ? .reply(reply) : self.refuse(reply) }
            self.meter.errorMade()
            return self.close(reply)
        }
        if command.hasMore, !self.takesEarlyContent { return self.refuseEarlyContent() }
        return self.ask(.data(hasEarlyContent: command.hasMore), .data)
    }

    var takesEarlyContent: Bool {
        self.configuration.commandOptions.contains(.earlyContent)
    }

    mutating func refuseEarlyContent() -> SMTPAction {
        self.meter.errorMade()
        return self.close(StandardReplies.contentBeforeReply)
    }

    private func refusalOfData(_ command: Command) -> SMTPReply? {
        guard command.line.argument.isEmpty else { return StandardReplies.noArgumentAllowed }
        switch self.phase.stage {
        case .betweenChunks: return StandardReplies.dataBehindChunk
        case .inTransaction(let transaction):
            guard !transaction.isBinary else { return StandardReplies.binaryNeedsChunks }
            guard transaction.recipients == 0 else { return nil }
            return transaction.hasRefusedRecipients
                ? self.configuration.noValidRecipients : StandardReplies.recipientFirst
        case .greeted: return StandardReplies.mailFirst
        case .connected, nil: return self.configuration.helloFirst
        }
    }
}
