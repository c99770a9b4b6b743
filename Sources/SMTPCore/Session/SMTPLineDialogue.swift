/// Lines that are no commands: each challenge of ours is answered by one line of the client's.
///
/// A command begins it; commands are read again once it is over. A line may have
/// ``SMTPLimits/responseLineOctets``.
///
/// - Note: RFC 4954 §4 (AUTH).
protocol SMTPLineDialogue: Sendable {
    /// The client sent a line; it comes without its CRLF.
    mutating func lineRead(_ line: borrowing Span<UInt8>) -> SMTPLineAction

    /// Policy may answer the question with a challenge: then another line is read.
    var goesOn: Bool { get }
}

extension SMTPLineDialogue {
    var goesOn: Bool { false }
}

/// What a line of a dialogue leads to.
enum SMTPLineAction: Equatable, Sendable {
    /// The dialogue goes on: the challenge is sent, and the next line is read.
    case challenge(SMTPReply)
    /// The dialogue is complete: policy is asked about the command that began it.
    case ask(SMTPPhase.CommandQuestion, SMTPQuestion)
    /// The dialogue failed.
    case refuse(SMTPReply)
}

// MARK: - The phase

extension SMTPPhase {
    /// A command that passed its check begins a dialogue.
    ///
    /// `false`, and nothing changes, unless a command was being waited for.
    mutating func dialogueBegun() -> Bool {
        guard let stage = self.commandStage else { return false }
        self = .listening(.line(stage))
        return true
    }

    /// The dialogue's turn is over: policy is asked, or commands are read again if `question` is `nil`.
    ///
    /// Nothing changes if there was none.
    mutating func dialogueEnded(asking question: CommandQuestion?) {
        guard let stage = self.dialogueStage else { return }
        if let question {
            self = .asking(.command(question, stage))
        } else {
            self = .listening(.commands(stage))
        }
    }
}

// MARK: - The session

extension SMTPSession {
    /// A command wants lines of the client's: sends the first challenge.
    mutating func beginDialogue(
        _ dialogue: any SMTPLineDialogue,
        challenge: SMTPReply
    ) -> SMTPAction {
        guard self.phase.dialogueBegun() else {
            return self.close(StandardReplies.internalError)
        }
        self.dialogue = dialogue
        return self.challenge(challenge)
    }

    /// Sends a challenge; the line that answers it is read next.
    mutating func challenge(_ reply: SMTPReply) -> SMTPAction {
        self.lineScanner = Self.newLineScanner(
            self.configuration,
            maximumLineOctets: SMTPLimits.responseLineOctets
        )
        return .reply(reply)
    }

    /// A dialogue of one line is complete with its command.
    mutating func ask(
        _ open: SMTPPhase.CommandQuestion,
        _ question: SMTPQuestion,
        of dialogue: any SMTPLineDialogue
    ) -> SMTPAction {
        if dialogue.goesOn { self.dialogue = dialogue }
        return self.ask(open, question)
    }

    /// A line of the dialogue has arrived: the first `count` of `octets`, without its CRLF.
    mutating func responseArrived(_ octets: borrowing Span<UInt8>, count: Int) -> SMTPAction {
        switch self.dialogue?.lineRead(octets.extracting(0..<count)) {
        case .challenge(let reply): return .reply(reply)
        case .ask(let open, let question):
            self.endDialogue(asking: open)
            return self.asked(question)
        case .refuse(let reply):
            self.endDialogue(asking: nil)
            return self.refuse(reply)
        case nil:
            return self.close(StandardReplies.internalError)
        }
    }

    /// A line of the dialogue was too long.
    mutating func responseTooLong() -> SMTPAction {
        self.endDialogue(asking: nil)
        return self.refuse(StandardReplies.responseTooLong)
    }

    private mutating func endDialogue(asking question: SMTPPhase.CommandQuestion?) {
        self.phase.dialogueEnded(asking: question)
        if question == nil || !(self.dialogue?.goesOn ?? false) { self.dialogue = nil }
        self.lineScanner = Self.newLineScanner(self.configuration)
    }
}
