/// The client's side of SMTP on one connection, for one transaction after the other.
///
/// No I/O: it is told what happened and answers with one action. The hop gets the content only when it took
/// every recipient (or, if allowed, refused some for good; or says that some are too many for one
/// transaction), so that a refusal is known while the message can still be refused as a whole: once the
/// content is on its way the client could not be told any more. Where our client hears of each recipient,
/// the hop gets the content as soon as it took one.
///
/// A body that has no lines goes by one `BDAT` that is the last, all other content by `DATA`.
///
/// - Note: RFC 5321 §3.3, RFC 2920 §3.1 (`MAIL` and `RCPT` in one group; `DATA` waits), RFC 3030 §2.
struct SMTPClientMachine: Sendable {
    /// What is to be done now.
    enum Action: Sendable, Equatable {
        case none
        case write([UInt8])
        /// Shake hands for TLS, then call ``tlsStarted()``.
        case startTLS
        /// The greeting is over: transactions may begin.
        case ready(SMTPCapabilities)
        /// Send the content in this form, then call ``contentSent()``.
        case goAhead(ContentForm)
        /// The transaction has its answer.
        case completed(NextHopOutcome)
        /// The same, after this was written; the connection is free after ``Action/free``.
        case completedWriting(NextHopOutcome, [UInt8])
        /// The same, and the connection is of no further use.
        case completedThenClose(NextHopOutcome)
        /// A command that was said alone has its reply.
        case answered(SMTPServerReply)
        /// The same, and the connection is of no further use.
        case answeredThenClose(SMTPServerReply)
        /// The connection can be used again.
        case free
        /// The connection cannot go on, and a transaction (or the greeting) fails with it.
        case fail(SMTPForwardError)
    }

    /// How the content goes to the hop.
    enum ContentForm: Sendable, Equatable {
        /// By `DATA`: lines, their first dots doubled, and a dot alone at the end.
        case lines
        /// By one `BDAT` that is the last: octets as they are, of which a line may be none (RFC 3030 §2).
        case chunk
    }

    /// What the hop speaks.
    enum Dialect: Sendable, Equatable {
        case smtp
        /// RFC 2033: LHLO, and after the content one reply for each recipient.
        case lmtp
    }

    /// When a connection is encrypted.
    enum Encryption: Sendable, Equatable {
        case never
        /// By STARTTLS, if the hop offers it and does not refuse it.
        case ifOffered
        /// By STARTTLS, or there is no transaction.
        case required
        /// From the first octet.
        case implicit
    }

    enum Phase: Sendable {
        /// The handshake is under way.
        case startingTLS
        case awaitingGreeting
        case saidEHLO
        case saidSTARTTLS
        case saidHELO
        case saidAuth(SMTPLogin.Exchange)
        case idle
        /// `MAIL` alone was said.
        case saidMail(SMTPEnvelope)
        /// The hop accepted `MAIL`, and its owner says what comes next.
        case open(SMTPEnvelope, Recipients)
        /// `RCPT` alone was said.
        case saidRcpt(SMTPEnvelope, Recipients, [UInt8])
        case sendingEnvelope(Progress)
        case saidData(Recipients)
        case sendingContent(Recipients)
        /// The final dot, or all of the last chunk, was sent; with the replies so far: LMTP has several.
        case saidEnd(Recipients, [SMTPServerReply])
        case resetting
        case closed
    }

    /// `MAIL` and `RCPT` under way.
    struct Progress: Sendable {
        let envelope: SMTPEnvelope
        var unsent: ArraySlice<[UInt8]>
        var replies: [SMTPServerReply] = []
    }

    /// What the hop said of each recipient of the envelope.
    struct Recipients: Sendable {
        var taken: [[UInt8]] = []
        var refused: [NextHopRefusal] = []
        /// Recipients beyond what the next hop takes in one transaction.
        var left: [[UInt8]] = []
        /// Whatever is refused, it stands for its recipient alone.
        let hearsEach: Bool
        let form: ContentForm

        init(of envelope: SMTPEnvelope) {
            self.hearsEach = envelope.hearsEach
            self.form = envelope.needsChunk ? .chunk : .lines
        }
    }

    let dialect: Dialect
    /// The name for EHLO.
    let name: String
    /// Whether a message goes to the recipients that the hop takes if it refuses others for good.
    let deliversPartially: Bool
    let encryption: Encryption
    /// Our account at the hop, for AUTH before a transaction; `nil`: no AUTH is said.
    let login: SMTPLogin?
    var phase: Phase
    private(set) var isEncrypted = false
    var capabilities = SMTPCapabilities()
    /// Whether the hop accepted the `MAIL` of the transaction under way.
    ///
    /// Until then, it can be tried on another connection.
    var wasMailAccepted = false

    init(
        _ dialect: Dialect = .smtp,
        name: String,
        deliversPartially: Bool,
        encryption: Encryption = .never,
        login: SMTPLogin? = nil
    ) {
        self.dialect = dialect
        self.name = name
        self.deliversPartially = deliversPartially
        self.encryption = encryption
        self.login = login
        self.phase = encryption == .implicit ? .startingTLS : .awaitingGreeting
    }

    /// The machine of another connection to the same hop.
    func fresh(_ encryption: Encryption) -> Self {
        Self(
            self.dialect,
            name: self.name,
            deliversPartially: self.deliversPartially,
            encryption: encryption,
            login: self.login
        )
    }

    /// Whether a transaction may begin.
    var isIdle: Bool { if case .idle = self.phase { true } else { false } }

    // MARK: What happened

