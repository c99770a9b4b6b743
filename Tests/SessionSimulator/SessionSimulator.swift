import PolicyCore
import PolicyProtocol
import PoolCore
import PoolSimulator
import SMTPCore
import SessionPlay

/// Plays whole sessions at random, but the same for the same seed: clients, the SMTP machine, the
/// policy machine, the pool machines, their workers, the disk and the clock.
///
/// It looks for what must never be, whatever happens in whatever order:
///
/// - Each command has one reply, in order.
/// - The final dot is answered 250 when a worker took the message, and only then; a recipient is
///   granted when a worker said so, and only then.
/// - A refusal, a failure whose policy is not to skip, and a message that the disk lost are refusals.
/// - A verdict is applied as a whole or not at all; an invalid one leaves no trace in notes or
///   envelope. Notes of a transaction end with it.
/// - Each question that a session waits for is one open ticket of that pool, and every ticket ends once.
/// - No pool is asked twice about one question, and no event is written more than three times.
/// - Workers that need the message are asked when it is in a file they can read.
/// - Shadows that were shown a question are told how it ended, once.
/// - Observers hear once how a transaction ended, and `queue_post` for each message that was taken.
package final class SessionSimulator {
    /// What must never be, and was.
    package struct Violation: Error {
        package let step: Int
        package let rule: String
    }

    /// What happened, to see that everything did.
    package struct Counts: Equatable {
        package var sessions = 0
        package var questions = 0
        package var answered = 0
        package var invalid = 0
        package var failed = 0
        package var wentAhead = 0
        package var cancelled = 0
        package var deaths = 0
        package var accepted = 0
        package var refused = 0
        package var stored = 0
        package var replaced = 0
        package var replacementsRefused = 0
        package var delayed = 0
        package var diskFailures = 0
        package var canarySessions = 0
        package var shadowed = 0
        package var leftWithMessage = 0
        package var skipped = 0

        /// The names of what never happened.
        package var missing: [String] {
            Mirror(reflecting: self).children.compactMap { child in
                child.value as? Int == 0 ? child.label : nil
            }
        }
    }

    static let millisecond: UInt64 = 1_000_000
    /// Pools: one that decides and goes ahead, one beside it, a shadow of the first, its canary.
    static let (main, second, shadow, canary) = (0, 1, 2, 3)

    let seed: UInt64
    let traceFrom: Int
    var random: Randomness
    var now: UInt64 = 1_000_000_000
    var step = 0
    let played = PlayedPools(["main", "second", "shadow", "canary"])
    var pools: [SimulatedPool] = []
    var sessions: [SimulatedSession] = []
    /// Sessions to which something happened in this step.
    var touched: [SimulatedSession] = []
    package internal(set) var counts = Counts()
    package private(set) var trace: [String] = []
    /// The first rule that was found broken.
    var broken: Violation?
    let smtp: SMTPConfiguration

    package init(seed: UInt64, traceFrom: Int = .max) {
        self.seed = seed
        self.traceFrom = traceFrom
        self.random = Randomness(seed: seed)
        var limits = SMTPLimits()
        limits.maximumRecipients = 4
        limits.maximumErrors = 0
        limits.maximumErrorsBeforeHello = 0
        limits.maximumUnrecognized = 0
        limits.maximumTransactions = 0
        limits.maximumNoops = 0
        limits.maximumCommandsWithoutMessage = 0
        limits.maximumRefusedRecipients = 0
        self.smtp = SMTPConfiguration(hostname: Array("mx".utf8), limits: limits)
        self.pools = (0..<4).map { SimulatedPool($0, self.played.profiles[$0], now: self.now) }
        self.configure()
        for _ in 0..<16 { self.workerComes() }
    }

    /// Draws another configuration; no question is open.
    private func configure() {
        // A pool that has a shadow goes not ahead.
        let isShadowed = self.random.once(in: 2)
        self.played.profiles[Self.main].shadows =
            isShadowed ? [self.played.profiles[Self.shadow]] : []
        for pool in self.pools { self.configure(pool) }
    }

    /// Draws the failure policies of a pool; half of the pools have one policy for all hooks.
    private func configure(_ pool: SimulatedPool) {
        let policies = FailurePolicy.allCases
        let one = policies[self.random.below(3)]
        let isOne = self.random.once(in: 2)
        for hook in Hook.allCases {
            pool.profile.failurePolicies[Int(hook.index)] =
                isOne ? one : policies[self.random.below(3)]
        }
        pool.profile.marksSkippedMessages = self.random.once(in: 2)
        pool.profile.isShownQueue = self.random.once(in: 2)
    }

    /// Runs so many steps; in between everything comes to rest.
    package func run(steps: Int) throws(Violation) {
        while self.step < steps {
            self.step += 1
            self.oneStep()
            self.settle()
            if self.step % 5_000 == 0 || self.step == steps {
                self.comeToRest()
                self.configure()
            }
            if let broken = self.broken { throw broken }
        }
    }

    /// Notes that a rule was broken, unless one was before.
    func check(_ isTrue: Bool, _ rule: @autoclosure () -> String) {
        guard !isTrue, self.broken == nil else { return }
        self.broken = Violation(step: self.step, rule: rule())
    }

    func note(_ text: @autoclosure () -> String) {
        guard self.step >= self.traceFrom else { return }
        self.trace.append("\(self.step) \(text())")
    }

    // MARK: - Steps

    private func oneStep() {
        switch self.random.below(100) {
        case ..<25: self.clientActs()
        case ..<75: self.workerActs()
        case ..<88: self.diskActs()
        case ..<91: self.timePasses()
        case ..<94: if self.random.once(in: 4) { self.workerComes() }
        case ..<97: if self.random.once(in: 12) { self.workerGoes() }
        case ..<99: self.newSession()
        default: if self.random.once(in: 6) { self.clientLeaves() }
        }
    }

    private func newSession() {
        guard self.sessions.count < 12 else { return }
        let isCanary = self.random.once(in: 4)
        if isCanary { self.counts.canarySessions += 1 }
        self.counts.sessions += 1
        let route = [isCanary ? Self.canary : Self.main, Self.second]
        let play = self.played.session(self.smtp, route: route, maximumDelayMS: 100)
        play.keepsActions = false
        let session = SimulatedSession(self.counts.sessions, play, route: route)
        play.observe = { [unowned self, unowned session] in self.observe($0, session) }
        self.sessions.append(session)
        play.now = self.now
        session.pending = [.greeting]
        play.connect()
    }

    private func clientActs() {
        guard let session = self.anySession() else { return self.newSession() }
        session.play.now = self.now
        if session.isSendingContent {
            // Content may come in pieces; the dot comes after it.
            let isLast = self.random.once(in: 3)
            session.play.send(isLast ? "." : self.random.once(in: 2) ? "A: b" : "")
            if isLast {
                session.isSendingContent = false
                session.pending.append(.dot)
            }
            return
        }
        // Commands may be pipelined, but what follows DATA depends on its reply.
        for _ in 0...self.random.below(3) {
            guard session.pending.last != .data, session.pending.last != .quit else { return }
            let isSensible = !self.random.once(in: 6)
            let command =
                isSensible
                ? session.nextCommand : Command.all[self.random.below(Command.all.count)]
            session.lastCommand = command
            session.pending.append(command)
            let recipient = "r\(self.random.below(6))@d"
            if command == .rcpt { session.asked.append(recipient) }
            self.note("\(session.number) sends \(command)")
            session.play.send(command.line(recipient: recipient))
        }
    }

    private func clientLeaves() {
        guard let session = self.anySession() else { return }
        if session.play.wait != .client, session.play.openHook?.isAboutMessage ?? false {
            self.counts.leftWithMessage += 1
        }
        self.note("\(session.number) leaves")
        session.isClientGone = true
        session.play.now = self.now
        if self.random.once(in: 4) { session.play.shutDown() } else { session.play.leave() }
    }

    private func diskActs() {
        guard let session = self.anySession() else { return }
        session.play.now = self.now
        switch session.play.wait {
        case .store(let place):
            if self.random.once(in: 12) {
                self.counts.diskFailures += 1
                session.mustRefuse = true
                session.play.stored(SpoolFailure(isDiskFull: true, description: "full"))
            } else {
                self.counts.stored += 1
                self.check(
                    !session.stored.contains(place),
                    "\(session.number): the message is stored for pool \(place) again"
                )
                session.stored.insert(place)
                session.play.stored()
            }
        case .replacement: self.replace(session)
        case .delay:
            self.counts.delayed += 1
            session.isDelayed = false
            session.play.delayPassed()
        case .client, .pool, .over: break
        }
    }

    private func replace(_ session: SimulatedSession) {
        guard let edit = session.edit else {
            return self.check(false, "\(session.number): a replacement of no verdict")
        }
        session.edit = nil
        switch self.random.below(3) {
        case 0:
            self.counts.replaced += 1
            session.stored = []
            session.apply(edit)
            self.decided(session, edit.verdict, at: edit.hook)
            session.envelope = edit.envelope
            let message = ReplacedMessage(size: 9, header: Array("N: 1\r\n".utf8))
            self.check(session.play.replaced(.taken(message)), "\(session.number): not taken")
        case 1:
            self.counts.replacementsRefused += 1
            self.questionFailed(session, at: edit.hook, place: edit.place)
            self.check(!session.play.replaced(.refused("no")), "\(session.number): taken")
        default:
            self.counts.diskFailures += 1
            session.mustRefuse = true
            let failure = SpoolFailure(isDiskFull: false, description: "copy")
            self.check(!session.play.replaced(.failed(failure)), "\(session.number): taken")
        }
    }

    func anySession() -> SimulatedSession? {
        guard !self.sessions.isEmpty else { return nil }
        let session = self.sessions[self.random.below(self.sessions.count)]
        self.touch(session)
        return session
    }

    func touch(_ session: SimulatedSession) {
        guard self.touched.last !== session else { return }
        self.touched.append(session)
    }

    // MARK: - Rest

    /// Everything goes on without surprises until each session waits for its client.
    private func comeToRest() {
        for _ in 0..<2_000 where self.sessions.contains(where: { $0.play.wait != .client }) {
            self.now += 50 * Self.millisecond
            for pool in self.pools {
                pool.timePassed(now: self.now)
                self.perform(pool)
                for worker in pool.workers { self.answerAll(worker, pool) }
            }
            for session in self.sessions {
                session.play.now = self.now
                switch session.play.wait {
                case .store(let place):
                    session.stored.insert(place)
                    session.play.stored()
                case .replacement:
                    session.edit.map { edit in
                        self.questionFailed(session, at: edit.hook, place: edit.place)
                    }
                    session.edit = nil
                    session.play.replaced(.refused("rest"))
                case .delay:
                    session.isDelayed = false
                    session.play.delayPassed()
                case .client, .pool, .over: break
                }
            }
            self.settle()
            guard self.broken == nil else { return }
        }
        let waiting = self.sessions.filter { $0.play.wait != .client }
        self.check(waiting.isEmpty, "sessions that wait for ever: \(waiting.map(\.description))")
        for pool in self.pools {
            self.check(pool.machine.openTickets == 0, "\(pool.profile.name) keeps tickets")
        }
    }
}

extension Hook {
    /// Asked while the message is open: a client that leaves has handed it over.
    var isAboutMessage: Bool {
        switch self {
        case .data_headers_end, .received_line, .data_post_headers, .data_post, .queue_pre, .queue:
            true
        default: false
        }
    }
}
