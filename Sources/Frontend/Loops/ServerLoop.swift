import Configuration
import Glibc
import Logging
import NIOCore
import NIOPosix
import PolicyCore
import PolicyProtocol
import PoolCore
import SMTPCore
import ServiceLog
import System

/// One event loop of the frontend: its sessions, its pools, and its sockets for the workers.
///
/// Nothing between a session and a worker needs a lock or another thread, and all events of one turn of
/// the loop are one write. What the loops share is ``SharedState``; what starts, reloads and stops them
/// is ``FrontendProcess``. Confined to its event loop.
final class ServerLoop {
    let loop: any EventLoop
    /// Counted from 0; what concerns the whole frontend happens on the first.
    let index: Int
    /// How many loops there are.
    let loops: Int
    let shared: SharedState
    private(set) var logger = Logger(label: "frontend")
    private(set) var configuration: FrontendConfiguration
    /// What new connections are encrypted with.
    var tls: TLSInForce
    private(set) var pools: [WorkerPool] = []
    private(set) var routes = PoolRoutes([])
    private var listeners: [SMTPListener] = []
    private var sessions = SessionRegistry<SMTPSessionHandler>()
    let turns: SessionTurns
    /// Whether sessions hold so much memory that no session and no transaction may begin.
    private(set) var isMemoryUsedUp = false
    private var refusalThrottle = LogThrottle()
    var limitCounters = LimitCounters()
    private var identifiers = SessionIdentifierSource()
    private var state = State.serving
    private let ended: EventLoopPromise<Void>
    private var ticker: RepeatedTask?
    private var shutdownDeadlineMS = Int64.max
    private var isShutdownOverdue = false
    private var ticks = 0
    /// Called after each tick; `nil`: nothing is.
    var afterTick: ((ServerLoop) -> Void)?
    /// The time at the last tick.
    private(set) var time: TickTime
    private var dates = DateCache()
    private var sessionsOpened: UInt64 = 0
    /// What the workers of all pools together want.
    let demand = PolicyDemand()
    /// Storage for a session's list of actions; empty between two events.
    var spareActions: [PolicySession.Action] = []

    private enum State {
        case serving
        /// No new clients are accepted; transactions finish.
        case stopping
        /// No session is left; workers answer the events that they hold.
        case draining
        case stopped
    }

    /// How often timeouts are checked, in milliseconds.
    static let tickMS: Int64 = 100
    /// How long workers may take to say bye when the frontend stops.
    static let workerDrainMS: Int64 = 1_000

    /// Makes the pools and the listeners; none is open yet.
    init(
        configuration: FrontendConfiguration,
        tls: TLSInForce,
        shared: SharedState,
        index: Int,
        loop: any EventLoop
    ) {
        self.loop = loop
        self.index = index
        self.loops = shared.loops.loops.count
        self.shared = shared
        self.turns = SessionTurns(loop: loop)
        self.configuration = configuration
        self.tls = tls
        self.ended = loop.makePromise()
        self.time = TickTime(nowMS: NIODeadline.now().uptimeMilliseconds)
        let share = shared.loops.share(of: index)
        self.pools = configuration.pools.map {
            WorkerPool(configuration: $0, server: self, share: share)
        }
        self.routes = PoolRoutes(self.pools)
        self.listeners = zip(configuration.listeners, shared.greetingPasses).enumerated().map {
            SMTPListener(
                place: $0,
                configuration: $1.0,
                smtp: self.smtpConfiguration(for: $1.0),
                passes: $1.1
            )
        }
    }

    var threads: NIOThreadPool { self.shared.threads }
    var spool: SpoolDirectory { self.shared.spool }
    var controlFiles: ControlFiles { self.shared.controlFiles }
    var evidence: PoisonEvidence { self.shared.evidence }
    var failedLogins: SharedFailedLogins<String> { self.shared.failedLogins }
    var failedLoginsOfUsers: SharedFailedLogins<UserKey> { self.shared.failedLoginsOfUsers }

