extension SMTPClientMachine {
    // MARK: One command at a time

    mutating func commandAnswered(_ reply: SMTPServerReply) -> Action {
        guard reply.replyClass != 3 else { return self.confused("in the envelope", reply) }
        if reply.code == 421 {
            self.phase = .closed
            return .answeredThenClose(reply)
        }
        switch self.phase {
        case .saidMail(let envelope):
            self.wasMailAccepted = reply.isPositive
            let recipients = Recipients(of: envelope)
            self.phase = reply.isPositive ? .open(envelope, recipients) : .idle

        case .saidRcpt(let envelope, var recipients, let recipient):
            if reply.isPositive { recipients.taken.append(recipient) }
            self.phase = .open(envelope, recipients)

        default: break
        }
        return .answered(reply)
    }

    // MARK: Envelope

    mutating func envelopeReplyReceived(
        _ reply: SMTPServerReply,
        _ before: Progress
    ) -> Action {
        guard reply.replyClass != 3 else { return self.confused("in the envelope", reply) }
        var progress = before
        progress.replies.append(reply)
        if progress.replies.count == 1 { self.wasMailAccepted = reply.isPositive }
        if reply.code == 421 {  // it closes, and what was pipelined gets no answer
            self.phase = .closed
            return .completedThenClose(.refused(reply))
        }
        if !self.wasMailAccepted { progress.unsent = [] }
        if let command = progress.unsent.popFirst() {
            self.phase = .sendingEnvelope(progress)
            return .write(command)
        }
        let isPipelined = self.capabilities.hasPipelining
        let expected =
            isPipelined || self.wasMailAccepted ? progress.envelope.recipients.count + 1 : 1
        guard progress.replies.count >= expected else {
            self.phase = .sendingEnvelope(progress)
            return .none
        }
        return self.envelopeAnswered(progress)
    }

    private mutating func envelopeAnswered(_ progress: Progress) -> Action {
        guard let mail = progress.replies.first, mail.isPositive else {
            self.phase = .idle
            return .completed(progress.replies.first.map { .refused($0) } ?? .recipientsRefused([]))
        }
        var recipients = Recipients(of: progress.envelope)
        for (recipient, reply) in zip(progress.envelope.recipients, progress.replies.dropFirst()) {
            guard !reply.isPositive else {
                recipients.taken.append(recipient)
                continue
            }
            if reply.isTooManyRecipients { recipients.left.append(recipient) }
            recipients.refused.append(NextHopRefusal(recipient: recipient, reply: reply))
        }
        let someAccepted = recipients.refused.count < progress.envelope.recipients.count
        guard someAccepted else { return self.reset(.recipientsRefused(recipients.refused)) }
        recipients.refused.removeAll { $0.reply.isTooManyRecipients }
        guard self.mayGoWithout(recipients.refused, recipients) else {
            return self.reset(.recipientsRefused(recipients.refused))
        }
        return self.beginContent(recipients)
    }

    /// Whether the message may be delivered although these recipients get no copy.
    func mayGoWithout(_ refused: [NextHopRefusal], _ recipients: Recipients) -> Bool {
        refused.isEmpty || recipients.hearsEach
            || self.deliversPartially && refused.allSatisfy { $0.reply.replyClass == 5 }
    }
}
