package import PolicyKit
import System

/// Hands messages to Exim as a batch of SMTP commands on standard input (`-bS`).
///
/// See README.md.
package struct QueueEximBSMTP: QueueHook {
    package static let name = "queue/exim-bsmtp"

    private let program: QueueProgram

    package init(configuration: PluginConfiguration) throws {
        let path = configuration.argument("exim_path", as: .text, default: "/usr/sbin/rsmtp")
        self.program = QueueProgram(configuration, path: path)
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        let envelope: ProgramEnvelope
        do {
            envelope = try ProgramEnvelope(event)
        } catch ProgramEnvelope.Obstacle.refused(let answer) {
            return answer
        }
        let message = try event.message
        let commands = Self.commands(envelope, event.transaction.sender)
        let outcome = try await self.program.run(event, ["-bS"]) {
            // Exim accepts at the final dot, which is the last that it gets.
            let feed = try MessageFeed(message, .smtp, after: commands)
            return [Handover.Input(number: 0) { try feed.next() }]
        }
        switch outcome {
        case .failed(let answer): return answer
        case .ended(let ending): return Self.answer(ending, queueID: event.queueID)
        }
    }

    /// The lines before the content.
    static func commands(_ envelope: ProgramEnvelope, _ sender: Sender) -> [UInt8] {
        var octets = Array("MAIL FROM:<".utf8) + envelope.sender + Array(">".utf8)
        let isUTF8 = sender.params.contains { $0.keyword == "SMTPUTF8" }
        if isUTF8 { octets += Array(" SMTPUTF8".utf8) }
        octets += [0x0D, 0x0A]
        for recipient in envelope.recipients {
            octets += Array("RCPT TO:<".utf8) + recipient.address.octets + Array(">\r\n".utf8)
        }
        return octets + Array("DATA\r\n".utf8)
    }

    /// Exim says nothing if all is well.
    ///
    /// Else its exit code is 2, and its first line is a reply.
    ///
    /// Exit code 1 is said to mean that a message was taken before an error, but is also that of failures before
    /// any, such as a full disk: it is no acceptance.
    static func answer(_ ending: Handover.Ending, queueID: String) -> Answer {
        switch ending.code {
        case 0 where ending.hasTakenAll:
            return .ok("queued as \(queueID)", code: 250, status: "2.0.0")

        case 2: return Self.refusal(ProgramReply.lines(of: ending.output).first ?? "")
        default: return QueueProgram.tryAgain
        }
    }

    /// `554 Unexpected end of file`: its class stays, and its code where it means the same to our client.
    private static func refusal(_ line: String) -> Answer {
        let digits = line.prefix(3)
        guard
            line.utf8.count == 3 || line.dropFirst(3).first.map({ $0 == " " || $0 == "-" }) == true,
            let code = Int(digits), 400...599 ~= code
        else { return QueueProgram.tryAgain }
        let isPermanent = code >= 500
        let own = [450, 451, 452, 550, 552, 553, 554].contains(code)
        var words = line.dropFirst(4)
        let status = ProgramReply.status(of: String(words))
            .flatMap { $0.hasPrefix("\(code / 100)") ? $0 : nil }
        if let status { words = words.dropFirst(status.count).drop { $0 == " " } }
        return Answer(
            isPermanent ? .deny : .denysoft,
            PolicyReply(
                code: own ? code : isPermanent ? 554 : 451,
                status: status ?? (isPermanent ? "5.3.0" : "4.3.0"),
                fitting: [words.isEmpty ? Array("refused by Exim".utf8) : Array(words.utf8)]
            )
        )
    }
}
