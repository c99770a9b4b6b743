@testable import SMTPCore

/// A client and a policy at once: feeds octets to a session and answers its questions.
final class SessionDriver {
    enum Event: Equatable {
        case asked(SMTPQuestion)
        case said(SMTPReply)
        /// The transaction was over before the reply that follows.
        case reset
        case closed
        /// A handshake follows the reply before.
        case handshake
        /// XCLIENT and XFORWARD.
        case named(ClientAttributes)
        case forwarded(ClientAttributes)
    }

    var session: SMTPSession
    var events: [Event] = []
    /// Content of the messages that were asked about.
    var messages: [[UInt8]] = []
    /// How much content there was when the end of a header was asked about.
    var headerOctets: [Int] = []
    /// `nil` leaves the question open.
    var answer: (SMTPQuestion) -> SMTPOutcome?
    private(set) var pending: [UInt8] = []
    private(set) var content: [UInt8] = []
    var isClosed = false
    /// The recipients of the envelope, which is policy's: MAIL empties it, each grant at RCPT adds
    /// one, and a test that plays a worker sets it.
    var recipients = 0
    private var openQuestion: SMTPQuestion?

    init(
        _ configuration: SMTPConfiguration = .test(),
        answer: @escaping (SMTPQuestion) -> SMTPOutcome? = { _ in .granted(nil) }
    ) {
        self.session = SMTPSession(configuration: configuration)
        self.answer = answer
    }

    /// Opens the connection and, unless told otherwise, says EHLO; forgets what came of it.
    static func greeted(
        _ configuration: SMTPConfiguration = .test(),
        answer: @escaping (SMTPQuestion) -> SMTPOutcome? = { _ in .granted(nil) }
    ) -> SessionDriver {
        let driver = SessionDriver(configuration)
        driver.open()
        driver.send("EHLO client.example\r\n")
        driver.events = []
        driver.answer = answer
        return driver
    }

    func open() {
        if self.perform(self.session.connectionOpened()) { self.run() }
    }

    func send(_ text: String) { self.send([UInt8](text.utf8)) }

    func send(_ octets: [UInt8]) {
        guard !self.isClosed else { return }
        self.pending += octets
        guard self.session.wait != .answer else {
            self.session.octetsArrivedEarly()
            return
        }
        self.run()
    }

    /// Answers a question that was left open.
    func decide(_ outcome: SMTPOutcome) {
        if self.perform(self.answered(outcome)) { self.run() }
    }

    func tell(_ event: (inout SMTPSession) -> SMTPAction) {
        if self.perform(event(&self.session)) { self.run() }
    }

    private func run() {
        while true {
            let step = self.session.next(in: self.pending.span, content: &self.content)
            self.pending.removeFirst(step.consumed)
            guard self.perform(step.action) else { return }
        }
    }

    private func perform(_ action: SMTPAction) -> Bool {
        switch action {
        case .needOctets, .awaitAnswer, .dropStale, .closed:
            return false
        case .contentAppended, .proceed:
            return true
        case .reply(let reply):
            self.events.append(.said(reply))
            return true
        case .resetThenReply(let reply):
            self.events.append(.reset)
            self.events.append(.said(reply))
            self.content = []
            return true
        case .startTLS(let reply):
            self.events.append(.said(reply))
            self.events.append(.handshake)
            return false
        case .clientNamed(let client):
            self.events.append(.named(client))
            return self.perform(
                self.session.clientReplaced(isAuthenticated: client[.login] != nil)
            )
        case .forwarded(let client, let reply):
            self.events.append(.forwarded(client))
            self.events.append(.said(reply))
            return true
        case .replyThenClose(let reply):
            self.events.append(.said(reply))
            self.events.append(.closed)
            self.isClosed = true
            return false
        case .ask(let question):
            self.note(question)
            guard let outcome = self.answer(question) else { return false }
            return self.perform(self.answered(outcome, to: self.session.questionID))
        }
    }

