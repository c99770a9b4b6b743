import Testing

@testable import SMTPCore

/// Every event in every phase: what it says, and where the dialogue stands after it.
struct SMTPPhaseTests {
    /// A phase of each kind; the stage is `greeted` where there is one.
    enum Place: String, CaseIterable {
        case unopened, commands, line, content, chunks, dropping, handshake, noop, header, message
        case closed

        var phase: SMTPPhase {
            let reception = SMTPPhase.Reception(SMTPTransaction(isSMTPUTF8: false))
            switch self {
            case .unopened: return .unopened
            case .commands: return .listening(.commands(.greeted))
            case .line: return .listening(.line(.greeted))
            case .content: return .listening(.content(reception))
            case .chunks:
                return .listening(
                    .commands(.betweenChunks(reception.transaction, isHeaderDone: true))
                )
            case .dropping:
                let drop = SMTPPhase.Drop(StandardReplies.mailFirst, at: .greeted)
                return .listening(.dropping(drop))
            case .handshake: return .listening(.handshake)
            case .noop: return .asking(.command(.noop, .greeted))
            case .header: return .asking(.content(.headersEnd(isComplete: false), reception))
            case .message: return .asking(.content(.message, reception))
            case .closed: return .closed
            }
        }
    }

    /// An event, and what it says where it has no meaning and changes nothing.
    struct Event: Sendable {
        let name: String
        let idle: String
        /// Where it has a meaning: what it says, and the phase after it.
        let changes: [Place: (said: String, next: String)]
        let happen: @Sendable (inout SMTPPhase) -> String
    }

    static let events: [Event] = [
        Event(
            name: "connection opened",
            idle: "dropStale",
            changes: [.unopened: ("ask", "asking connect, connected")]
        ) { "\($0.connectionOpened())" },
        Event(
            name: "another client",
            idle: "false",
            changes: [.commands: ("true", "asking connect, connected")]
        ) { "\($0.clientReplaced())" },
        Event(
            name: "command checked",
            idle: "false",
            changes: [
                .commands: ("true", "asking noop, greeted"),
                .chunks: ("true", "asking noop, between chunks"),
            ]
        ) { "\($0.commandChecked(.noop))" },
        Event(
            name: "stage changed",
            idle: "",
            changes: [
                .commands: ("", "commands, connected"),
                .chunks: ("", "commands, connected"), .line: ("", "line, connected"),
                .noop: ("", "asking noop, connected"),
            ]
        ) {
            $0.stageChanged(to: .connected)
            return ""
        },
        Event(
            name: "octets arrived early",
            idle: "false",
            changes: [.unopened: ("true", "unopened"), .noop: ("true", "asking noop, greeted")]
        ) { "\($0.octetsArrivedEarly())" },
        Event(
            name: "handshake begun",
            idle: "false",
            changes: [.commands: ("true", "handshake"), .chunks: ("true", "handshake")]
        ) { "\($0.handshakeBegun())" },
        Event(
            name: "handshake done",
            idle: "false",
            changes: [.unopened: ("true", "unopened"), .handshake: ("true", "commands, connected")]
        ) { "\($0.handshakeDone())" },
        Event(
            name: "dialogue begun",
            idle: "false",
            changes: [
                .commands: ("true", "line, greeted"), .chunks: ("true", "line, betweenChunks"),
            ]
        ) { "\($0.dialogueBegun())" },
        Event(
            name: "dialogue ended with a question",
            idle: "",
            changes: [.line: ("", "asking vrfy, greeted")]
        ) {
            $0.dialogueEnded(asking: .vrfy)
            return ""
        },
        Event(
            name: "header read",
            idle: "unexpected",
            changes: [.content: ("askHeadersEnd", "asking headersEnd(isComplete: false)")]
        ) { "\($0.contentRead(.header, []))" },
        Event(
            name: "message read",
            idle: "unexpected",
            changes: [.content: ("askHeadersEnd", "asking headersEnd(isComplete: true)")]
        ) { "\($0.contentRead(.message, []))" },
        Event(
            name: "chunk begun",
            idle: "false",
            changes: [.chunks: ("true", "content")]
        ) { "\($0.chunkBegun())" },
        Event(
            name: "chunk refused",
            idle: "false",
            changes: [.commands: ("true", "dropping"), .chunks: ("true", "dropping")]
        ) { "\($0.chunkRefused(StandardReplies.messageTooBig))" },
        Event(
            name: "chunk dropped",
            idle: "",
            changes: [.dropping: ("", "commands, greeted")]
        ) {
            $0.chunkDropped()
            return ""
        },
        Event(
            name: "chunk read",
            idle: "unexpected",
            changes: [.content: ("chunkTaken", "between chunks")]
        ) { "\($0.contentRead(.chunk, []))" },
        Event(
            name: "granted",
            idle: "dropped",
            changes: [
                .noop: ("applied", "commands, greeted"), .header: ("applied", "content"),
                .message: ("applied", "commands, greeted"),
            ]
        ) { $0.answered(.granted(nil), recipients: 0) == .dropStale ? "dropped" : "applied" },
        Event(
            name: "closed by policy",
            idle: "dropped",
            changes: [
                .noop: ("applied", "closed"), .header: ("applied", "closed"),
                .message: ("applied", "closed"),
            ]
        ) {
            let outcome = SMTPOutcome.refusedThenClose(StandardReplies.deniedClosing)
            return $0.answered(outcome, recipients: 0) == .dropStale ? "dropped" : "applied"
        },
        Event(
            name: "close",
            idle: "false",
            changes: Dictionary(
                uniqueKeysWithValues: Place.allCases.dropLast().map { ($0, ("true", "closed")) }
            )
        ) { "\($0.close())" },
    ]

    @Test(arguments: events.indices, Place.allCases)
    func `an event changes the phases where it has a meaning, and no other`(
        event: Int,
        place: Place
    ) {
        let event = Self.events[event]
        var phase = place.phase
        let before = Self.name(phase)
        let said = event.happen(&phase)
        let change = event.changes[place]
        #expect(said == change?.said ?? event.idle, "\(event.name) at \(place)")
        let after = Self.name(phase)
        #expect(after == change?.next ?? before, "\(event.name) at \(place)")
    }

    private static func name(_ phase: borrowing SMTPPhase) -> String {
        switch phase {
        case .unopened: "unopened"
        case .listening(let input): self.name(input)
        case .asking(let question): self.name(question)
        case .closed: "closed"
        }
    }

    private static func name(_ input: SMTPPhase.Input) -> String {
        switch input {
        case .commands(.betweenChunks): "between chunks"
        case .commands(let stage): "commands, \(stage)"
        case .line(.betweenChunks): "line, betweenChunks"
        case .line(let stage): "line, \(stage)"
        case .content: "content"
        case .dropping: "dropping"
        case .handshake: "handshake"
        }
    }

    private static func name(_ question: SMTPPhase.Question) -> String {
        switch question {
        case .command(let question, .betweenChunks): "asking \(question), between chunks"
        case .command(let question, let stage): "asking \(question), \(stage)"
        case .content(let question, _): "asking \(question)"
        }
    }
}
