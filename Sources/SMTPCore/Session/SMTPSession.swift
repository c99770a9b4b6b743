/// One client's dialogue: octets and answers in, actions out.
///
/// No I/O, no clock, no policy.
///
/// Every command passes three steps. **Check**: grammar, order and limits; a refusal costs no
/// question and changes nothing but counters. **Ask**: the action `ask` goes to policy, and nothing
/// is parsed meanwhile, however much the client pipelined. **Proceed**: `answered` applies what
/// policy decided, and cannot refuse any more.
///
/// It owns the state of the dialogue; the frontend owns the envelope, the content and the octets not
/// yet consumed. It is the one place that decides where a command ends and where a message does.
///
/// Only the connection that owns it calls it. A call costs no allocation but the octets that a
/// question keeps.
///
/// - Note: RFC 5321 §3 and §4; RFC 2920 (pipelining); `SMTPLimits` has every maximum.
package struct SMTPSession: ~Copyable {
    package let configuration: SMTPConfiguration

    var phase = SMTPPhase.unopened
    var lineScanner: SMTPLineScanner
    /// Octets dropped so far of a command line that is too long.
    var discardedLineOctets: Int?

    /// The dialogue whose next line is read; `nil` while there is none.
    var dialogue: (any SMTPLineDialogue)?

    /// What the client has done so far.
    var meter = AbuseMeter()

    /// The client once sent octets before it had the reply it had to wait for.
    ///
    /// Never reset.
    ///
    /// - Note: RFC 2920 §3.1, RFC 5321 §4.3.1.
    package internal(set) var isEarlyTalker = false

    /// The number of the question that is open, or was last; the first is 1.
    package internal(set) var questionID: UInt64 = 0

    /// The message that arrives, or the one that came last; each grant of DATA begins a new one.
    ///
    /// It stands beside the phase, for it outlives a run of content.
    var contentMeter: SMTPContentMeter

    /// The chunk that arrives, or the one that came last.
    var chunks = SMTPChunkFraming()
    /// Octets of refused chunks since the last other command.
    var droppedChunkOctets = 0
    /// The last command was a BDAT, and was refused.
    var isBehindRefusedChunk = false

    /// What EHLO's keywords and MAIL's parameters depend on.
    var security = SMTPSecurity()

    /// What this client may say of other clients; set by the caller, which knows its address.
    package var trust: SMTPTrust = []

    /// What EHLO says of FUTURERELEASE: set by the caller before it grants EHLO, for as long as that EHLO
    /// holds; `nil` where no queue would hold a message.
    ///
    /// Of use only where the listener's extensions have FUTURERELEASE.
    package var futureRelease: FutureReleaseOffer?

    /// What nobody can guess, for the challenges of this session: set by the caller where CRAM-MD5 is
    /// offered, and used by nothing else.
    package var challengeNonce: [UInt8] = []
    /// Challenges made so far.
    var challengeCount = 0

    /// Replies to the last message that are sent before the next command is read, the last one first.
    private var repliesLeft: [SMTPReply] = []
    /// The session is over after the last of them.
    private var closesAfterReplies = false

    private var isShuttingDown = false

    package init(configuration: SMTPConfiguration) {
        self.configuration = configuration
        self.lineScanner = Self.newLineScanner(configuration)
        self.contentMeter = Self.newContentMeter(configuration)
    }

    static func newLineScanner(
        _ configuration: SMTPConfiguration,
        maximumLineOctets: Int? = nil
    ) -> SMTPLineScanner {
        SMTPLineScanner(
            maximumLineOctets: maximumLineOctets ?? configuration.longestLineOctets,
            takesBareLineFeed: configuration.commandOptions.contains(.bareLineFeed)
        )
    }

    private static func newContentMeter(
        _ configuration: SMTPConfiguration,
        isBinary: Bool = false
    ) -> SMTPContentMeter {
        SMTPContentMeter(
            limits: configuration.limits,
            bareNewline: configuration.bareNewline,
            refusesNUL: !configuration.allowsNUL,
            isBinary: isBinary
        )
    }

    /// The counters of this session so far.
    package var counters: AbuseMeter { self.meter }

    /// Whose turn it is: which timer runs.
    package var wait: SMTPWait { self.phase.wait }

    /// The next line answers a challenge: it is no command, and may be a password.
    package var isInDialogue: Bool { self.phase.isInDialogue }

    /// Further replies to a message are due: what `next` says then answers no command.
    package var hasRepliesLeft: Bool { !self.repliesLeft.isEmpty }

    /// Whether a transaction is open: MAIL was granted and nothing ended it.
    package var isInTransaction: Bool { self.phase.stage?.isInTransaction ?? false }

    /// Octets so far of the message that arrives, or of the one that came last, kept or not:
    /// transparency and the final dot do not count.
    package var messageOctets: Int { self.contentMeter.messageOctets }

    /// Octets of content that arrived: of the last message, and of chunks that were dropped.
    package var arrivedContentOctets: Int {
        let left = self.phase.drop == nil ? 0 : self.chunks.octetsLeft
        return self.contentMeter.messageOctets + self.droppedChunkOctets - left
    }

    /// Whether the message on its way is refused already, so that its content can be let go.
    package var isDiscardingContent: Bool {
        guard let reception = self.phase.reception else { return false }
        return reception.refusal != nil || !self.contentMeter.faults.isEmpty
    }
}

