/// The client's side of SMTP on one connection, for one transaction after the other.
///
/// No I/O: it is told what happened and answers with one action. The hop gets `DATA` only when it took
/// every recipient (or, if allowed, refused some for good; or says that some are too many for one
/// transaction), so that a refusal is known while the
/// message can still be refused as a whole: after `DATA` the client could not be told any more. Where our
/// client hears of each recipient, the hop gets `DATA` as soon as it took one.
///
/// - Note: RFC 5321 §3.3, RFC 2920 §3.1 (`MAIL` and `RCPT` in one group; `DATA` waits).
struct SMTPClientMachine: Sendable {
    /// What is to be done now.
    enum Action: Sendable, Equatable {
        case none
        case write([UInt8])
        /// Shake hands for TLS, then call ``tlsStarted()``.
        case startTLS
        /// The greeting is over: transactions may begin.
        case ready(SMTPCapabilities)
        /// Send the content, then call ``contentSent()``.
        case goAhead
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

    private enum Phase: Sendable {
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
        /// With the replies so far: LMTP has several.
        case saidDot(Recipients, [SMTPServerReply])
        case resetting
        case closed
    }

    /// `MAIL` and `RCPT` under way.
    private struct Progress: Sendable {
        let envelope: SMTPEnvelope
        var unsent: ArraySlice<[UInt8]>
        var replies: [SMTPServerReply] = []
    }

    /// What the hop said of each recipient of the envelope.
    private struct Recipients: Sendable {
        var taken: [[UInt8]] = []
        var refused: [NextHopRefusal] = []
        /// Recipients beyond what the next hop takes in one transaction.
        var left: [[UInt8]] = []
        /// Whatever is refused, it stands for its recipient alone.
        var hearsEach = false
    }

    let dialect: Dialect
    /// The name for EHLO.
    let name: String
    /// Whether a message goes to the recipients that the hop takes if it refuses others for good.
    let deliversPartially: Bool
    let encryption: Encryption
    /// Our account at the hop, for AUTH before a transaction; `nil`: no AUTH is said.
    let login: SMTPLogin?
    private var phase: Phase
    private(set) var isEncrypted = false
    private(set) var capabilities = SMTPCapabilities()
    /// Whether the hop accepted the `MAIL` of the transaction under way.
    ///
    /// Until then, it can be tried on another connection.
    private(set) var wasMailAccepted = false

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
        self.phase = .saidData(recipients)
        return .write(Array("DATA\r\n".utf8))
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

    /// The whole content is on its way, dots doubled, its last line ended.
    mutating func contentSent() -> Action {
        guard case .sendingContent(let recipients) = self.phase else { return .none }
        self.phase = .saidDot(recipients, [])
        return .write(Array(".\r\n".utf8))
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

        case .saidDot(let recipients, let replies) where !replies.isEmpty && recipients.hearsEach:
            return self.copiesUnanswered(replies, recipients)

        case .awaitingGreeting, .saidEHLO, .saidSTARTTLS, .saidHELO, .saidAuth, .saidMail,
            .saidRcpt, .sendingEnvelope, .saidData, .sendingContent, .saidDot:
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
                return .goAhead
            }
            guard reply.replyClass > 3 else { return self.confused("to DATA", reply) }
            return self.reset(.refused(reply))

        case .sendingContent:
            // The hop refuses before the end of the data: the rest is not sent.
            guard reply.replyClass > 3 else { return self.confused("before the dot", reply) }
            self.phase = .closed
            return .completedThenClose(.refused(reply))

        case .saidDot(let recipients, let replies):
            guard reply.replyClass != 3 else { return self.confused("to the dot", reply) }
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

    // MARK: Greeting

    /// A refusal here is about us, not about the message: always an error, never an outcome.
    private mutating func greetingReceived(_ reply: SMTPServerReply) -> Action {
        switch (self.phase, reply.replyClass) {
        case (.awaitingGreeting, 2):
            return self.hello()

        case (.saidEHLO, 2):
            self.capabilities = SMTPCapabilities(reply)
            return self.capabilitiesKnown()

        case (.saidEHLO, 5)
        where self.dialect == .smtp && (self.isEncrypted || self.encryption != .required):
            self.phase = .saidHELO
            return .write(Array("HELO \(self.name)\r\n".utf8))

        case (.saidEHLO, 5) where self.dialect == .smtp:
            return self.unencrypted("the hop knows no EHLO, and so no STARTTLS")

        case (.saidHELO, 2):
            return self.readyForLogin()

        case (_, _):
            self.phase = .closed
            return .fail(SMTPForwardError(.unreachable, "\(reply.code) in the greeting"))
        }
    }

