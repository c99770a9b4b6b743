import Logging
import NIOCore
import PolicyKit
import Synchronization

/// The next hops of one plugin: hands messages to the first one that works.
final class NextHops: Sendable {
    struct Settings: Sendable {
        var limits = SMTPConnectionPool.Limits()
        var tls = NextHopTLS.none
        /// How long a hop may take until it wants the content, if there is another one to try.
        var hopTime: TimeAmount = .seconds(20)
        /// How long a hop that failed is left alone, if there is another one to try.
        var restTime: TimeAmount = .seconds(60)
    }

    typealias PassedOver = (address: ServerAddress, error: SMTPForwardError)

    /// What became of the attempts with the hops of a route.
    enum Opened<Ready: Sendable>: Sendable {
        case ready(Ready)
        case failed(ServerAddress, NextHopReport.Failure.Reason)
    }

    /// The recipients that have the same next hops.
    struct Group: Sendable {
        /// In the order in which they are tried; not empty.
        let route: [ServerAddress]
        var envelope: SMTPEnvelope
    }

    private struct State {
        var hops: [ServerAddress: SMTPNextHop] = [:]
        var rests: HopRests
    }

    private let loop: any EventLoop
    private let settings: Settings
    private let machine: SMTPClientMachine
    private let logger: Logger
    private let state: Mutex<State>

    init(
        loop: any EventLoop,
        settings: Settings,
        machine: SMTPClientMachine,
        logger: Logger
    ) {
        self.loop = loop
        self.settings = settings
        self.machine = machine
        self.logger = logger
        self.state = Mutex(State(rests: HopRests(time: settings.restTime)))
    }

    /// Closes the connections that no delivery uses, when the worker leaves.
    func stopped() async {
        do {
            try await self.stop()
        } catch {
            // The loop is gone, and the connections with it.
        }
    }

    /// Closes the connections that no delivery uses.
    func stop() async throws {
        for hop in self.state.withLock({ Array($0.hops.values) }) { try await hop.stop() }
    }

    /// Hands a message to the next hops of each group, or says why not.
    ///
    /// No hop gets the content before a hop of every group has accepted its recipients. What a hop
    /// refuses after that, or does not answer, it refuses although the hops before it have the message.
    ///
    /// Where a hop takes fewer recipients in one transaction than there are, the message is sent
    /// again for the recipients that are left. If the hop then refuses some, the recipients before
    /// them have the message already.
    ///
    /// - Throws: What the spool file's reading threw; `CancellationError` if the task is cancelled.
    func deliver(
        _ groups: [Group],
        _ message: Message,
        until deadline: NIODeadline
    ) async throws -> NextHopReport {
        var report = NextHopReport()
        var waiting: [(group: Group, transaction: NextHopTransaction)] = []
        defer { for (_, transaction) in waiting { transaction.abandon() } }
        // Always in one order: messages that wait for connections do not wait for each other.
        for group in groups.sorted(by: { "\($0.route)" < "\($1.route)" }) {
            guard let opened = try await self.open(group, message, deadline, &report) else {
                return report
            }
            waiting.append((group, opened))
        }
        while let (group, transaction) = waiting.first {
            waiting.removeFirst()
            try await self.send(message, group, transaction, deadline, &report)
            guard report.failure == nil else { break }
        }
        return report
    }

    /// Gets a transaction as far as the content, with the first hop that works.
    ///
    /// - Returns: `nil` if there is none; `report.failure` says why.
    private func open(
        _ group: Group,
        _ message: Message,
        _ deadline: NIODeadline,
        _ report: inout NextHopReport
    ) async throws -> NextHopTransaction? {
        let opened = try await self.first(of: group.route, deadline, &report.passedOver) {
            try await $0.open(group.envelope, message, until: $1)
        }
        switch opened {
        case .ready(let transaction): return transaction
        case .failed(let address, let reason):
            report.failure = .init(address, group, reason)
            return nil
        }
    }

    /// Says `MAIL` to the first hop that works, for a transaction whose owner says one command after the
    /// other.
    func begin(
        _ route: [ServerAddress],
        _ envelope: SMTPEnvelope,
        until deadline: NIODeadline,
        _ passedOver: inout [PassedOver]
    ) async throws -> Opened<NextHopDialogue> {
        try await self.first(of: route, deadline, &passedOver) {
            try await $0.begin(envelope, until: $1)
        }
    }

    /// What the first hop that works makes of an attempt.
    ///
    /// A hop that cannot be reached, breaks off, is too slow or says 421 is passed over. Any other
    /// refusal is an answer, and the next hop is not asked.
    private func first<Ready: Sendable>(
        of route: [ServerAddress],
        _ deadline: NIODeadline,
        _ passedOver: inout [PassedOver],
        _ attempt: (SMTPNextHop, NIODeadline) async throws -> SMTPNextHop.Opening<Ready>
    ) async throws -> Opened<Ready> {
        let order = self.state.withLock { $0.rests.order(route, at: .now()) }
        for (index, address) in order.enumerated() {
            let isLast = index == order.count - 1
            let latest = isLast ? deadline : min(deadline, .now() + self.settings.hopTime)
            do {
                switch try await attempt(self.hop(address), latest) {
                case .ready(let ready):
                    self.state.withLock { $0.rests.worked(address) }
                    return .ready(ready)

                case .ended(let delivery) where delivery.isClosing && !isLast:
                    self.rest(address)
                    passedOver.append((address, SMTPForwardError(.closed, "421")))

                case .ended(let delivery):
                    return .failed(address, .refusal(delivery))
                }
            } catch let error as SMTPForwardError {
                // The event that waited for the answer is over, and closed the connection.
                try Task.checkCancellation()
                self.failed(address, error)
                guard !isLast, .now() < deadline else {
                    return .failed(address, .error(error))
                }
                passedOver.append((address, error))
            }
        }
        // A route is not empty.
        return .failed(.unix(path: ""), .error(SMTPForwardError(.unreachable, "no next hop")))
    }