// MARK: - Octets

extension SMTPSession {
    /// What came of the octets, and how many of them are used up.
    package struct Step: Equatable {
        package let action: SMTPAction
        /// Drop so many octets from the front, whatever the action says.
        package let consumed: Int
    }

    /// Reads one line, or a run of message content.
    ///
    /// - Parameters:
    ///   - octets: Everything received and not yet consumed, oldest first.
    ///   - content: Where message content is appended, transparency removed. The caller may empty
    ///     it between any two calls.
    /// - Returns: One action. Call again until it is `needOctets`, `awaitAnswer`, `replyThenClose`
    ///   or `closed`.
    package mutating func next(
        in octets: borrowing Span<UInt8>,
        content: inout [UInt8]
    ) -> Step {
        switch self.phase.wait {
        case .command:
            if let reply = self.repliesLeft.popLast() {
                let isEnd = self.closesAfterReplies && self.repliesLeft.isEmpty
                return Step(action: isEnd ? self.close(reply) : .reply(reply), consumed: 0)
            }
            if self.isShuttingDown, !self.isInTransaction {
                return Step(action: self.close(StandardReplies.shuttingDown), consumed: 0)
            }
            return self.nextLine(in: octets)

        case .content:
            return self.nextContent(in: octets, content: &content)

        case .answer:
            return Step(action: .awaitAnswer, consumed: 0)

        case .handshake:
            // What the TLS library did not decrypt is not from this client.
            return Step(action: .needOctets, consumed: octets.count)

        case .nothing:
            return Step(action: .closed, consumed: octets.count)
        }
    }

    private mutating func nextContent(
        in octets: borrowing Span<UInt8>,
        content: inout [UInt8]
    ) -> Step {
        guard let reception = self.phase.reception else {
            guard let drop = self.phase.drop else { return Step(action: .closed, consumed: 0) }
            return self.nextDroppedOctets(in: octets, drop)
        }
        let isRefused = reception.refusal != nil
        guard !reception.isChunked else {
            return self.nextChunkOctets(in: octets, isRefused: isRefused, content: &content)
        }
        let before = content.count
        let step = SMTPDotFraming.read(octets, into: &self.contentMeter, appendingTo: &content)
        if isRefused { content.removeLast(content.count - before) }
        let action: SMTPAction
        switch step.progress {
        case .needsOctets: action = content.count > before ? .contentAppended : .needOctets
        case .headerEnded: action = self.contentRead(.header)
        case .ended: action = self.contentRead(.message)
        }
        return Step(action: action, consumed: step.consumed)
    }

    /// `endsByDot`: the client and another server may disagree on where this message ends.
    mutating func contentRead(
        _ end: SMTPPhase.ContentEnd,
        endsByDot: Bool = true
    ) -> SMTPAction {
        switch self.phase.contentRead(end, self.contentMeter.faults) {
        case .proceed: return .proceed
        case .askHeadersEnd:
            return self.asked(.headersEnd(bodyOffset: self.contentMeter.bodyOffset))
        case .askMessage: return self.askedMessage()
        case .chunkTaken:
            self.meter.chunkTaken(isEmpty: self.chunks.isEmpty)
            return .reply(StandardReplies.chunkAccepted)
        case .refuse(let reply, let replies):
            self.isBehindRefusedChunk = end == .chunk
            self.reply(reply, toEachOf: replies)
            return endsByDot ? self.messageRefused(reply) : .resetThenReply(reply)
        case .unexpected: return .awaitAnswer
        }
    }

