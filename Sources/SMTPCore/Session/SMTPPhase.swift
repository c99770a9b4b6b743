/// Where the dialogue stands, in two dimensions: what the client sends next, and whose turn it is.
///
///     the client sends   its turn             policy's turn
///     commands           .commands(Stage)     .command(CommandQuestion, Stage)
///     a line             .line(Stage)         .command, once the dialogue is complete
///     content            .content(Reception)  .content(ContentQuestion, Reception)
///     a refused chunk    .dropping(Drop)      -
///     a TLS handshake    .handshake           -
///
/// Each case carries only what exists in it. An event that has no meaning in a phase leaves it as it
/// is.
enum SMTPPhase: ~Copyable {
    /// The connection is not yet told of.
    case unopened
    /// It is the client's turn.
    case listening(Input)
    /// It is policy's turn; octets that arrive meanwhile are kept, not parsed.
    case asking(Question)
    case closed

    /// What the client sends next.
    enum Input {
        case commands(Stage)
        /// A line of a dialogue, which is no command; the stage is that of the command that began it.
        case line(Stage)
        case content(Reception)
        /// The octets of a chunk that is refused.
        case dropping(Drop)
        /// A TLS handshake; what was known of the client is forgotten with it (RFC 3207 §4.2).
        case handshake
    }

    /// What policy is asked, with what its answer is applied to.
    enum Question {
        case command(CommandQuestion, Stage)
        case content(ContentQuestion, Reception)
    }

    /// How far the dialogue has come.
    enum Stage: Equatable {
        /// Neither HELO nor EHLO was granted.
        case connected
        case greeted
        case inTransaction(SMTPTransaction)
        /// Chunks of a message were taken, and more follow.
        ///
        /// `isHeaderDone` as in ``Reception``, which has no refusal then.
        case betweenChunks(SMTPTransaction, isHeaderDone: Bool)

        var isGreeted: Bool { self != .connected }

        /// The transaction that is open.
        var transaction: SMTPTransaction? {
            switch self {
            case .inTransaction(let transaction): transaction
            case .betweenChunks(let transaction, _): transaction
            case .connected, .greeted: nil
            }
        }

        var isInTransaction: Bool {
            switch self {
            case .inTransaction, .betweenChunks: true
            case .connected, .greeted: false
            }
        }
    }

    /// The command that policy is asked about, with what its grant will need.
    enum CommandQuestion: Equatable {
        case connect
        case helo
        case ehlo
        case auth
        case mail(SMTPTransaction)
        case rcpt
        /// `hasEarlyContent`: the client sent octets before it had the 354.
        case data(hasEarlyContent: Bool)
        /// The first chunk of a message; its octets follow.
        case bdat
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
            case .connect, .helo, .ehlo, .auth, .data, .vrfy, .noop, .quit: true
            case .mail, .rcpt, .bdat, .help, .unrecognized: false
            }
        }
    }

    enum ContentQuestion: Equatable {
        /// `isComplete`: the message ended with its header, and is asked about next.
        case headersEnd(isComplete: Bool)
        case message
    }

    /// A message on its way in.
    ///
    /// What is measured of it is the session's ``SMTPContentMeter``.
    struct Reception: Equatable {
        let transaction: SMTPTransaction
        /// It comes in chunks, behind BDAT; else it ends with a dot.
        let isChunked: Bool
        /// The refusal that policy gave at the end of the header; the rest is read and dropped.
        var refusal: SMTPReply?
        /// Whether the end of the header was asked about, or is past asking.
        var isHeaderDone = false

        init(_ transaction: SMTPTransaction, isChunked: Bool = false) {
            self.transaction = transaction
            self.isChunked = isChunked
        }
    }
}

// MARK: - Views

extension SMTPPhase {
    /// The stage before whatever is going on, or `nil` if the session is over or has not begun.
    var stage: Stage? {
        switch self {
        case .listening(let input): input.stage
        case .asking(let question): question.stage
        case .unopened: nil
        case .closed: nil
        }
    }

    /// The connection is not yet told of.
    var isUnopened: Bool {
        switch self {
        case .unopened: true
        case .listening: false
        case .asking: false
        case .closed: false
        }
    }

    var wait: SMTPWait {
        switch self {
        case .listening(let input): input.wait
        case .asking: .answer
        case .unopened: .nothing
        case .closed: .nothing
        }
    }

    /// The stage in which a command may be checked; `nil` while none may.
    var commandStage: Stage? {
        switch self {
        case .listening(let input): input.commandStage
        case .asking: nil
        case .unopened: nil
        case .closed: nil
        }
    }

