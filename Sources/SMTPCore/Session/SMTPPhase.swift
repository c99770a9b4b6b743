/// Where the dialogue stands, and what is known there.
///
/// Each case carries only what exists in it. Every event consumes the phase and puts one back.
enum SMTPPhase: ~Copyable {
    /// The connection is not yet told of.
    case unopened
    /// Waiting for a command.
    case ready(Stage)
    /// Policy is asked about a command; octets that arrive meanwhile are kept, not parsed.
    case asking(OpenQuestion, Stage)
    /// Message content arrives.
    case receiving(Reception)
    /// Policy is asked about the content; the rest of it waits.
    case askingOnContent(ContentQuestion, Reception)
    case closed

    /// How far the dialogue has come.
    enum Stage: Equatable {
        /// Neither HELO nor EHLO was granted.
        case connected
        case greeted
        case inTransaction(SMTPTransaction)

        var isGreeted: Bool { self != .connected }

        var isInTransaction: Bool {
            switch self {
            case .inTransaction: true
            case .connected, .greeted: false
            }
        }
    }

    /// The command that policy is asked about, with what its grant will need.
    enum OpenQuestion: Equatable {
        case connect
        case helo
        case ehlo
        case mail(isSMTPUTF8: Bool)
        case rcpt
        /// `hasEarlyContent`: the client sent octets before it had the 354.
        case data(hasEarlyContent: Bool)
        case vrfy
        case help
        case noop
        case quit
        case unrecognized

        /// Octets that arrive while this is open came too early.
        ///
        /// RFC 2920 §3.1.
        var isLastInGroup: Bool {
            switch self {
            case .connect, .helo, .ehlo, .data, .vrfy, .noop, .quit: true
            case .mail, .rcpt, .help, .unrecognized: false
            }
        }
    }

    enum ContentQuestion: Equatable {
        /// `isComplete`: the message ended with its header, and is asked about next.
        case headersEnd(isComplete: Bool)
        case message
    }

    /// A message on its way in.
    struct Reception {
        let transaction: SMTPTransaction
        var scanner: SMTPDataScanner
        /// The refusal that policy gave at the end of the header; the rest is read and dropped.
        var refusal: SMTPReply?
        /// Whether the end of the header was asked about, or is past asking.
        var isHeaderDone = false

        init(_ transaction: SMTPTransaction, _ configuration: SMTPConfiguration) {
            self.transaction = transaction
            self.scanner = SMTPDataScanner(
                limits: configuration.limits,
                bareNewline: configuration.bareNewline
            )
        }

        /// Nothing more of the message is kept.
        var isDiscarding: Bool { self.refusal != nil || !self.scanner.faults.isEmpty }
    }
}

// MARK: - Views

extension SMTPPhase {
    /// The stage before whatever is going on, or `nil` if the session is over or has not begun.
    var stage: Stage? {
        switch self {
        case .ready(let stage): stage
        case .asking(_, let stage): stage
        case .receiving(let reception): .inTransaction(reception.transaction)
        case .askingOnContent(_, let reception): .inTransaction(reception.transaction)
        case .unopened: nil
        case .closed: nil
        }
    }

    var wait: SMTPWait {
        switch self {
        case .ready: .command
        case .receiving: .content
        case .asking: .answer
        case .askingOnContent: .answer
        case .unopened: .nothing
        case .closed: .nothing
        }
    }

    var isDiscarding: Bool {
        switch self {
        case .receiving(let reception): reception.isDiscarding
        case .askingOnContent(_, let reception): reception.isDiscarding
        case .unopened: false
        case .ready: false
        case .asking: false
        case .closed: false
        }
    }
}

// MARK: - The connection opened, or is over

extension SMTPPhase {
    enum OpenAction: Equatable {
        case ask
        case dropStale
    }

    mutating func connectionOpened() -> OpenAction {
        switch consume self {
        case .unopened:
            self = .asking(.connect, .connected)
            return .ask

        case .ready(let stage):
            self = .ready(stage)
            return .dropStale

        case .asking(let question, let stage):
            self = .asking(question, stage)
            return .dropStale

        case .receiving(let reception):
            self = .receiving(reception)
            return .dropStale

        case .askingOnContent(let question, let reception):
            self = .askingOnContent(question, reception)
            return .dropStale

        case .closed:
            self = .closed
            return .dropStale
        }
    }

    /// The session is over, whatever was going on.
    ///
    /// `false` if it was before.
    mutating func close() -> Bool {
        let wasOpen =
            switch self {
            case .unopened: true
            case .ready: true
            case .asking: true
            case .receiving: true
            case .askingOnContent: true
            case .closed: false
            }
        self = .closed
        return wasOpen
    }
}

// MARK: - A command passed its check

extension SMTPPhase {
    /// Policy is asked.
    ///
    /// `false`, and nothing changes, unless a command was being waited for.
    mutating func commandChecked(_ question: OpenQuestion) -> Bool {
        switch consume self {
        case .ready(let stage):
            self = .asking(question, stage)
            return true

        case .unopened:
            self = .unopened
            return false

        case .asking(let open, let stage):
            self = .asking(open, stage)
            return false

        case .receiving(let reception):
            self = .receiving(reception)
            return false

        case .askingOnContent(let open, let reception):
            self = .askingOnContent(open, reception)
            return false

        case .closed:
            self = .closed
            return false
        }
    }

    /// The stage changes without a question (RSET), or by what a worker did to the recipients.
    mutating func stageChanged(to newStage: Stage) {
        switch consume self {
        case .ready:
            self = .ready(newStage)

        case .asking(let question, _):
            self = .asking(question, newStage)

        case .unopened:
            self = .unopened

        case .receiving(let reception):
            self = .receiving(reception)

        case .askingOnContent(let question, let reception):
            self = .askingOnContent(question, reception)

        case .closed:
            self = .closed
        }
    }

    /// Octets arrived while a question is open.
    ///
    /// `true` if the client had to wait for the reply.
    mutating func octetsArrivedEarly() -> Bool {
        switch consume self {
        case .asking(.data, let stage):
            self = .asking(.data(hasEarlyContent: true), stage)
            return true

        case .asking(let question, let stage):
            self = .asking(question, stage)
            return question.isLastInGroup

        case .askingOnContent(.message, let reception):
            // After the final dot a client may go on with the next group (RFC 2920 §3.1).
            self = .askingOnContent(.message, reception)
            return false

        case .askingOnContent(let question, let reception):
            self = .askingOnContent(question, reception)
            return false

        case .unopened:
            self = .unopened
            return true

        case .ready(let stage):
            self = .ready(stage)
            return false

        case .receiving(let reception):
            self = .receiving(reception)
            return false

        case .closed:
            self = .closed
            return false
        }
    }
}