    /// A message that ends by a dot is over and refused; after a bare CR or LF the session is over too.
    ///
    /// Servers disagree on where such a message ends: what follows may be content to the client.
    private mutating func messageRefused(_ reply: SMTPReply) -> SMTPAction {
        guard reply.cause == .bareNewline,
            !self.configuration.commandOptions.contains(.commandsAfterBareNewline)
        else { return .resetThenReply(reply) }
        self.meter.errorMade()
        guard self.repliesLeft.isEmpty else {
            self.closesAfterReplies = true
            return .resetThenReply(reply)
        }
        return self.close(reply)
    }

    /// The same reply is due so many times; the first of them goes out at once.
    mutating func reply(_ reply: SMTPReply, toEachOf count: Int) {
        guard count > 1 else { return }
        self.repliesLeft = Array(repeating: reply, count: count - 1)
    }

    private mutating func askedMessage() -> SMTPAction {
        let facts = SMTPMessageFacts(
            octets: self.contentMeter.messageOctets,
            bodyOffset: self.contentMeter.bodyOffset,
            hops: self.contentMeter.hops
        )
        return self.asked(.message(facts))
    }

    /// Octets arrived and were not given to `next`, because a question is open.
    ///
    /// Tell it once for each read, also before the greeting.
    package mutating func octetsArrivedEarly() {
        if self.phase.octetsArrivedEarly() { self.isEarlyTalker = true }
    }
}

// MARK: - Events

extension SMTPSession {
    /// The connection is open; the answer to the question leads to the greeting.
    package mutating func connectionOpened() -> SMTPAction {
        switch self.phase.connectionOpened() {
        case .ask: self.asked(.connect)
        case .dropStale: .dropStale
        }
    }

    /// A proxy named another client: policy is asked about it, and the dialogue begins again with the
    /// greeting.
    ///
    /// Stale unless a command is waited for outside a transaction. No address is told: the session has
    /// none. A client that is named before the greeting needs no event, `connectionOpened` is told then.
    /// `isAuthenticated`: the proxy says that the client proved who it is.
    package mutating func clientReplaced(isAuthenticated: Bool = false) -> SMTPAction {
        guard self.phase.clientReplaced() else { return .dropStale }
        self.futureRelease = nil
        self.security.isAuthenticated = isAuthenticated
        return self.asked(.connect)
    }

    /// Policy answered the open question.
    ///
    /// - Parameters:
    ///   - outcome: What policy decided.
    ///   - recipients: How many recipients of the transaction count with this answer. The policy session
    ///     owns the envelope; the number is not kept up here.
    ///   - questionID: The number of the question when it was asked; another number than the open
    ///     question's is dropped as stale. `nil` answers whatever is open.
    /// - Returns: What to do; it may be the next question.
    package mutating func answered(
        _ outcome: SMTPOutcome,
        recipients: Int,
        to questionID: UInt64? = nil
    ) -> SMTPAction {
        if let questionID, questionID != self.questionID { return .dropStale }
        switch self.phase.answered(outcome, recipients: recipients) {
        case .granted(let question, let reply, let endsTransaction):
            return self.granted(question, reply, endsTransaction: endsTransaction)
        case .refused(let question, let reply, let endsTransaction):
            return self.refused(question, reply, endsTransaction: endsTransaction)
        case .challenged(let reply):
            return self.dialogue == nil
                ? self.close(StandardReplies.internalError) : self.challenge(reply)
        case .close(let reply):
            return .replyThenClose(reply)
        case .proceed:
            return .proceed
        case .askMessage:
            return self.askedMessage()
        case .messageAnswered(let reply):
            return .resetThenReply(reply)
        case .messageAnsweredEach(let replies, let closes):
            self.repliesLeft = replies.reversed()
            self.closesAfterReplies = closes
            guard let first = self.repliesLeft.popLast() else {
                return self.close(StandardReplies.internalError)
            }
            return .resetThenReply(first)
        case .dropStale:
            return .dropStale
        }
    }

