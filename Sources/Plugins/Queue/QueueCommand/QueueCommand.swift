package import PolicyKit
import System

/// Hands messages to a program of the operator's: the message on standard input, the envelope in its
/// arguments and environment.
///
/// See README.md.
package struct QueueCommand: QueueHook {
    package static let name = "queue/command"

    private let template: CommandTemplate
    private let program: QueueProgram
    private let isForEach: Bool
    private let lineEnds: MaildirLineEnds
    private let saysWords: Bool

    package init(configuration: PluginConfiguration) throws {
        let text = try configuration.requiredPositional("command", as: .text)
        self.isForEach = configuration.argument("each", as: .flag, default: false)
        self.lineEnds = configuration.argument("line_ends", as: .choice, default: .lf)
        self.saysWords = configuration.argument("output", as: .flag, default: true)
        guard let template = CommandTemplate(text, isForEach: self.isForEach) else {
            throw PluginError(
                "\(text) is no command: write the path of a program and its words, with %s for the sender and, as a "
                    + "word of its own, %r for the recipients; %% is a percent sign, 'a b' is one word"
            )
        }
        self.template = template
        self.program = QueueProgram(configuration, path: template.program)
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        do {
            let envelope = try ProgramEnvelope(event)
            guard self.isForEach else { return try await self.run(event, envelope.recipients) }
            return try await self.runForEach(event, envelope.recipients)
        } catch ProgramEnvelope.Obstacle.refused(let answer) {
            return answer
        }
    }

    /// One run after the other.
    ///
    /// A client that hears one reply for all hears the first refusal.
    private func runForEach(
        _ event: QueueEvent,
        _ recipients: [Recipient]
    ) async throws -> Answer {
        var refusals: [Answer] = []
        for recipient in recipients {
            let answer: Answer
            do {
                answer = try await self.run(event, [recipient])
            } catch ProgramEnvelope.Obstacle.refused(let refusal) {
                answer = refusal
            }
            guard answer.verdict != .ok else { continue }
            guard event.transaction.repliesEach else { return answer }
            event.refuseRecipient(recipient, answer)
            refusals.append(answer)
        }
        guard refusals.count == recipients.count,
            let answer = refusals.first(where: { $0.verdict == .denysoft }) ?? refusals.first
        else { return .ok("queued as \(event.queueID)", code: 250, status: "2.0.0") }
        return answer
    }

    private func run(_ event: QueueEvent, _ recipients: [Recipient]) async throws -> Answer {
        let sender = try ProgramEnvelope.word(event.transaction.sender.address.octets)
        let addresses = try recipients.map { try ProgramEnvelope.word($0.address.octets) }
        let isOption =
            self.template.isOption(sender, in: .sender)
            || addresses.contains { self.template.isOption($0, in: .recipient) }
        guard !isOption else {
            return .deny("The address begins with a hyphen", code: 553, status: "5.1.3")
        }
        var environment = event.programEnvironment
        environment["SENDER"] = sender
        environment["RECIPIENT"] = addresses.count == 1 ? addresses[0] : nil
        environment["QUEUE_ID"] = event.queueID
        let message = try event.message
        let form: MessageFeed.Form = self.lineEnds == .lf ? .lf : .crlf
        let outcome = try await self.program.run(
            event,
            self.template.arguments(
                sender: sender,
                recipients: addresses,
                queueID: event.queueID
            ),
            environment: environment
        ) {
            let feed = try MessageFeed(message, form)
            return [Handover.Input(number: 0) { try feed.next() }]
        }
        switch outcome {
        case .failed(let answer): return answer
        case .ended(let ending):
            return self.saysWords
                ? ProgramReply.answer(ending, queueID: event.queueID)
                : ProgramReply.answer(ending.withoutWords, queueID: event.queueID)
        }
    }
}