    /// Opens the pools' sockets.
    ///
    /// The future fails with a ``SystemError`` or ``UnsafePlace`` if one cannot be made.
    func start() -> EventLoopFuture<Void> {
        let server = NIOLoopBound(self, eventLoop: self.loop)
        let tick = TimeAmount.milliseconds(Self.tickMS)
        self.ticker = self.loop.scheduleRepeatedTask(initialDelay: tick, delay: tick) { _ in
            server.value.ticked()
        }
        do {
            let opened = try self.pools.map { try $0.open() }
            return EventLoopFuture.andAllSucceed(opened, on: self.loop)
                .map { server.value.workersChanged() }
        } catch {
            return self.loop.makeFailedFuture(error)
        }
    }

    /// Succeeds when the loop has nothing left to do.
    var whenEnded: EventLoopFuture<Void> { self.ended.futureResult }

    // MARK: - Time

    /// Monotonic nanoseconds.
    var nowNS: UInt64 { NIODeadline.now().uptimeNanoseconds }
    /// Monotonic milliseconds.
    var nowMS: Int64 { NIODeadline.now().uptimeMilliseconds }
    /// Unix milliseconds.
    var unixMS: Int64 { UnixTime.milliseconds }

    /// The current time as a Received field has it.
    func date() -> [UInt8] { self.dates.text(Int(self.unixMS / 1_000)) }

    private func ticked() {
        self.ticks += 1
        let now = self.nowMS
        self.time.ticked(now)
        for pool in self.pools { pool.timePassed() }
        var held = 0
        for session in self.sessions.ticked() {
            session.timePassed(self.time)
            if let quiet = session.quietMS(now) {
                self.sessions.rests(
                    session,
                    ticks: quiet / Self.tickMS,
                    heldOctets: session.heldOctets
                )
            } else {
                held += session.heldOctets
            }
        }
        self.memoryMeasured(held + self.sessions.restingOctets)
        switch self.state {
        case .stopping: self.continueShutdown(now)
        case .draining: self.continueDrain(now)
        case .serving: if self.ticks.isMultiple(of: 10) { self.checkSockets() }
        case .stopped: break
        }
        self.afterTick?(self)
    }

    private func checkSockets() { for pool in self.pools { pool.checkSocket() } }

    /// The loop's sessions hold `held` octets of memory; logs when all loops together hold too much, and
    /// when that ends.
    private func memoryMeasured(_ held: Int) {
        let finding = self.shared.memory.measured(loop: self.index, held: held)
        self.isMemoryUsedUp = finding.isUsedUp
        guard finding.hasChanged else { return }
        let metadata: Logger.Metadata = [
            "held": .number(finding.held), "memory_octets": .number(finding.budget),
            "sessions": .number(self.shared.connections.use { $0.sessions }),
        ]
        if finding.isUsedUp {
            self.logger.warning(
                "sessions hold more memory than memory_octets: no session or message begins",
                metadata: metadata
            )
        } else {
            self.logger.notice("sessions and messages begin again", metadata: metadata)
        }
    }

    /// Whether a worker on this loop observes `status`.
    var isStatusObserved: Bool { self.demand.observed.contains(.status) }

    /// What the loop's part of `status` is now.
    var status: LoopStatus {
        LoopStatus(
            openSessions: self.sessions.count,
            openedSessions: self.sessionsOpened,
            counters: self.limitCounters,
            pools: self.pools.map { $0.status(now: self.nowNS) }
        )
    }

    // MARK: - Listeners

    /// A worker became ready or left.
    func workersChanged() {
        self.demand.update(self.pools.map(\.profile))
        let deciding = self.routes.deciding
        self.shared.loops.workersChanged(
            loop: self.index,
            pools: deciding.count(where: \.canServe),
            isReady: deciding.allSatisfy(\.hasMinimumWorkers)
        )
    }

    /// Other loops accept clients than before.
    func acceptingChanged() {
        let share = self.shared.loops.share(of: self.index)
        for pool in self.pools { pool.shareChanged(share) }
    }

