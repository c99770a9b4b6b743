import Glibc
package import PolicyKit
import System

/// Hands messages to qmail-queue: the message on descriptor 0, the envelope on descriptor 1.
///
/// See README.md.
package struct QueueQmailQueue: QueueHook {
    package static let name = "queue/qmail-queue"

    private static let usualPath = "/var/qmail/bin/qmail-queue"

    private let program: QueueProgram

    package init(configuration: PluginConfiguration) throws {
        let path = configuration.positional("path", ifFits: .programPath)
        let variable = getenv("QMAILQUEUE").map { String(cString: $0) }
        self.program = QueueProgram(
            configuration,
            path: path ?? variable.flatMap { $0.isEmpty ? nil : $0 } ?? Self.usualPath
        )
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
        let octets = Self.octets(of: envelope)
        var environment = event.programEnvironment
        environment["TCPREMOTEIP"] = event.session.client.ip
        let outcome = try await self.program.run(event, [], environment: environment) {
            let feed = try MessageFeed(message, .lf)
            // The NUL that ends the envelope comes last: without it nothing is queued.
            var rest = [octets]
            return [
                Handover.Input(number: 0) { try feed.next() },
                Handover.Input(number: 1) { rest.popLast() },
            ]
        }
        switch outcome {
        case .failed(let answer): return answer
        case .ended(let ending): return Self.answer(ending, queueID: event.queueID)
        }
    }

    /// `F` and the sender, `T` and each recipient, each with a NUL, and another NUL.
    static func octets(of envelope: ProgramEnvelope) -> [UInt8] {
        var octets = [UInt8(ascii: "F")] + envelope.sender + [0]
        for recipient in envelope.recipients {
            octets += [UInt8(ascii: "T")] + recipient.address.octets + [0]
        }
        return octets + [0]
    }

    /// What qmail-queue(8) means: 11 to 40 are for good, the others for now.
    static func answer(_ ending: Handover.Ending, queueID: String) -> Answer {
        switch ending.code {
        case 0 where ending.hasTakenAll:
            .ok("queued as \(queueID)", code: 250, status: "2.0.0")

        case 11: .deny("The envelope address is too long", code: 554, status: "5.1.3")
        case 31: .deny("The mail server refuses the message", code: 554, status: "5.3.0")
        case 12...40:
            .deny("The message was refused (\(ending.code))", code: 554, status: "5.3.0")

        case 51: .denysoft("Out of memory", code: 451, status: "4.3.0")
        case 52: .denysoft("Timeout", code: 451, status: "4.3.0")
        case 53: .denysoft("The disk is full or cannot be written", code: 451, status: "4.3.0")
        case 54: .denysoft("The message could not be read", code: 451, status: "4.3.0")
        case 55, 56, 61...66:
            .denysoft("The mail queue cannot be used (\(ending.code))", code: 451, status: "4.3.0")

        case 71:
            .denysoft("The mail server refuses the message for now", code: 451, status: "4.3.0")
        case 72:
            .denysoft("The connection to the mail server timed out", code: 451, status: "4.4.1")
        case 73: .denysoft("The mail server does not answer", code: 451, status: "4.4.1")
        case 74: .denysoft("The connection to the mail server broke", code: 451, status: "4.4.2")
        default: QueueProgram.tryAgain
        }
    }
}

extension ArgumentType<String> {
    /// A path with a slash in it, so that no name of an argument is taken for one.
    static var programPath: Self {
        Self("the path of a program") { $0.contains("/") ? $0 : nil }
    }
}
