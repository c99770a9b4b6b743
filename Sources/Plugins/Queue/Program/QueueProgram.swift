import PolicyKit
import System

/// A program that takes messages: what the plugins that start one have in common.
struct QueueProgram: Sendable {
    /// How many messages may wait for each program that runs.
    private static let waitingForEach = 32

    /// Its absolute path.
    let path: String
    private let time: Duration
    private let turns: Turns

    /// Reads the arguments `timeout` and `at_once`.
    ///
    /// - Parameters:
    ///   - configuration: The plugin's line.
    ///   - path: As the operator wrote it.
    init(_ configuration: PluginConfiguration, path: String) {
        self.path = configuration.resolve(path: path)
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100)...(.seconds(600))),
            default: .seconds(30)
        )
        let atOnce = configuration.argument("at_once", as: .integer(in: 1...64), default: 8)
        self.turns = Turns(atOnce: atOnce, longestLine: atOnce * Self.waitingForEach)
        if !Spawn.canStart(self.path) {
            configuration.record(
                "\(self.path) cannot be started: name a program that this user may start"
            )
        }
    }

    /// How one run ended.
    enum Outcome: Sendable {
        /// By itself.
        case ended(Handover.Ending)
        /// There is nothing to learn from the program; the log knows why.
        case failed(Answer)
    }

    /// Runs the program once.
    ///
    /// - Parameters:
    ///   - event: The message's.
    ///   - arguments: What follows the path.
    ///   - environment: Variables beside those of this process.
    ///   - inputs: Makes what the program reads, on the thread that writes it.
    /// - Returns: How it ended. It had the whole message, unless `hasTakenAll` is false.
    /// - Throws: `CancellationError`.
    func run(
        _ event: QueueHook.QueueEvent,
        _ arguments: [String],
        environment: [String: String] = [:],
        _ inputs: @escaping @Sendable () throws -> [Handover.Input]
    ) async throws -> Outcome {
        let words = [self.path] + arguments
        let result = try await self.turns.take { () -> Result<Handover.Ending, any Error>? in
            let now = ContinuousClock.now
            // The end of the message is held back if there is not some time left for what follows it.
            let handover = Handover(
                words: words,
                environment: environment,
                inputDeadline: now + min(self.time, event.workingTime - .milliseconds(500)),
                deadline: now + event.workingTime
            )
            return await onThreadOfItsOwn { () -> Result<Handover.Ending, any Error> in
                Result { try handover.run(try inputs()) }
            }
        }
        guard let result else {
            event.error("too many messages at once for \(self.path)")
            return .failed(
                .denysoft("Too many messages at once, try again", code: 451, status: "4.3.2")
            )
        }
        switch result {
        case .success(let ending)?:
            Self.log(ending, self.path, event)
            return .ended(ending)

        case .failure(let error)?: return .failed(self.answer(error, event))
        case nil:
            event.error("no thread for \(self.path)")
            return .failed(Self.tryAgain)
        }
    }

    private func answer(_ error: any Error, _ event: QueueHook.QueueEvent) -> Answer {
        switch error {
        case Handover.Failure.tooLate(hasTakenAll: false):
            event.error("\(self.path) was ended: it did not take the message in time")
        case Handover.Failure.tooLate(hasTakenAll: true):
            event.error(
                "\(self.path) was ended: it had the message and said nothing in time; it may have a copy"
            )
        case Handover.Failure.input(let error as SMTPForwardError):
            event.error("\(error)")
            return NextHopAnswer.answer(.error(error))
        case Handover.Failure.input(let error): event.error("\(error)")
        case Handover.Failure.system(let error): event.error("\(error)")
        default: event.error("\(error)")
        }
        return Self.tryAgain
    }

    /// What the client is told if a program says nothing about the message.
    static let tryAgain = Answer.denysoft(
        "Could not hand the message on, try again",
        code: 451,
        status: "4.3.0"
    )

    private static func log(
        _ ending: Handover.Ending,
        _ path: String,
        _ event: QueueHook.QueueEvent
    ) {
        let words = ProgramReply.lines(of: ending.messages).first.map { ": \($0)" } ?? ""
        switch ending.code {
        case 0 where ending.hasTakenAll: event.info("\(path) took the message\(words)")
        case 0: event.error("\(path) ended before it had read the whole message")
        case ..<0: event.error("\(path) was ended by signal \(-ending.code)\(words)")
        default: event.info("fail, \(path) ended with status \(ending.code)\(words)")
        }
    }
}

/// The envelope as programs take it.
struct ProgramEnvelope: Sendable {
    /// Empty for the null reverse-path.
    let sender: [UInt8]
    let recipients: [Recipient]

    /// Why a message is not for a program at all.
    enum Obstacle: Error {
        case refused(Answer)
    }

    /// - Throws: ``Obstacle`` if there are no recipients, or if REQUIRETLS asks for what no program can
    ///   promise (RFC 8689 §4.1); ``PluginError`` if an address has control octets.
    init(_ event: QueueHook.QueueEvent, mayRequireTLS: Bool = false) throws {
        let sender = event.transaction.sender
        self.sender = sender.address.octets
        self.recipients = event.recipients
        guard !self.recipients.isEmpty else {
            throw Obstacle.refused(
                .deny("No recipients to deliver to", code: 554, status: "5.5.1")
            )
        }
        guard mayRequireTLS || !sender.params.contains(where: { $0.keyword == "REQUIRETLS" }) else {
            throw Obstacle.refused(
                .deny("REQUIRETLS cannot be kept here", code: 550, status: "5.7.30")
            )
        }
        // The frontend's grammar knows no such address; in an envelope it would be another address.
        let addresses = [self.sender] + self.recipients.map(\.address.octets)
        guard addresses.allSatisfy({ $0.allSatisfy { $0 >= 0x20 && $0 != 0x7F } }) else {
            throw PluginError("an address with control octets")
        }
    }

    /// An address as a word of a program's arguments.
    ///
    /// - Throws: ``Obstacle`` if it is no UTF-8, for then it would be another address.
    static func word(_ address: [UInt8]) throws -> String {
        guard let word = String(validating: address, as: UTF8.self) else {
            throw Obstacle.refused(
                .deny("The address is not UTF-8", code: 553, status: "5.6.7")
            )
        }
        return word
    }
}

extension HookEvent {
    /// What programs that take mail find in their environment, with the names of Postfix.
    ///
    /// Octets that are no UTF-8, or control characters, become `?`.
    var programEnvironment: [String: String] {
        var variables = [
            "CLIENT_ADDRESS": self.session.client.ip, "EVENT_KEY": self.key,
            "SESSION_ID": self.session.id,
        ]
        variables["CLIENT_HOSTNAME"] = self.session.client.name.map { Self.variable($0) }
        variables["CLIENT_HELO"] = self.session.hello.map { Self.variable($0.name) }
        variables["CLIENT_PROTOCOL"] = self.session.hello.map {
            $0.isExtended ? $0.verb == "LHLO" ? "LMTP" : "ESMTP" : "SMTP"
        }
        variables["SASL_USERNAME"] = self.session.authentication.map { Self.variable($0.user) }
        variables["SASL_METHOD"] = self.session.authentication?.mechanism
        return variables
    }

    private static func variable(_ bytes: Bytes) -> String {
        let text = String(decoding: bytes.octets.prefix(1_024), as: UTF8.self)
        let scalars = text.unicodeScalars.map { scalar in
            scalar.value < 0x20 || 0x7F...0x9F ~= scalar.value || scalar == "\u{FFFD}"
                ? "?" : scalar
        }
        return String(String.UnicodeScalarView(scalars))
    }
}