    /// Opens the listeners' sockets, on the first loop.
    ///
    /// `inherited` are sockets that are bound already, by the names of the listeners. The future has
    /// the addresses, and fails with a ``SystemError`` or ``UnsafePlace`` if one cannot be had.
    func openListeners(inherited: [String: CInt]) -> EventLoopFuture<[SocketAddress]> {
        let opened = self.listeners.map { listener in
            listener.open(server: self, inherited: inherited[listener.configuration.name])
        }
        return EventLoopFuture.whenAllSucceed(opened, on: self.loop)
            .map { $0.compactMap(\.self) }
    }

    /// Takes a client that the first loop accepted, by its descriptor and the place of its listener.
    func take(_ descriptor: CInt, listener: Int) {
        self.listeners[listener].take(descriptor, server: self)
    }

    /// No listener accepts clients any more.
    func closeListeners() { for listener in self.listeners { listener.close() } }

    private func smtpConfiguration(
        for listener: FrontendConfiguration.Listener
    ) -> SMTPConfiguration {
        SMTPConfiguration(
            self.configuration,
            listener: listener,
            control: self.controlFiles.snapshot()
        )
    }

    // MARK: - Sessions

    func newSessionID(_ unixMS: Int64) -> String { self.identifiers.next(milliseconds: unixMS) }

    /// Counts a client's connection.
    ///
    /// - Returns: Why it is refused; then it is not counted.
    func connectionOpened(from client: SMTPSessionHandler) -> ConnectionLimits.Refusal? {
        guard !self.isMemoryUsedUp else { return self.refused(client, .memoryUsedUp) }
        let address = client.clientAddress
        let counted = client.listener.isUncounted(address) ? nil : CountedClient(address)
        let now = self.nowMS
        let refusal = self.shared.connections.use { $0.sessionOpened(from: counted, now: now) }
        if let refusal {
            return self.refused(client, refusal)
        }
        client.counted = counted
        client.isCounted = true
        return nil
    }

    /// A proxy named its client: counts the session for that client's address and network, and no longer
    /// for those of the client that it named before.
    ///
    /// `isProxyItself`: the proxy speaks for itself, as for a health check, which may come every second.
    ///
    /// - Returns: Why it is refused; then it is not counted for an address.
    func clientNamed(
        _ client: SMTPSessionHandler,
        isProxyItself: Bool
    ) -> ConnectionLimits.Refusal? {
        let counted = CountedClient(client.clientAddress)
        if let before = client.counted {
            guard before != counted else { return nil }
            self.shared.connections.use { $0.clientForgotten(before) }
            client.counted = nil
        }
        let now = self.nowMS
        let refusal = self.shared.connections.use {
            $0.clientNamed(counted, isNew: !isProxyItself, now: now)
        }
        if let refusal {
            return self.refused(client, refusal)
        }
        client.counted = counted
        return nil
    }

    /// Logs that a limit refuses a session.
    private func refused(
        _ client: SMTPSessionHandler,
        _ refusal: ConnectionLimits.Refusal
    ) -> ConnectionLimits.Refusal {
        self.limitCounters.sessionRefused(refusal)
        let reason = ("limit", "\(refusal.key)")
        self.logRefusal(of: client, "a session was refused by a limit", reason)
        return refusal
    }

    /// Logs that a client outside `proxy_networks` connected to a listener for proxies.
    func strangerRefused(_ client: SMTPSessionHandler) {
        self.logRefusal(
            of: client,
            "a connection that is not from proxy_networks was closed",
            ("listener", client.listener.configuration.name)
        )
    }

    private func logRefusal(
        of client: SMTPSessionHandler,
        _ message: Logger.Message,
        _ reason: (key: String, value: String)
    ) {
        guard let suppressed = self.refusalThrottle.admits(now: self.nowMS) else { return }
        var metadata: Logger.Metadata = [
            "session": "\(client.sessionID)", "client": "\(client.policy.facts.client.ip)",
            reason.key: "\(reason.value)",
        ]
        if suppressed > 0 { metadata["lines_suppressed"] = .number(suppressed) }
        self.logger.warning(message, metadata: metadata)
    }