    private mutating func hello() -> Action {
        self.phase = .saidEHLO
        let verb =
            switch self.dialect {
            case .smtp: "EHLO"
            case .lmtp: "LHLO"
            }
        return .write(Array("\(verb) \(self.name)\r\n".utf8))
    }

    private mutating func capabilitiesKnown() -> Action {
        switch self.encryption {
        case .ifOffered where !self.isEncrypted && self.capabilities.hasSTARTTLS,
            .required where !self.isEncrypted && self.capabilities.hasSTARTTLS:
            self.phase = .saidSTARTTLS
            return .write(Array("STARTTLS\r\n".utf8))

        case .required where !self.isEncrypted:
            return self.unencrypted("the hop offers no STARTTLS")

        case .never, .ifOffered, .required, .implicit:
            return self.readyForLogin()
        }
    }

    /// The hop may refuse STARTTLS although it offers it: the connection goes on in clear text, where
    /// that will do.
    private mutating func startTLSAnswered(_ reply: SMTPServerReply) -> Action {
        if reply.code == 220 {
            self.phase = .startingTLS
            return .startTLS
        }
        guard reply.replyClass > 3 else { return self.confused("to STARTTLS", reply) }
        if reply.code == 421 {
            self.phase = .closed
            return .fail(SMTPForwardError(.unreachable, "421 to STARTTLS"))
        }
        return self.encryption == .ifOffered
            ? self.readyForLogin() : self.unencrypted("\(reply.code) to STARTTLS")
    }

    // MARK: Login

    private mutating func readyForLogin() -> Action {
        guard let login = self.login else { return self.ready() }
        guard self.isEncrypted || login.isAllowedInClearText else {
            return self.notLoggedIn("the connection is not encrypted")
        }
        let offered = self.capabilities.mechanisms
        guard let exchange = login.exchange(offered, isEncrypted: self.isEncrypted) else {
            return self.notLoggedIn("the hop offers no AUTH by PLAIN, LOGIN or CRAM-MD5")
        }
        self.phase = .saidAuth(exchange)
        return .write(exchange.command)
    }

    /// The text of the reply goes into no error: it may repeat what was said.
    private mutating func authAnswered(
        _ reply: SMTPServerReply,
        _ exchange: SMTPLogin.Exchange
    ) -> Action {
        var exchange = exchange
        if reply.code == 334, let response = exchange.response(to: reply) {
            self.phase = .saidAuth(exchange)
            return .write(response)
        }
        if reply.code == 235 { return self.ready() }
        if reply.code == 421 {
            self.phase = .closed
            return .fail(SMTPForwardError(.unreachable, "421 to AUTH"))
        }
        return self.notLoggedIn("\(reply.code) to AUTH \(exchange.mechanism.rawValue)")
    }

    private mutating func notLoggedIn(_ detail: String) -> Action {
        self.phase = .closed
        return .fail(SMTPForwardError(.login, detail))
    }

    private mutating func ready() -> Action {
        self.phase = .idle
        return .ready(self.capabilities)
    }

    private mutating func unencrypted(_ detail: String) -> Action {
        self.phase = .closed
        return .fail(SMTPForwardError(.encryption, detail))
    }

    // MARK: One command at a time

    private mutating func commandAnswered(_ reply: SMTPServerReply) -> Action {
        guard reply.replyClass != 3 else { return self.confused("in the envelope", reply) }
        if reply.code == 421 {
            self.phase = .closed
            return .answeredThenClose(reply)
        }
        switch self.phase {
        case .saidMail(let envelope):
            self.wasMailAccepted = reply.isPositive
            let recipients = Recipients(hearsEach: envelope.hearsEach)
            self.phase = reply.isPositive ? .open(envelope, recipients) : .idle

        case .saidRcpt(let envelope, var recipients, let recipient):
            if reply.isPositive { recipients.taken.append(recipient) }
            self.phase = .open(envelope, recipients)

        default: break
        }
        return .answered(reply)
    }

    // MARK: Envelope

    private mutating func envelopeReplyReceived(
        _ reply: SMTPServerReply,
        _ before: Progress
    ) -> Action {
        guard reply.replyClass != 3 else { return self.confused("in the envelope", reply) }
        var progress = before
        progress.replies.append(reply)
        if progress.replies.count == 1 { self.wasMailAccepted = reply.isPositive }
        if reply.code == 421 {  // it closes, and what was pipelined gets no answer
            self.phase = .closed
            return .completedThenClose(.refused(reply))
        }
        if !self.wasMailAccepted { progress.unsent = [] }
        if let command = progress.unsent.popFirst() {
            self.phase = .sendingEnvelope(progress)
            return .write(command)
        }
        let isPipelined = self.capabilities.hasPipelining
        let expected =
            isPipelined || self.wasMailAccepted ? progress.envelope.recipients.count + 1 : 1
        guard progress.replies.count >= expected else {
            self.phase = .sendingEnvelope(progress)
            return .none
        }
        return self.envelopeAnswered(progress)
    }

