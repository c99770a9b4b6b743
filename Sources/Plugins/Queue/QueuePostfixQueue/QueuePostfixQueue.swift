package import PolicyKit
import System

/// Hands messages to Postfix by its sendmail command.
///
/// See README.md.
package struct QueuePostfixQueue: QueueHook {
    package static let name = "queue/postfix-queue"

    private let program: QueueProgram
    private let folder: String?

    package init(configuration: PluginConfiguration) throws {
        let path = configuration.positional("sendmail", ifFits: .programPath)
        if let path, path.hasSuffix("cleanup") || path.contains("public/") {
            throw PluginError(
                "\(path) is a socket of Postfix's cleanup, whose protocol is its own and changes with its version: "
                    + "name its sendmail command, or nothing"
            )
        }
        for flag in configuration.words(Set(Self.flags)).sorted() {
            configuration.warn(
                "\(flag.uppercased()) is for Postfix's cleanup and means nothing here"
            )
        }
        self.folder = configuration.argument("config", as: .text).map {
            configuration.resolve(path: $0)
        }
        self.program = QueueProgram(configuration, path: path ?? "/usr/sbin/sendmail")
    }

    /// What qpsmtpd's plugin took.
    private static let flags = [
        "flag_filter", "flag_bcc_ok", "flag_map_ok", "flag_internal", "flag_bounce", "flag_hold",
        "flag_smtp_reply",
    ]

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        do {
            let envelope = try ProgramEnvelope(event)
            let words = try self.words(envelope, event.transaction.sender)
            let message = try event.message
            let outcome = try await self.program.run(event, words) {
                let feed = try MessageFeed(message, .lf)
                return [Handover.Input(number: 0) { try feed.next() }]
            }
            switch outcome {
            case .failed(let answer): return answer
            case .ended(let ending):
                // What it writes is for the machine's own users.
                return ProgramReply.answer(ending.withoutWords, queueID: event.queueID)
            }
        } catch ProgramEnvelope.Obstacle.refused(let answer) {
            return answer
        }
    }

    /// The arguments: `-G` as a gateway (no address is rewritten), `-i` so that a dot alone ends nothing.
    func words(_ envelope: ProgramEnvelope, _ sender: Sender) throws -> [String] {
        var words = self.folder.map { ["-C", $0] } ?? []
        words += ["-G", "-i", "-f", try ProgramEnvelope.word(envelope.sender)]
        if let ret = Self.value(of: "RET", in: sender.params) {
            words += ["-R", ret.lowercased()]
        }
        // One -N is for all recipients.
        let wishes = Set(envelope.recipients.map { Self.value(of: "NOTIFY", in: $0.params) })
        if wishes.count == 1, case let wish?? = wishes.first {
            words += ["-N", wish.lowercased()]
        }
        return try words + ["--"]
            + envelope.recipients.map { try ProgramEnvelope.word($0.address.octets) }
    }

    private static func value(of keyword: String, in params: [ESMTPParameter]) -> String? {
        let value = params.first { $0.keyword == keyword }?.value?.string
        return value.flatMap { word in
            word.utf8.allSatisfy { 0x61...0x7A ~= $0 | 0x20 || $0 == 0x2C } ? word : nil
        }
    }
}
