import NIOCore
import PolicyKit

/// What the plugins that hand messages on have in common: their arguments, and how one message goes.
struct NextHopQueue: Sendable {
    private let hops: NextHops
    private let route: [ServerAddress]
    private let routes: ControlFile<SMTPRoutes>?
    private let time: Duration

    /// Reads the named arguments.
    ///
    /// - Parameters:
    ///   - configuration: The plugin's line.
    ///   - dialect: What the hops speak.
    ///   - route: The next hops where `routes` says no others, in the order in which they are tried.
    /// - Throws: What is wrong in the file of `routes`.
    init(
        _ configuration: PluginConfiguration,
        _ dialect: SMTPClientMachine.Dialect,
        route: [ServerAddress]
    ) throws {
        self.route = route
        self.routes = try configuration.argument("routes", as: .text).map { file in
            try configuration.controlFile(file) { try SMTPRoutes($0, dialect) }
        }
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .seconds(1)...(.seconds(600))),
            default: .seconds(60)
        )
        let deliversPartially = configuration.argument(
            "partial",
            as: .choice(["refuse": false, "deliver": true]),
            default: false
        )
        let isLocal = route.allSatisfy(\.isUnix)
        let settings = NextHops.Settings(configuration, tls: isLocal ? .none : .may)
        self.hops = NextHops(
            configuration,
            dialect,
            settings,
            deliversPartially: deliversPartially
        )
    }

    func stop() async { await self.hops.stopped() }

    /// Hands a message on, and says what the client is told.
    func deliver(_ event: QueueHook.QueueEvent) async throws -> Answer {
        let message = try event.message
        let envelope = try SMTPEnvelope(
            event.transaction.sender,
            event.recipients,
            size: message.size,
            event.transaction
        )
        guard !envelope.recipients.isEmpty else {
            return .deny("No recipients to deliver to", code: 554, status: "5.5.1")
        }
        let deadline = event.deadline(within: self.time)
        let groups = self.groups(envelope, event)
        guard envelope.hearsEach else {
            let report = try await self.hops.deliver(groups, message, until: deadline)
            Self.log(report, event)
            return NextHopAnswer.answer(report, queueID: event.queueID)
        }
        let reports = try await self.hops.deliverEach(groups, message, until: deadline)
        for report in reports { Self.log(report, event) }
        return NextHopAnswer.answerEach(reports, event)
    }

    /// The recipients by where they go.
    private func groups(
        _ envelope: SMTPEnvelope,
        _ event: QueueHook.QueueEvent
    ) -> [NextHops.Group] {
        guard let routes = self.routes.map({ event.value(of: $0) }) else {
            return [NextHops.Group(route: self.route, envelope: envelope)]
        }
        let byRoute = Dictionary(grouping: event.recipients) { recipient in
            routes.route(recipient.domain.octets) ?? self.route
        }
        return byRoute.map { route, recipients in
            var part = envelope
            part.recipients = recipients.map(\.address.octets)
            return NextHops.Group(route: route, envelope: part)
        }
    }

    private static func log(_ report: NextHopReport, _ event: QueueHook.QueueEvent) {
        for (address, error) in report.passedOver {
            event.logger.warning(
                "a next hop failed; trying another one",
                metadata: ["hop": "\(address)", "error": "\(error)"]
            )
        }
        for (address, reply) in report.taken {
            let text = String(decoding: reply.lines.first ?? [], as: UTF8.self)
            event.info("\(address): \(reply.code) \(text)")
        }
        for refusal in report.refused {
            let recipient = String(decoding: refusal.recipient, as: UTF8.self)
            event.logger.warning(
                "delivered without a recipient that the next hop refused",
                metadata: ["recipient": "\(recipient)", "code": "\(refusal.reply.code)"]
            )
        }
        guard let failure = report.failure else { return }
        let address = failure.address
        switch failure.reason {
        case .error(let error): event.error("\(address): \(error)")
        case .refusal(.impossible(let obstacle)):
            event.info("fail, \(address) lacks what the \(obstacle) needs")
        case .refusal(.attempted(.recipientsRefused(let refusals))):
            event.info("fail, \(address) refused \(refusals.count) recipients")
        case .refusal(.attempted(.copiesRefused(let refusals, let taken))):
            event.info("fail, \(address) refused \(refusals.count) copies and has \(taken)")
        case .refusal(.attempted(.refused(let reply))),
            .refusal(.attempted(.accepted(let reply, _, _))):
            event.info("fail, \(address): \(reply.code)")
        }
    }
}

extension HookEvent {
    /// When the work for this event has to end: after `time`, or so early that the answer can still travel.
    func deadline(within time: Duration) -> NIODeadline {
        let time = min(time, self.workingTime)
        return .now() + TimeAmount(max(time, .milliseconds(1)))
    }
}

extension NextHops {
    /// The hops of a plugin's line, with the login that its arguments name.
    ///
    /// - Parameters:
    ///   - configuration: The plugin's line.
    ///   - dialect: What the hops speak.
    ///   - settings: How they are asked.
    ///   - deliversPartially: Whether a message goes to the recipients that the hop takes, if it refuses others.
    convenience init(
        _ configuration: PluginConfiguration,
        _ dialect: SMTPClientMachine.Dialect,
        _ settings: Settings,
        deliversPartially: Bool = false
    ) {
        self.init(
            loop: configuration.shared.eventLoop,
            settings: settings,
            machine: SMTPClientMachine(
                dialect,
                name: configuration.shared.hostname,
                deliversPartially: deliversPartially,
                login: SMTPLogin(configuration, settings.tls.level)
            ),
            logger: configuration.logger
        )
    }
}

extension NextHops.Settings {
    /// Reads the arguments for connections.
    init(_ configuration: PluginConfiguration, tls level: NextHopTLS.Level) {
        func time(_ name: String, _ default: Duration, _ range: ClosedRange<Duration>) -> TimeAmount
        {
            TimeAmount(configuration.argument(name, as: .duration(in: range), default: `default`))
        }
        self.limits.connections = configuration.argument(
            "connections",
            as: .integer(in: 1...1000),
            default: self.limits.connections
        )
        self.limits.idleTime = time("idle_timeout", .seconds(30), .zero...(.seconds(3600)))
        self.limits.connectTime = time(
            "connect_timeout",
            .seconds(10),
            .seconds(1)...(.seconds(60))
        )
        self.hopTime = time("hop_timeout", .seconds(20), .seconds(1)...(.seconds(300)))
        self.restTime = time("rest", .seconds(60), .zero...(.seconds(3600)))
        self.tls = NextHopTLS(configuration, default: level)
    }
}