    private mutating func envelopeAnswered(_ progress: Progress) -> Action {
        guard let mail = progress.replies.first, mail.isPositive else {
            self.phase = .idle
            return .completed(progress.replies.first.map { .refused($0) } ?? .recipientsRefused([]))
        }
        var recipients = Recipients(hearsEach: progress.envelope.hearsEach)
        for (recipient, reply) in zip(progress.envelope.recipients, progress.replies.dropFirst()) {
            guard !reply.isPositive else {
                recipients.taken.append(recipient)
                continue
            }
            if reply.isTooManyRecipients { recipients.left.append(recipient) }
            recipients.refused.append(NextHopRefusal(recipient: recipient, reply: reply))
        }
        let someAccepted = recipients.refused.count < progress.envelope.recipients.count
        guard someAccepted else { return self.reset(.recipientsRefused(recipients.refused)) }
        recipients.refused.removeAll { $0.reply.isTooManyRecipients }
        guard self.mayGoWithout(recipients.refused, recipients) else {
            return self.reset(.recipientsRefused(recipients.refused))
        }
        self.phase = .saidData(recipients)
        return .write(Array("DATA\r\n".utf8))
    }

    /// Whether the message may be delivered although these recipients get no copy.
    private func mayGoWithout(_ refused: [NextHopRefusal], _ recipients: Recipients) -> Bool {
        refused.isEmpty || recipients.hearsEach
            || self.deliversPartially && refused.allSatisfy { $0.reply.replyClass == 5 }
    }

    // MARK: After the dot

    private mutating func contentAnswered(
        _ replies: [SMTPServerReply],
        _ recipients: Recipients
    ) -> Action {
        guard let last = replies.last else { return .none }
        switch self.dialect {
        case .smtp:
            let outcome =
                last.isPositive
                ? NextHopOutcome.accepted(last, refused: recipients.refused, left: recipients.left)
                : .refused(last)
            return self.finish(outcome, after: last)

        case .lmtp where replies.count == recipients.taken.count:
            return self.finish(self.copiesAnswered(replies, recipients), after: last)

        case .lmtp where last.code == 421 && recipients.hearsEach:
            return self.copiesUnanswered(replies, recipients)

        case .lmtp where last.code == 421:  // it closes, and the other copies have no answer
            self.phase = .closed
            return .fail(SMTPForwardError(.closed, "421 after the dot"))

        case .lmtp:
            self.phase = .saidDot(recipients, replies)
            return .none
        }
    }

    /// The connection ended between the replies for the single copies: the others are for now.
    private mutating func copiesUnanswered(
        _ replies: [SMTPServerReply],
        _ recipients: Recipients
    ) -> Action {
        let text = Array("4.4.2 The connection to the next mail server broke".utf8)
        let missing = SMTPServerReply(code: 451, lines: [text])
        let count = max(0, recipients.taken.count - replies.count)
        self.phase = .closed
        return .completedThenClose(
            self.copiesAnswered(replies + Array(repeating: missing, count: count), recipients)
        )
    }

    /// What the replies for the single copies mean together.
    ///
    /// Where our client hears one reply, one copy that is not there is a refusal, though others are.
    private func copiesAnswered(
        _ replies: [SMTPServerReply],
        _ recipients: Recipients
    ) -> NextHopOutcome {
        let refused = zip(recipients.taken, replies).filter { !$0.1.isPositive }
            .map { NextHopRefusal(recipient: $0.0, reply: $0.1) }
        let copies = replies.filter(\.isPositive)
        guard let copy = copies.last else {
            return .recipientsRefused(refused + recipients.refused)
        }
        guard self.mayGoWithout(refused, recipients) else {
            return .copiesRefused(refused, taken: copies.count)
        }
        return .accepted(copy, refused: recipients.refused + refused, left: recipients.left)
    }

    // MARK: Ends

    private mutating func reset(_ outcome: NextHopOutcome) -> Action {
        if case .refused(let reply) = outcome, reply.code == 421 {
            self.phase = .closed
            return .completedThenClose(outcome)
        }
        self.phase = .resetting
        return .completedWriting(outcome, Array("RSET\r\n".utf8))
    }

    private mutating func finish(_ outcome: NextHopOutcome, after reply: SMTPServerReply) -> Action
    {
        if reply.code == 421 {
            self.phase = .closed
            return .completedThenClose(outcome)
        }
        self.phase = .idle
        return .completed(outcome)
    }

    private mutating func confused(_ place: String, _ reply: SMTPServerReply) -> Action {
        self.phase = .closed
        return .fail(SMTPForwardError(.malformed, "\(reply.code) \(place)"))
    }
}
