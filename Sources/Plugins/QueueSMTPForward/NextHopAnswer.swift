import PolicyKit

/// What the client is told of what the next hop said: its class always, its code and words as far
/// as they can be passed on.
enum NextHopAnswer {
    /// Codes that mean the same when said to our client at the end of data; others (421, 530, …)
    /// are about the hop's connection with us.
    private static let ownCodes: Set<Int> = [450, 451, 452, 455, 550, 551, 552, 553, 554, 555, 556]
    /// The most lines passed on, and the longest.
    private static let maximumLines = 10
    private static let maximumLineOctets = 400

    static func answer(_ delivery: SMTPDelivery, queueID: String) -> Answer {
        switch delivery {
        case .impossible(let obstacle): self.answer(obstacle)
        case .attempted(.accepted): .ok("queued as \(queueID)", code: 250, status: "2.0.0")
        case .attempted(.refused(let reply)): self.refusal(reply, prefix: "")
        case .attempted(.recipientsRefused(let refusals)): self.refusal(of: refusals)
        }
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
        }
    }

    static func answer(_ error: SMTPForwardError) -> Answer {
        switch error.code {
        case .unreachable, .busy:
            .denysoft("The next mail server cannot be reached", code: 451, status: "4.4.1")
        case .closed, .timedOut:
            .denysoft("The connection to the next mail server broke", code: 451, status: "4.4.2")
        case .bareNewline:
            .deny("The message has a bare CR or LF", code: 554, status: "5.6.0")
        case .malformed:
            .denysoft("The next mail server does not speak SMTP", code: 451, status: "4.5.0")
        }
    }

    /// One answer for all: for good only if every refusal is for good.
    private static func refusal(of refusals: [SMTPRefusal]) -> Answer {
        let refusal = refusals.first { $0.reply.replyClass != 5 } ?? refusals.first
        guard let refusal else {
            return .denysoft("The next mail server took no recipient", code: 451, status: "4.3.0")
        }
        return self.refusal(refusal.reply, prefix: "<\(self.printable(refusal.recipient))>: ")
    }

    private static func refusal(_ reply: SMTPServerReply, prefix: String) -> Answer {
        let isPermanent = reply.replyClass == 5
        let code = self.ownCodes.contains(reply.code) ? reply.code : isPermanent ? 554 : 451
        var lines = reply.lines.prefix(Self.maximumLines).map { self.printable($0) }
        let status = lines.first.flatMap { self.status($0, replyClass: isPermanent ? "5" : "4") }
        if let status {
            lines = lines.map { line in
                line.hasPrefix(status)
                    ? String(line.dropFirst(status.count).drop { $0 == " " }) : line
            }
        }
        lines.removeAll { $0.isEmpty }
        if lines.isEmpty { lines = ["refused by the next mail server"] }
        lines[0] = prefix + lines[0]
        return Answer(
            isPermanent ? .deny : .denysoft,
            PolicyReply(
                code: code,
                status: status ?? (isPermanent ? "5.0.0" : "4.0.0"),
                text: lines
            )
        )
    }

    /// The enhanced status code that the text begins with, if it has this class (RFC 2034 §4).
    private static func status(_ line: String, replyClass: String) -> String? {
        let word = line.prefix { $0 != " " }
        let parts = word.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == replyClass,
            parts.dropFirst().allSatisfy({ part in
                (1...3).contains(part.utf8.count) && part.utf8.allSatisfy { 0x30...0x39 ~= $0 }
            })
        else { return nil }
        return String(word)
    }

    /// Printable ASCII of a limited length; what is not becomes `?`.
    private static func printable(_ octets: [UInt8]) -> String {
        let ascii = octets.prefix(Self.maximumLineOctets).map { 0x20...0x7E ~= $0 ? $0 : 0x3F }
        return String(decoding: ascii, as: UTF8.self)
    }
}