    /// Whether the next line is one of a dialogue.
    var isInDialogue: Bool {
        switch self {
        case .listening(.line): true
        case .listening: false
        case .asking: false
        case .unopened: false
        case .closed: false
        }
    }

    /// The stage before a dialogue whose next line is read; `nil` if there is none.
    var dialogueStage: Stage? {
        switch self {
        case .listening(let input): input.dialogueStage
        case .asking: nil
        case .unopened: nil
        case .closed: nil
        }
    }

    /// The message on its way in, or `nil` if there is none.
    var reception: Reception? {
        switch self {
        case .listening(let input): input.reception
        case .asking(let question): question.reception
        case .unopened: nil
        case .closed: nil
        }
    }
}

extension SMTPPhase.Input {
    var stage: SMTPPhase.Stage {
        switch self {
        case .commands(let stage), .line(let stage): stage
        case .content(let reception): .inTransaction(reception.transaction)
        case .dropping(let drop): drop.stage
        case .handshake: .connected
        }
    }

    var wait: SMTPWait {
        switch self {
        case .commands, .line: .command
        case .content, .dropping: .content
        case .handshake: .handshake
        }
    }

    var reception: SMTPPhase.Reception? {
        switch self {
        case .commands, .line, .dropping, .handshake: nil
        case .content(let reception): reception
        }
    }

    /// The stage in which a command may be checked; `nil` if none may.
    var commandStage: SMTPPhase.Stage? {
        switch self {
        case .commands(let stage): stage
        case .line, .content, .dropping, .handshake: nil
        }
    }

    /// The stage before a dialogue; `nil` if none goes on.
    var dialogueStage: SMTPPhase.Stage? {
        switch self {
        case .line(let stage): stage
        case .commands, .content, .dropping, .handshake: nil
        }
    }

    mutating func stageChanged(to stage: SMTPPhase.Stage) {
        switch self {
        case .commands: self = .commands(stage)
        case .line: self = .line(stage)
        case .content, .dropping, .handshake: break
        }
    }
}

extension SMTPPhase.Question {
    var stage: SMTPPhase.Stage {
        switch self {
        case .command(_, let stage): stage
        case .content(_, let reception): .inTransaction(reception.transaction)
        }
    }

    var reception: SMTPPhase.Reception? {
        switch self {
        case .command: nil
        case .content(_, let reception): reception
        }
    }

    mutating func stageChanged(to stage: SMTPPhase.Stage) {
        switch self {
        case .command(let question, _): self = .command(question, stage)
        case .content: break
        }
    }

    /// Octets arrived while this is asked.
    ///
    /// `true` if the client had to wait for the reply.
    mutating func octetsArrivedEarly() -> Bool {
        switch self {
        case .command(.data, let stage):
            self = .command(.data(hasEarlyContent: true), stage)
            return true
        case .command(let question, _):
            return question.isLastInGroup
        case .content:
            // Content goes on, and behind the final dot the next group may (RFC 2920 §3.1).
            return false
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
        guard self.isUnopened else { return .dropStale }
        self = .asking(.command(.connect, .connected))
        return .ask
    }

    /// Another client is behind the connection: it is asked about, and begins anew.
    ///
    /// `false`, and nothing changes, unless a command was being waited for outside a transaction.
    mutating func clientReplaced() -> Bool {
        guard let stage = self.commandStage, !stage.isInTransaction else { return false }
        self = .asking(.command(.connect, .connected))
        return true
    }

    /// The session is over, whatever was going on.
    ///
    /// `false` if it was before.
    mutating func close() -> Bool {
        let wasOpen =
            switch self {
            case .unopened: true
            case .listening: true
            case .asking: true
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
    mutating func commandChecked(_ question: CommandQuestion) -> Bool {
        guard let stage = self.commandStage else { return false }
        self = .asking(.command(question, stage))
        return true
    }

    /// The stage changes without a question (RSET).
    ///
    /// It stays as it is while content arrives or is asked about.
    mutating func stageChanged(to stage: Stage) {
        switch consume self {
        case .listening(var input):
            input.stageChanged(to: stage)
            self = .listening(input)

        case .asking(var question):
            question.stageChanged(to: stage)
            self = .asking(question)

        case .unopened:
            self = .unopened

        case .closed:
            self = .closed
        }
    }

    /// Octets arrived and were not read.
    ///
    /// `true` if the client had to wait for the reply.
    mutating func octetsArrivedEarly() -> Bool {
        switch consume self {
        case .asking(var question):
            let isEarly = question.octetsArrivedEarly()
            self = .asking(question)
            return isEarly

        case .listening(let input):
            self = .listening(input)
            return false

        case .unopened:
            self = .unopened
            return true

        case .closed:
            self = .closed
            return false
        }
    }
}
