extension SMTPClientMachine {
    // MARK: The content

    /// The hop took the recipients: `DATA` waits for its 354, a chunk for nothing.
    mutating func beginContent(_ recipients: Recipients) -> Action {
        switch recipients.form {
        case .lines:
            self.phase = .saidData(recipients)
            return .write(Array("DATA\r\n".utf8))

        case .chunk:
            self.phase = .sendingContent(recipients)
            return .goAhead(.chunk)
        }
    }

    // MARK: After the content

    mutating func contentAnswered(
        _ replies: [SMTPServerReply],
        _ recipients: Recipients
    ) -> Action {
        guard let last = replies.last else { return .none }
        switch self.dialect {
        case .smtp:
            let outcome =
                last.isPositive
                ? NextHopOutcome.accepted(last, refused: recipients.refused, left: recipients.left)
                : .refused(last)
            return self.finish(outcome, after: last)

        case .lmtp where replies.count == recipients.taken.count:
            return self.finish(self.copiesAnswered(replies, recipients), after: last)

        case .lmtp where last.code == 421 && recipients.hearsEach:
            return self.copiesUnanswered(replies, recipients)

        case .lmtp where last.code == 421:  // it closes, and the other copies have no answer
            self.phase = .closed
            return .fail(SMTPForwardError(.closed, "421 after the content"))

        case .lmtp:
            self.phase = .saidEnd(recipients, replies)
            return .none
        }
    }

    /// The connection ended between the replies for the single copies: the others are for now.
    mutating func copiesUnanswered(
        _ replies: [SMTPServerReply],
        _ recipients: Recipients
    ) -> Action {
        let text = Array("4.4.2 The connection to the next mail server broke".utf8)
        let missing = SMTPServerReply(code: 451, lines: [text])
        let count = max(0, recipients.taken.count - replies.count)
        self.phase = .closed
        return .completedThenClose(
            self.copiesAnswered(replies + Array(repeating: missing, count: count), recipients)
        )
    }

    /// What the replies for the single copies mean together.
    ///
    /// Where our client hears one reply, one copy that is not there is a refusal, though others are.
    private func copiesAnswered(
        _ replies: [SMTPServerReply],
        _ recipients: Recipients
    ) -> NextHopOutcome {
        let refused = zip(recipients.taken, replies).filter { !$0.1.isPositive }
            .map { NextHopRefusal(recipient: $0.0, reply: $0.1) }
        let copies = replies.filter(\.isPositive)
        guard let copy = copies.last else {
            return .recipientsRefused(refused + recipients.refused)
        }
        guard self.mayGoWithout(refused, recipients) else {
            return .copiesRefused(refused, taken: copies.count)
        }
        return .accepted(copy, refused: recipients.refused + refused, left: recipients.left)
    }

    // MARK: Ends

    mutating func reset(_ outcome: NextHopOutcome) -> Action {
        if case .refused(let reply) = outcome, reply.code == 421 {
            self.phase = .closed
            return .completedThenClose(outcome)
        }
        self.phase = .resetting
        return .completedWriting(outcome, Array("RSET\r\n".utf8))
    }

    private mutating func finish(_ outcome: NextHopOutcome, after reply: SMTPServerReply) -> Action
    {
        if reply.code == 421 {
            self.phase = .closed
            return .completedThenClose(outcome)
        }
        self.phase = .idle
        return .completed(outcome)
    }

    mutating func confused(_ place: String, _ reply: SMTPServerReply) -> Action {
        self.phase = .closed
        return .fail(SMTPForwardError(.malformed, "\(reply.code) \(place)"))
    }
}
