import JSON
import PolicyCore
import PolicyProtocol
import PoolCore
import SMTPCore
import SessionPlay

/// What a client may send; each has one reply.
enum Command: Equatable {
    case greeting, helo, ehlo, mail, rcpt, data, dot, rset, noop, vrfy, help, unknown, quit

    static let all: [Command] = [
        .ehlo, .ehlo, .helo, .mail, .mail, .mail, .mail, .rcpt, .rcpt, .rcpt, .rcpt, .data, .data,
        .data, .rset, .noop, .vrfy, .help, .unknown, .quit,
    ]

    func line(recipient: String) -> String {
        switch self {
        case .helo: "HELO h"
        case .ehlo: "EHLO e"
        case .mail: "MAIL FROM:<s@d>"
        case .rcpt: "RCPT TO:<\(recipient)>"
        case .data: "DATA"
        case .rset: "RSET"
        case .noop: "NOOP"
        case .vrfy: "VRFY u"
        case .help: "HELP"
        case .unknown: "WHAT"
        case .quit: "QUIT"
        case .greeting, .dot: ""
        }
    }
}

/// A session, its client, and what the simulation expects of both.
final class SimulatedSession: CustomStringConvertible {
    let number: Int
    let play: PlayedSession
    /// The pools of its route, by their place in the simulator.
    let route: [Int]
    /// Commands that were sent and have no reply yet.
    var pending: [Command] = []
    /// The recipients of the RCPTs among these, in their order.
    var asked: [String] = []
    var isSendingContent = false
    var lastCommand = Command.greeting

    /// What an ordinary client sends next.
    var nextCommand: Command {
        switch self.lastCommand {
        case .greeting: .ehlo
        case .mail: .rcpt
        case .rcpt: self.asked.count < self.number % 3 ? .rcpt : .data
        case .helo, .ehlo, .data, .dot, .rset, .noop, .vrfy, .help, .unknown, .quit: .mail
        }
    }

    var isClientGone = false
    /// Replies that have been looked at.
    var seen = 0

    /// The open ticket, its pool, and the submission that it is for.
    var ticket: (id: PoolTicket, pool: Int, submission: Int)?
    var submitted = 0
    var key: [UInt8] = []
    var lastPlace = -1

    /// Since the last reply: a worker granted what only a worker can grant.
    var isGranted = false
    /// Since the last reply: a refusal was decided; the class of its reply code if a verdict did.
    var mustRefuse = false
    var refusalClass: UInt16?
    /// A reply is held back.
    var isDelayed = false
    /// Places in the route whose workers can read the message.
    var stored: Set<Int> = []
    /// A verdict whose replacement message is being taken over.
    var edit: ModelEdit?
    /// Shadows were shown the open question and were not told yet.
    var isShadowed = false
    var sessionNotes: [String: JSONValue] = [:]
    var transactionNotes: [String: JSONValue] = [:]
    var queuePosts = 0
    var resets = 0
    /// MAIL was granted, and its transaction has not ended.
    var isMailGranted = false
    /// The hook whose answer SMTP was told last.
    var answeredHook: Hook?
    /// The recipients, as the model has them.
    var envelope: [String] = []

    init(_ number: Int, _ play: PlayedSession, route: [Int]) {
        self.number = number
        self.play = play
        self.route = route
    }

    var description: String { "\(self.number) \(self.play.wait)" }

    /// A verdict's effects on the model.
    func apply(_ edit: ModelEdit) {
        for (key, value) in edit.sessionPatch { self.sessionNotes[key] = value }
        for (key, value) in edit.transactionPatch { self.transactionNotes[key] = value }
        self.sessionNotes = self.sessionNotes.filter { $0.value != .null }
        self.transactionNotes = self.transactionNotes.filter { $0.value != .null }
    }

    /// The notes as the model has them.
    func notes(hasTransaction: Bool) -> JSONValue {
        var notes = ["session": JSONValue.object(self.sessionNotes)]
        if hasTransaction { notes["transaction"] = .object(self.transactionNotes) }
        return .object(notes)
    }
}

/// What a verdict would change.
struct ModelEdit {
    let verdict: PolicyVerdict
    let hook: Hook
    /// The place in the session's route of the pool that said it.
    let place: Int
    var sessionPatch: [String: JSONValue] = [:]
    var transactionPatch: [String: JSONValue] = [:]
    /// The recipients once it is applied.
    var envelope: [String] = []
}