    /// Hands a message to the next hops of each group, and says for each group what became of it.
    ///
    /// For a client that hears of each recipient: a group that fails keeps nothing from the others.
    ///
    /// - Throws: As ``deliver(_:_:until:)``.
    func deliverEach(
        _ groups: [Group],
        _ message: Message,
        until deadline: NIODeadline
    ) async throws -> [NextHopReport] {
        try await withThrowingTaskGroup(of: NextHopReport.self) { tasks in
            for group in groups {
                tasks.addTask { try await self.deliver([group], message, until: deadline) }
            }
            return try await tasks.reduce(into: []) { $0.append($1) }
        }
    }

    /// Sends the content, and begins again for recipients that were too many for one transaction.
    private func send(
        _ message: Message,
        _ group: Group,
        _ opened: NextHopTransaction,
        _ deadline: NIODeadline,
        _ report: inout NextHopReport
    ) async throws {
        var group = group
        var transaction = opened
        while true {
            let outcome: NextHopOutcome
            do {
                outcome = try await transaction.send(message, until: deadline)
            } catch let error as SMTPForwardError {
                try Task.checkCancellation()
                // It may have the message: no other hop gets it.
                self.failed(transaction.address, error)
                report.failure = .init(transaction.address, group, .error(error))
                return
            }
            guard case .accepted(let reply, let refused, let left) = outcome else {
                report.failure = .init(transaction.address, group, .refusal(.attempted(outcome)))
                return
            }
            report.taken.append((transaction.address, reply))
            report.refused += refused
            guard !left.isEmpty else { return }
            // Each transaction is for fewer recipients than the one before.
            group.envelope.recipients = left
            guard let next = try await self.open(group, message, deadline, &report) else {
                self.forgiveRefusals(&report)
                return
            }
            transaction = next
        }
    }

    /// Lets refusals for good pass, if some recipients have the message and others may go without.
    private func forgiveRefusals(_ report: inout NextHopReport) {
        guard self.machine.deliversPartially,
            case .refusal(.attempted(.recipientsRefused(let refused)))? = report.failure?.reason,
            refused.allSatisfy({ $0.reply.replyClass == 5 })
        else { return }
        report.failure = nil
        report.refused += refused
    }

    private func hop(_ address: ServerAddress) -> SMTPNextHop {
        self.state.withLock { state in
            if let hop = state.hops[address] { return hop }
            let hop = SMTPNextHop(
                loop: self.loop,
                address: address,
                limits: self.settings.limits,
                tls: self.settings.tls,
                machine: self.machine,
                logger: self.logger
            )
            state.hops[address] = hop
            return hop
        }
    }

    /// A hop failed at what was asked of it: it rests, if something is wrong with it.
    func failed(_ address: ServerAddress, _ error: SMTPForwardError) {
        switch error.code {
        case .unreachable, .closed, .timedOut, .malformed, .encryption, .login:
            self.rest(address)
        case .busy, .bareNewline, .hiddenEnd:  // nothing is wrong with the hop
            break
        }
    }

    private func rest(_ address: ServerAddress) {
        self.state.withLock { $0.rests.failed(address, at: .now()) }
    }
}

/// What became of a message at all its next hops.
struct NextHopReport: Sendable {
    /// Why recipients have no copy.
    struct Failure: Sendable {
        enum Reason: Sendable {
            case refusal(SMTPDelivery)
            case error(SMTPForwardError)
        }

        let address: ServerAddress
        /// Those of the transaction that failed.
        ///
        /// With an error after the content, their copies may exist.
        let recipients: [[UInt8]]
        let reason: Reason

        init(_ address: ServerAddress, _ group: NextHops.Group, _ reason: Reason) {
            self.address = address
            self.recipients = group.envelope.recipients
            self.reason = reason
        }
    }

    /// Each transaction that a hop accepted, with its reply.
    var taken: [(address: ServerAddress, reply: SMTPServerReply)] = []
    /// Recipients without a copy, although the message counts as delivered.
    var refused: [NextHopRefusal] = []
    /// Hops that failed before they had anything, so that another one was tried.
    var passedOver: [NextHops.PassedOver] = []
    /// Why not every recipient has the message; `nil`: every one has it, but for those `refused`.
    var failure: Failure?
}

extension NextHopReport.Failure {
    /// What the hop said of single recipients; empty if it said nothing of any.
    var refusals: [NextHopRefusal] {
        switch self.reason {
        case .refusal(.attempted(.recipientsRefused(let refusals))),
            .refusal(.attempted(.copiesRefused(let refusals, _))):
            refusals
        case .refusal, .error: []
        }
    }
}
