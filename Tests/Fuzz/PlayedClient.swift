import SMTPCore

/// A client and a policy at once: feeds octets to a session and answers its questions at once.
final class PlayedClient {
    private var session: SMTPSession
    private let outcome: (SMTPQuestion) -> SMTPOutcome
    private var waiting: [UInt8] = []
    private var content: [UInt8] = []
    private var recipients = 0
    /// The code of each reply, in order.
    private(set) var codes: [UInt16] = []
    /// The content of each message that was asked about.
    private(set) var messages: [[UInt8]] = []
    private(set) var isClosed = false

    init(
        _ configuration: SMTPConfiguration,
        outcome: @escaping (SMTPQuestion) -> SMTPOutcome
    ) {
        self.session = SMTPSession(configuration: configuration)
        self.outcome = outcome
        if self.perform(self.session.connectionOpened()) { self.run() }
    }

    func send(_ octets: some Sequence<UInt8>) {
        guard !self.isClosed else { return }
        self.waiting += octets
        self.run()
    }

    private func run() {
        // A step takes octets, or answers something, or ends the run.
        var idle = 0
        while true {
            let step = self.session.next(in: self.waiting.span, content: &self.content)
            promise(step.consumed <= self.waiting.count, "more octets are used than came")
            idle = step.consumed > 0 ? 0 : idle + 1
            promise(idle < 16, "the session does not go on")
            self.waiting.removeFirst(step.consumed)
            guard self.perform(step.action) else { return }
        }
    }

    /// Whether there is more to do with what has come.
    private func perform(_ action: SMTPAction) -> Bool {
        switch action {
        case .needOctets, .awaitAnswer, .dropStale, .closed, .startTLS: return false
        case .contentAppended, .proceed: return true

        case .reply(let reply):
            self.codes.append(reply.code.rawValue)
            return true

        case .clientNamed(let client):
            return self.perform(
                self.session.clientReplaced(isAuthenticated: client[.login] != nil)
            )

        case .forwarded(_, let reply):
            self.codes.append(reply.code.rawValue)
            return true

        case .resetThenReply(let reply):
            self.codes.append(reply.code.rawValue)
            self.content = []
            return true

        case .replyThenClose(let reply):
            self.codes.append(reply.code.rawValue)
            self.isClosed = true
            return false

        case .ask(let question):
            if case .message(let facts) = question {
                promise(facts.octets == self.content.count, "the size is not that of the message")
                self.messages.append(self.content)
            }
            let outcome = self.outcome(question)
            switch (question, outcome) {
            case (.mail, .granted): self.recipients = 0
            case (.rcpt, .granted): self.recipients += 1
            default: break
            }
            return self.perform(self.session.answered(outcome, recipients: self.recipients))
        }
    }
}

/// Whatever the octets are, a session answers the same however they are cut, and goes on or ends.
enum SessionTarget {
    static func play(_ input: [UInt8]) { self.play(input, mechanisms: []) }

    /// The same, where the client may log in.
    static func playLogins(_ input: [UInt8]) {
        self.play(input, mechanisms: SMTPMechanism.allCases)
    }

    private static func play(_ input: [UInt8], mechanisms: [SMTPMechanism]) {
        guard input.count > 2 else { return }
        let (cut, choices) = (input[input.count - 1], input[input.count - 2])
        // What follows DATA has to wait for its reply: whether it did is a matter of time, not of octets.
        let parts = Self.partsUpToData(input.dropLast(2))
        let configuration = Self.configuration(mechanisms)
        let whole = Self.play(parts, choices, configuration)
        let cutUp = Self.play(parts.flatMap { pieces($0, cut: cut) }, choices, configuration)
        promise(whole == cutUp, "a session depends on the cut: \(whole) and \(cutUp)")
    }

    /// The octets, cut behind each line that may be DATA.
    private static func partsUpToData(_ octets: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        var parts: [ArraySlice<UInt8>] = []
        var (part, line) = (octets.startIndex, octets.startIndex)
        for index in octets.indices where octets[index] == 0x0A {
            if octets[line] | 0x20 == UInt8(ascii: "d") {
                parts.append(octets[part...index])
                part = index + 1
            }
            line = index + 1
        }
        return parts + [octets[part...]]
    }

    private struct Played: Equatable {
        let codes: [UInt16]
        let messages: [[UInt8]]
        let isClosed: Bool
    }

    private static func play(
        _ pieces: [ArraySlice<UInt8>],
        _ choices: UInt8,
        _ configuration: SMTPConfiguration
    ) -> Played {
        var (count, step) = (0, 0)
        let client = PlayedClient(configuration) { question in
            count += 1
            if case .auth(let credentials) = question,
                case .message(let message, let number) = credentials.proof
            {
                promise(number == 1 || number == step + 1, "a step was left out")
                promise(number > 1 || !message.isEmpty, "the first message is empty")
                step = number
                if number < 4, choices >> UInt8(number) & 1 == 1 {
                    return .challenged(.challenge(Array("next".utf8)))
                }
            }
            // Each question has its bit: a session asks more than eight, so they come again.
            guard count > 2, choices >> UInt8(count & 7) & 1 == 1 else { return .granted(nil) }
            return .refused(StandardReplies.dataDenied)
        }
        for piece in pieces { client.send(piece) }
        return Played(
            codes: client.codes,
            messages: client.messages,
            isClosed: client.isClosed
        )
    }

    private static func configuration(_ mechanisms: [SMTPMechanism]) -> SMTPConfiguration {
        var limits = SMTPLimits()
        limits.maximumMessageOctets = 2_048
        limits.maximumHeaderOctets = 1_024
        limits.maximumTextLineOctets = 256
        return SMTPConfiguration(
            hostname: Array("mx.example.org".utf8),
            limits: limits,
            extensions: { _ in SMTPExtensions.standard.union([.binaryMIME, .dsn]) },
            trust: [.xclient, .xforward],
            mechanisms: mechanisms,
            offersAuthInClear: true
        )
    }
}