    func sessionOpened(_ session: SMTPSessionHandler) {
        self.sessionsOpened += 1
        self.sessions.opened(session)
        if self.state != .serving { session.refuseToStart() }
    }

    /// Something happens in a session that rests.
    func sessionWoken(_ session: SMTPSessionHandler) { self.sessions.woken(session) }

    func sessionClosed(_ session: SMTPSessionHandler) {
        self.sessions.closed(session)
        self.connectionClosed(of: session)
    }

    /// The client has its last reply: the session no longer counts for its address and network.
    ///
    /// Called before the client sees the end, so that it can come again at once.
    func clientLeaves(_ client: SMTPSessionHandler) {
        guard let counted = client.counted else { return }
        client.counted = nil
        self.shared.connections.use { $0.clientForgotten(counted) }
    }

    /// Counts a client's connection no more; called before it is closed, for the same reason.
    func connectionClosed(of client: SMTPSessionHandler) {
        guard client.isCounted else { return }
        client.isCounted = false
        let counted = client.counted
        self.shared.connections.use { $0.sessionClosed(from: counted) }
    }

    // MARK: - Files

    /// Removes a file off the loop.
    func removeSoon(_ path: String) {
        self.threads.submit { _ in unlink(path) }
    }

    /// The question may be asked again, of any pool.
    func forgetPoison(_ fingerprint: UInt64) {
        for pool in self.pools { pool.machine.forgetPoison(fingerprint) }
    }

    // MARK: - The end, and reloading

    /// Applies the settings that may change while the frontend runs.
    func reload(_ new: FrontendConfiguration) {
        self.configuration = new
        for (listener, settings) in zip(self.listeners, new.listeners) {
            listener.reconfigure(settings, smtp: self.smtpConfiguration(for: settings))
        }
        for (pool, settings) in zip(self.pools, new.pools) { pool.reconfigure(settings) }
        self.logger.logLevel = Logger.Level(new.logLevel)
    }

    /// Stops: accepts no new clients, answers 421 to idle sessions, lets transactions finish within
    /// `shutdown_ms` (protocol/README.md §9).
    func shutDown() {
        guard self.state == .serving else { return }
        self.state = .stopping
        self.shutdownDeadlineMS = self.nowMS + self.configuration.shutdownMS
        self.closeListeners()
        for session in self.sessions.all { session.shutDown() }
        self.continueShutdown(self.nowMS)
    }

    private func continueShutdown(_ now: Int64) {
        guard self.sessions.count > 0 else { return self.drainWorkers(now) }
        guard now >= self.shutdownDeadlineMS else { return }
        guard !self.isShutdownOverdue else {
            for session in self.sessions.all { session.endNow(.shutdown) }
            return self.drainWorkers(now)
        }
        // The sessions that are left get 421, and some time to read it.
        self.isShutdownOverdue = true
        self.shutdownDeadlineMS = now + SMTPSessionHandler.lingerMS
        for session in self.sessions.all { session.shutdownOverdue() }
    }

    /// No session is left: sends `drain` to the workers, which have `workerDrainMS` to finish
    /// (protocol/README.md §9).
    private func drainWorkers(_ now: Int64) {
        self.state = .draining
        self.shutdownDeadlineMS = now + Self.workerDrainMS
        for pool in self.pools { pool.drain() }
        self.continueDrain(now)
    }

    private func continueDrain(_ now: Int64) {
        guard now >= self.shutdownDeadlineMS || self.pools.allSatisfy(\.isDrained) else { return }
        self.endNow()
    }

    /// Ends at once: a client whose message was not answered 250 sends it again.
    func endNow() {
        guard self.state != .stopped else { return }
        self.state = .stopped
        self.ticker?.cancel()
        self.closeListeners()
        for session in self.sessions.all { session.endNow(.shutdown) }
        let closed = self.pools.map { $0.close() }
        EventLoopFuture.andAllComplete(closed, on: self.loop).cascade(to: self.ended)
    }
}

@available(*, unavailable)
extension ServerLoop: Sendable {}