    private func note(_ question: SMTPQuestion) {
        self.events.append(.asked(question))
        self.openQuestion = question
        switch question {
        case .headersEnd: self.headerOctets.append(self.content.count)
        case .message: self.messages.append(self.content)
        default: break
        }
    }

    // MARK: The session, for expectations, which cannot look into what is not Copyable

    var configuration: SMTPConfiguration { self.session.configuration }
    var counters: AbuseMeter { self.session.counters }
    var wait: SMTPWait { self.session.wait }
    var isEarlyTalker: Bool { self.session.isEarlyTalker }
    var isInTransaction: Bool { self.session.isInTransaction }
    var isDiscardingContent: Bool { self.session.isDiscardingContent }
    var questionID: UInt64 { self.session.questionID }

    func connectionOpened() -> SMTPAction { self.session.connectionOpened() }
    func encrypted() -> Bool { self.session.encrypted() }
    func connectionClosed() { self.session.connectionClosed() }
    func timedOut() -> SMTPAction { self.session.timedOut() }
    func shutdownDeadlinePassed() -> SMTPAction { self.session.shutdownDeadlinePassed() }

    func answered(_ outcome: SMTPOutcome, to questionID: UInt64? = nil) -> SMTPAction {
        if case .granted = outcome {
            switch self.openQuestion {
            case .mail: self.recipients = 0
            case .rcpt: self.recipients += 1
            default: break
            }
        }
        self.openQuestion = nil
        return self.session.answered(outcome, recipients: self.recipients, to: questionID)
    }

    func next(in octets: [UInt8]) -> SMTPSession.Step {
        self.session.next(in: octets.span, content: &self.content)
    }

    // MARK: What a test looks at

    /// The replies since the last look, as numbers.
    func codes() -> [UInt16] {
        defer { self.events = [] }
        return self.replies.map(\.code.rawValue)
    }

    var replies: [SMTPReply] {
        self.events.compactMap {
            if case .said(let reply) = $0 { reply } else { nil }
        }
    }

    var questions: [SMTPQuestion] {
        self.events.compactMap {
            if case .asked(let question) = $0 { question } else { nil }
        }
    }

    /// Sends one line and tells the code of its last reply.
    func code(of line: String) -> UInt16? {
        self.events = []
        self.send(line + "\r\n")
        return self.replies.last?.code.rawValue
    }

    func beginTransaction(recipients: Int = 1) {
        self.send("MAIL FROM:<a@example.net>\r\n")
        for _ in 0..<recipients { self.send("RCPT TO:<b@example.org>\r\n") }
        self.events = []
    }

    func beginContent() {
        self.beginTransaction()
        self.send("DATA\r\n")
        self.events = []
    }
}

extension SMTPConfiguration {
    static func test(
        bareNewline: BareNewlineRule = .reject,
        extensions: SMTPExtensions = .standard,
        pathOptions: PathGrammar.Options = [],
        commandOptions: SMTPCommandOptions = [],
        _ change: (inout SMTPLimits) -> Void = { _ in }
    ) -> SMTPConfiguration {
        var limits = SMTPLimits()
        change(&limits)
        return SMTPConfiguration(
            hostname: octets("mx.example.org"),
            limits: limits,
            extensions: { _ in extensions },
            bareNewline: bareNewline,
            pathOptions: pathOptions,
            commandOptions: commandOptions
        )
    }
}

func octets(_ text: String) -> [UInt8] { [UInt8](text.utf8) }

/// Every way to cut `octets` in two, all at once, and one by one.
func splits(_ octets: [UInt8]) -> [[[UInt8]]] {
    var result = [[octets], octets.map { [$0] }]
    for offset in octets.indices.dropFirst() {
        result.append([Array(octets[..<offset]), Array(octets[offset...])])
    }
    return result
}

/// A small generator with a seed: the same run every time.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        self.state = seed
    }

    /// SplitMix64.
    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var word = self.state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