    /// A transaction is wanted.
    mutating func transactionWanted(_ envelope: SMTPEnvelope) -> Action {
        guard case .idle = self.phase else {
            return .fail(SMTPForwardError(.busy, "a transaction on a busy connection"))
        }
        self.wasMailAccepted = false
        let commands = envelope.commands(self.capabilities, isLoggedIn: self.login != nil)
        if self.capabilities.hasPipelining {
            self.phase = .sendingEnvelope(Progress(envelope: envelope, unsent: []))
            return .write(Array(commands.joined()))
        }
        self.phase = .sendingEnvelope(Progress(envelope: envelope, unsent: commands.dropFirst()))
        return .write(commands.first ?? [])
    }

    /// `MAIL` alone is wanted.
    mutating func mailWanted(_ envelope: SMTPEnvelope) -> Action {
        guard case .idle = self.phase else {
            return .fail(SMTPForwardError(.busy, "a transaction on a busy connection"))
        }
        self.wasMailAccepted = false
        self.phase = .saidMail(envelope)
        return .write(envelope.mail(self.capabilities, isLoggedIn: self.login != nil))
    }

    /// `RCPT` alone is wanted, after a `MAIL` that was said alone and accepted.
    mutating func recipientWanted(_ recipient: [UInt8], notification: [UInt8]) -> Action {
        guard case .open(var envelope, let recipients) = self.phase else { return self.notOpen() }
        envelope.recipientNotifications[recipient] = notification
        self.phase = .saidRcpt(envelope, recipients, recipient)
        return .write(envelope.rcpt(recipient, self.capabilities))
    }

    /// The content is to be sent to the recipients that were accepted one by one.
    mutating func contentWanted() -> Action {
        guard case .open(_, let recipients) = self.phase, !recipients.taken.isEmpty else {
            return self.notOpen()
        }
        return self.beginContent(recipients)
    }

    /// The transaction that was begun by ``mailWanted(_:)`` is of no further use.
    mutating func resetWanted() -> Action {
        guard case .open = self.phase else { return self.notOpen() }
        self.phase = .resetting
        return .write(Array("RSET\r\n".utf8))
    }

    private mutating func notOpen() -> Action {
        self.phase = .closed
        return .fail(SMTPForwardError(.closed, "no transaction is open"))
    }

    /// The whole content is on its way: as a chunk that is complete, or as lines of which the last is ended.
    mutating func contentSent() -> Action {
        guard case .sendingContent(let recipients) = self.phase else { return .none }
        self.phase = .saidEnd(recipients, [])
        switch recipients.form {
        case .lines: return .write(Array(".\r\n".utf8))
        case .chunk: return .none
        }
    }

    /// The handshake is done, and all that follows is encrypted.
    ///
    /// What the hop said before is forgotten (RFC 3207 §4.2).
    mutating func tlsStarted() -> Action {
        guard case .startingTLS = self.phase, !self.isEncrypted else { return .none }
        self.isEncrypted = true
        self.capabilities = SMTPCapabilities()
        guard self.encryption != .implicit else {
            self.phase = .awaitingGreeting
            return .none
        }
        return self.hello()
    }

    /// The connection ended, or its time.
    mutating func connectionLost(_ error: SMTPForwardError) -> Action {
        switch self.phase {
        case .idle, .open, .resetting, .closed:
            self.phase = .closed
            return .none

        case .startingTLS:
            self.phase = .closed
            return .fail(SMTPForwardError(.encryption, "the handshake failed: \(error.detail)"))

        case .saidEnd(let recipients, let replies) where !replies.isEmpty && recipients.hearsEach:
            return self.copiesUnanswered(replies, recipients)

        case .awaitingGreeting, .saidEHLO, .saidSTARTTLS, .saidHELO, .saidAuth, .saidMail,
            .saidRcpt, .sendingEnvelope, .saidData, .sendingContent, .saidEnd:
            self.phase = .closed
            return .fail(error)
        }
    }

    /// A whole reply came.
    mutating func replyReceived(_ reply: SMTPServerReply) -> Action {
        switch self.phase {
        case .startingTLS:
            return self.confused("in the handshake", reply)

        case .awaitingGreeting, .saidEHLO, .saidHELO:
            return self.greetingReceived(reply)

        case .saidSTARTTLS:
            return self.startTLSAnswered(reply)

        case .saidAuth(let exchange):
            return self.authAnswered(reply, exchange)

        case .sendingEnvelope(let progress):
            return self.envelopeReplyReceived(reply, progress)

        case .saidData(let recipients):
            if reply.code == 354 {
                self.phase = .sendingContent(recipients)
                return .goAhead(.lines)
            }
            guard reply.replyClass > 3 else { return self.confused("to DATA", reply) }
            return self.reset(.refused(reply))

        case .sendingContent:
            // The hop refuses before the end of the data: the rest is not sent.
            guard reply.replyClass > 3 else {
                return self.confused("before the end of the content", reply)
            }
            self.phase = .closed
            return .completedThenClose(.refused(reply))

        case .saidEnd(let recipients, let replies):
            guard reply.replyClass != 3 else { return self.confused("to the content", reply) }
            return self.contentAnswered(replies + [reply], recipients)

        case .resetting:
            guard reply.isPositive else {
                self.phase = .closed
                return .fail(SMTPForwardError(.closed, "\(reply.code) to RSET"))
            }
            self.phase = .idle
            return .free

        case .saidMail, .saidRcpt:
            return self.commandAnswered(reply)

        case .idle, .open:  // 421, most likely: the hop is about to close
            self.phase = .closed
            return .fail(SMTPForwardError(.closed, "\(reply.code) out of turn"))

        case .closed:
            return .none
        }
    }
}