    /// The client's time is up; stale while a question is open.
    package mutating func timedOut() -> SMTPAction {
        switch self.phase.wait {
        case .command, .content, .handshake: self.close(StandardReplies.timeout)
        case .answer, .nothing: .dropStale
        }
    }

    /// The time of the whole session is up, whatever is going on.
    package mutating func sessionTimedOut() -> SMTPAction {
        self.close(StandardReplies.timeout)
    }

    /// The service is going to stop: an idle session ends now, a transaction may finish.
    package mutating func shutdownRequested() -> SMTPAction {
        self.isShuttingDown = true
        guard self.phase.wait == .command, !self.isInTransaction else { return .proceed }
        return self.close(StandardReplies.shuttingDown)
    }

    /// The time for finishing is up: the session ends, whatever is going on.
    package mutating func shutdownDeadlinePassed() -> SMTPAction {
        self.close(StandardReplies.shuttingDown)
    }

    /// The client is gone; every later event is stale.
    package mutating func connectionClosed() {
        _ = self.phase.close()
    }

    /// Ends the session with a reply of ours; stale if it is over.
    package mutating func close(_ reply: SMTPReply) -> SMTPAction {
        self.phase.close() ? .replyThenClose(reply) : .dropStale
    }

    mutating func asked(_ question: SMTPQuestion) -> SMTPAction {
        self.questionID += 1
        return .ask(question)
    }
}

// MARK: - Proceed

extension SMTPSession {
    private mutating func granted(
        _ question: SMTPPhase.CommandQuestion,
        _ reply: SMTPReply?,
        endsTransaction: Bool
    ) -> SMTPAction {
        let standard: SMTPReply
        switch question {
        case .connect: standard = self.configuration.greeting
        case .helo:
            self.futureRelease = nil
            standard = self.configuration.heloReply
        case .ehlo:
            let ehlo = self.configuration.ehloReply(
                in: self.security,
                worded: reply,
                trust: self.trust,
                futureRelease: self.futureRelease
            )
            return endsTransaction ? .resetThenReply(ehlo) : .reply(ehlo)
        case .auth:
            self.dialogue = nil
            self.security.isAuthenticated = true
            standard = StandardReplies.authenticated
        case .mail:
            self.meter.transactionBegun()
            standard = StandardReplies.senderAccepted
        case .rcpt:
            self.meter.recipientGranted()
            standard = StandardReplies.recipientAccepted
        case .data(let hasEarlyContent):
            if hasEarlyContent, !self.takesEarlyContent { return self.refuseEarlyContent() }
            self.meter.messageBegun()
            self.contentMeter = Self.newContentMeter(self.configuration)
            guard let reply, reply.code.rawValue == 354 else {
                return .reply(StandardReplies.startMailInput)
            }
            return .reply(reply)
        case .bdat:
            self.meter.messageBegun()
            self.contentMeter = Self.newContentMeter(
                self.configuration,
                isBinary: self.phase.reception?.transaction.isBinary ?? false
            )
            return .proceed
        case .vrfy: standard = StandardReplies.cannotVerify
        case .help:
            standard = self.configuration.isLMTP ? StandardReplies.helpOfLMTP : StandardReplies.help
        case .noop: standard = StandardReplies.ok
        case .quit: standard = StandardReplies.closing
        case .unrecognized:
            guard let reply else { return self.refuse(StandardReplies.unrecognizedCommand) }
            standard = reply
        }
        // 354 belongs to DATA alone.
        let sent = reply.flatMap { $0.code.rawValue < 300 ? $0 : nil } ?? standard
        return endsTransaction ? .resetThenReply(sent) : .reply(sent)
    }

    private mutating func refused(
        _ question: SMTPPhase.CommandQuestion,
        _ reply: SMTPReply,
        endsTransaction: Bool
    ) -> SMTPAction {
        switch question {
        case .rcpt:
            self.meter.recipientRefused()
        case .auth:
            self.dialogue = nil
            self.loginRefused(reply)
        case .unrecognized:
            return self.refuse(reply)
        case .connect, .helo, .ehlo, .mail, .data, .bdat, .vrfy, .help, .noop, .quit:
            break
        }
        return endsTransaction ? .resetThenReply(reply) : .reply(reply)
    }
}
