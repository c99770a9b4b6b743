import PolicyKit

/// What the client is told of what the next hop said: its class always, its code and words as far
/// as they can be passed on.
enum NextHopAnswer {
    /// Codes that mean the same when said to our client at the end of data; others (421, 530, …)
    /// are about the hop's connection with us.
    private static let ownCodes: Set<Int> = [450, 451, 452, 455, 550, 551, 552, 553, 554, 555, 556]
    /// The most lines passed on.
    private static let maximumLines = 10

    static func answer(_ report: NextHopReport, queueID: String) -> Answer {
        guard let failure = report.failure else {
            return .ok("queued as \(queueID)", code: 250, status: "2.0.0")
        }
        return self.answer(failure.reason)
    }

    static func answer(_ reason: NextHopReport.Failure.Reason) -> Answer {
        switch reason {
        case .error(let error): self.answer(error)
        case .refusal(.impossible(let obstacle)): self.answer(obstacle)
        case .refusal(.attempted(.refused(let reply))): self.refusal(reply, prefix: "")
        case .refusal(.attempted(.recipientsRefused(let refusals))),
            .refusal(.attempted(.copiesRefused(let refusals, _))):
            self.refusal(of: refusals)
        // An acceptance is no failure.
        case .refusal(.attempted(.accepted)): .denysoft
        }
    }

    /// Refuses each recipient without a copy, for a client that hears of each.
    ///
    /// - Returns: What the others get. If there are none, the first refusal that is for now, else the first.
    static func answerEach(_ reports: [NextHopReport], _ event: QueueHook.QueueEvent) -> Answer {
        var answers: [[UInt8]: Answer] = [:]
        for report in reports {
            if let failure = report.failure {
                let answer = self.answer(report, queueID: event.queueID)
                for recipient in failure.recipients { answers[recipient] = answer }
            }
            for refusal in report.refused + (report.failure?.refusals ?? []) {
                answers[refusal.recipient] = self.refusal(refusal.reply, prefix: "")
            }
        }
        // A recipient that is refused here leaves the event's list.
        let recipients = event.recipients
        let refused = recipients.compactMap { recipient in
            answers[recipient.address.octets].map { (recipient, $0) }
        }
        for (recipient, answer) in refused { event.refuseRecipient(recipient, answer) }
        let all = refused.map(\.1)
        guard all.count == recipients.count,
            let answer = all.first(where: { $0.verdict == .denysoft }) ?? all.first
        else { return .ok("queued as \(event.queueID)", code: 250, status: "2.0.0") }
        return answer
    }

    private static func answer(_ obstacle: SMTPObstacle) -> Answer {
        switch obstacle {
        case .size:
            .deny("Message too big for the next mail server", code: 552, status: "5.3.4")
        case .address:  // RFC 6531 §3.5
            .deny("The next mail server knows no such addresses", code: 553, status: "5.6.7")
        case .header:
            .deny("The next mail server knows no such header", code: 554, status: "5.6.9")
        case .content:  // RFC 6152 §3
            .deny("The next mail server takes no 8-bit content", code: 554, status: "5.6.3")
        case .encryption:  // RFC 8689 §4.1
            .deny("REQUIRETLS needs TLS to the next mail server", code: 550, status: "5.7.30")
        case .binary:  // RFC 3030 §3
            .deny("The next mail server takes no binary content", code: 554, status: "5.6.3")
        case .futureRelease:  // RFC 3463 §3.4: what the message needs, the system does not have
            .deny("The next mail server holds no messages", code: 554, status: "5.3.3")
        }
    }

    private static func answer(_ error: SMTPForwardError) -> Answer {
        switch error.code {
        case .unreachable, .busy:
            .denysoft("The next mail server cannot be reached", code: 451, status: "4.4.1")
        case .closed, .timedOut:
            .denysoft("The connection to the next mail server broke", code: 451, status: "4.4.2")
        case .bareNewline:
            .deny("The message has a bare CR or LF", code: 554, status: "5.6.0")
        case .hiddenEnd:
            .deny("A line with NUL may pass for the end of the message", code: 554, status: "5.6.0")
        case .encryption:
            .denysoft("No secure connection to the next mail server", code: 451, status: "4.7.5")
        case .login:
            .denysoft("No login at the next mail server", code: 451, status: "4.3.5")
        case .malformed:
            .denysoft("The next mail server does not speak SMTP", code: 451, status: "4.5.0")
        }
    }

    /// One answer for all: for good only if every refusal is for good.
    static func refusal(of refusals: [NextHopRefusal]) -> Answer {
        let refusal = refusals.first { $0.reply.replyClass != 5 } ?? refusals.first
        guard let refusal else {
            return .denysoft("The next mail server took no recipient", code: 451, status: "4.3.0")
        }
        let recipient = String(decoding: refusal.recipient, as: UTF8.self)
        return self.refusal(refusal.reply, prefix: "<\(recipient)>: ")
    }

    /// A refusal in the hop's words.
    static func refusal(_ reply: SMTPServerReply, prefix: String = "") -> Answer {
        let isPermanent = reply.replyClass == 5
        let code = self.ownCodes.contains(reply.code) ? reply.code : isPermanent ? 554 : 451
        return Answer(isPermanent ? .deny : .denysoft, self.reply(reply, code, prefix))
    }

    /// An acceptance in the hop's words.
    static func acceptance(_ reply: SMTPServerReply, codes: Set<Int> = [250]) -> Answer {
        Answer(.ok, self.reply(reply, codes.contains(reply.code) ? reply.code : 250, ""))
    }

    private static func reply(
        _ reply: SMTPServerReply,
        _ code: Int,
        _ prefix: String
    ) -> PolicyReply {
        // A status of another class is text like any other.
        let status = reply.status.flatMap { $0.hasPrefix("\(code / 100)") ? $0 : nil } ?? ""
        var lines = reply.lines.prefix(Self.maximumLines).map { line in
            line.starts(with: status.utf8)
                ? line.dropFirst(status.utf8.count).drop { $0 == 0x20 } : line[...]
        }
        lines.removeAll { $0.isEmpty }
        if lines.isEmpty {
            let word = code / 100 == 2 ? "taken" : "refused"
            lines = [Array("\(word) by the next mail server".utf8)[...]]
        }
        lines[0] = prefix.utf8 + lines[0]
        return PolicyReply(code: code, status: status, fitting: lines)
    }
}
