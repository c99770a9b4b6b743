import Certificates
import Configuration
import Glibc
import JSON
import Logging
import NIOCore
import NIOPosix
import PolicyCore
import PolicyProtocol
import SMTPCore
import ServiceLog
import System

/// The frontend: its listeners, sessions and pools, all on one event loop.
///
/// With one loop, nothing between a session and a worker needs a lock or another thread, and all
/// events of one turn of the loop are one write. To use more cores, run more frontends, each with
/// an `id` of its own; they share the workers.
final class FrontendServer {
    let loop: any EventLoop
    let threads: NIOThreadPool
    private(set) var logger = Logger(label: "frontend")
    let spool: SpoolDirectory
    private(set) var configuration: FrontendConfiguration
    private(set) var pools: [WorkerPool] = []
    private(set) var routes = PoolRoutes([])
    let controlFiles: ControlFiles
    let evidence: PoisonEvidence
    let tls: TLSService
    private var listeners: [SMTPListener] = []
    /// Sockets that were bound for listeners before the frontend started, by the listeners' names.
    private let boundSockets: [String: CInt]
    private var sessions = SessionRegistry()
    let turns: SessionTurns
    private var limits: ConnectionLimits
    private var memory: MemoryBudget
    private var refusalThrottle = LogThrottle()
    var limitCounters = LimitCounters()
    /// Failed logins by client address.
    var failedLogins = FailedLogins<String>()
    /// Failed logins by user.
    var failedLoginsOfUsers = FailedLogins<UserKey>()
    private var identifiers = SessionIdentifierSource()
    private let lock: InstanceLock
    private var state = State.starting
    private var ended: EventLoopPromise<Void>?
    private var ticker: RepeatedTask?
    private var shutdownDeadlineMS = Int64.max
    private var isShutdownOverdue = false
    private var ticks = 0
    /// When the last tick was; monotonic milliseconds.
    private var tickedMS: Int64
    private var dates = DateCache()
    private var startedMS: Int64
    private var sessionsOpened: UInt64 = 0
    /// What the workers of all pools together want.
    let demand = PolicyDemand()
    /// Storage for a session's list of actions; empty between two events.
    var spareActions: [PolicySession.Action] = []

    private enum State {
        /// Pools are open; the listeners wait for workers.
        case starting
        case serving
        /// No new clients are accepted; transactions finish.
        case stopping
        /// No session is left; workers answer the events that they hold.
        case draining
        case stopped
    }

    /// How often timeouts are checked.
    static let tick = TimeAmount.milliseconds(100)
    /// How long workers may take to say bye when the frontend stops.
    static let workerDrainMS: Int64 = 1_000

    /// Takes the id and makes the folders.
    ///
    /// `certificates` is `nil` where no listener has TLS. `sockets` are bound already, by the names of
    /// their listeners, and are the server's from now on.
    ///
    /// - Throws: ``SystemError`` when the id is taken or a folder cannot be made.
    init(
        configuration: FrontendConfiguration,
        certificates: TLSCertificates?,
        sockets: [String: CInt] = [:],
        loop: any EventLoop,
        threads: NIOThreadPool
    ) throws {
        self.loop = loop
        self.threads = threads
        self.turns = SessionTurns(loop: loop)
        self.boundSockets = sockets
        self.configuration = configuration
        self.lock = try InstanceLock(
            runtimeDirectory: configuration.runtimeDirectory,
            frontendID: configuration.id
        )
        self.spool = try SpoolDirectory(
            base: configuration.spoolDirectory,
            frontendID: configuration.id,
            pools: configuration.pools
        )
        self.evidence = PoisonEvidence(folder: self.spool.poisonPath, loop: loop, threads: threads)
        self.tls = TLSService(
            configuration.tls,
            certificates,
            loop: loop,
            threads: threads
        )
        let logger = self.logger
        self.controlFiles = ControlFiles(directories: configuration.controlDirectories) { error in
            logger.error(
                "a control file is not usable, its last good content stays in force: \(error)"
            )
        }
        self.limits = ConnectionLimits(
            ConnectionLimits.Maximums(
                configuration.limits,
                sessions: Self.maximumSessions(configuration, logger)
            )
        )
        self.memory = MemoryBudget(octets: configuration.limits.memoryOctets)
        (self.startedMS, self.tickedMS) = (0, 0)
        self.startedMS = self.nowMS
        self.tickedMS = self.startedMS
        self.pools = configuration.pools.map { WorkerPool(configuration: $0, server: self) }
        self.routes = PoolRoutes(self.pools)
    }

    /// Opens the pools' sockets now and the listeners once enough workers are ready.
    ///
    /// `ended` succeeds when the frontend has shut down. The future returned fails with a
    /// ``SystemError`` if a socket cannot be made.
    func start(ended: EventLoopPromise<Void>) -> EventLoopFuture<Void> {
        self.ended = ended
        let server = NIOLoopBound(self, eventLoop: self.loop)
        self.ticker = self.loop.scheduleRepeatedTask(initialDelay: Self.tick, delay: Self.tick) {
            _ in
            server.value.ticked()
        }
        self.evidence.trim()
        do {
            let opened = try self.pools.map { try $0.open() }
            return EventLoopFuture.andAllSucceed(opened, on: self.loop)
                .map { server.value.workersChanged() }
        } catch {
            return self.loop.makeFailedFuture(error)
        }
    }

    // MARK: - Time

    /// Monotonic nanoseconds.
    var nowNS: UInt64 { NIODeadline.now().uptimeNanoseconds }
    /// Monotonic milliseconds.
    var nowMS: Int64 { Int64(clamping: self.nowNS / 1_000_000) }
    /// Unix milliseconds.
    var unixMS: Int64 { UnixTime.milliseconds }

    /// The current time as a Received field has it.
    func date() -> [UInt8] { self.dates.text(Int(self.unixMS / 1_000)) }

    private func ticked() {
        self.ticks += 1
        let now = self.nowMS
        let elapsed = now - self.tickedMS
        self.tickedMS = now
        for pool in self.pools { pool.timePassed() }
        var held = 0
        for session in self.sessions.all {
            session.timePassed(now, elapsedMS: elapsed)
            held += session.heldOctets
        }
        self.memoryMeasured(held)
        self.tls.timePassed(now)
        switch self.state {
        case .stopping: self.continueShutdown(now)
        case .draining: self.continueDrain(now)
        case .starting, .serving, .stopped: break
        }
        if self.ticks.isMultiple(of: 10), self.state == .starting || self.state == .serving {
            for pool in self.pools { pool.checkSocket() }
            if self.demand.observed.contains(.status) { self.tellStatus() }
        }
        if self.ticks.isMultiple(of: 50) { for pool in self.pools { pool.sweepOutFolder() } }
    }

    /// Sessions hold `held` octets of memory; logs when that becomes too much, and when it ends.
    private func memoryMeasured(_ held: Int) {
        guard self.memory.measured(held) else { return }
        let metadata: Logger.Metadata = [
            "held": .number(held), "memory_octets": .number(self.memory.octets),
            "sessions": .number(self.sessions.count),
        ]
        if self.memory.isUsedUp {
            self.logger.warning(
                "sessions hold more memory than memory_octets: no session or message begins",
                metadata: metadata
            )
        } else {
            self.logger.notice("sessions and messages begin again", metadata: metadata)
        }
    }

    /// Whether sessions hold so much memory that no transaction may begin.
    var isMemoryUsedUp: Bool { self.memory.isUsedUp }

    /// Measures the spool off the loop, then notifies the observers of `status`.
    private func tellStatus() {
        let spool = self.spool
        self.threads.runIfActive(eventLoop: self.loop) { spool.usage() }
            .assumeIsolated()
            .whenSuccess { usage in
                let notice = StatusNotice(
                    frontendID: self.configuration.id,
                    nowMS: self.unixMS,
                    uptimeMS: self.nowMS - self.startedMS,
                    openSessions: self.sessions.count,
                    openedSessions: self.sessionsOpened,
                    spool: usage,
                    counters: self.limitCounters
                )
                var line = JSONWriter()
                notice.encode(pools: self.pools, into: &line)
                for pool in self.pools { pool.tellStatus(line.octets) }
            }
    }

    // MARK: - Listeners

    /// A worker became ready or left: the listeners open once every pool that decides has
    /// `minimum_workers`.
    func workersChanged() {
        self.demand.update(self.pools.map(\.profile))
        guard self.state == .starting, self.routes.deciding.allSatisfy(\.hasMinimumWorkers) else {
            return
        }
        self.state = .serving
        self.listeners = self.configuration.listeners.map {
            SMTPListener(configuration: $0, smtp: self.smtpConfiguration(for: $0))
        }
        let inherited = self.inheritedSockets().merging(self.boundSockets) { passed, _ in passed }
        let opened = self.listeners.map { listener in
            listener.open(server: self, inherited: inherited[listener.configuration.name])
        }
        EventLoopFuture.whenAllSucceed(opened, on: self.loop).assumeIsolated().whenComplete {
            result in
            switch result {
            case .success(let addresses): self.listening(addresses.compactMap(\.self))
            case .failure(let error):
                let failure = error as? SystemError ?? SystemError("listen", "\(error)", EADDRINUSE)
                self.logger.critical("\(failure)")
                self.fail(failure)
            }
        }
    }

    /// The sockets that systemd opened, by the names of the listeners.
    ///
    /// A socket that belongs to no listener is closed and logged: if it stayed open, its clients
    /// would wait for a greeting that never comes.
    private func inheritedSockets() -> [String: CInt] {
        let names = self.configuration.listeners.map(\.name)
        let (matched, unmatched) = Systemd.match(Systemd.sockets, listeners: names)
        for socket in unmatched {
            self.logger.error(
                "a socket of systemd has no listener of its FileDescriptorName, and is closed",
                metadata: ["socket": "\(socket.name)"]
            )
            close(socket.descriptor)
        }
        return matched
    }

    private func listening(_ addresses: [SocketAddress]) {
        let texts = addresses.map { address in
            address.pathname.map { "unix:\($0)" }
                ?? "\(address.ipAddress ?? "?"):\(address.port ?? 0)"
        }
        self.logger.notice("listening", metadata: ["addresses": "\(texts.joined(separator: " "))"])
        ReadyNotice.send(texts)
    }

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

    /// `max_sessions`, or less, which is logged, if there are fewer descriptors.
    private static func maximumSessions(
        _ configuration: FrontendConfiguration,
        _ logger: Logger
    ) -> Int {
        let plan = DescriptorPlan(configuration)
        let configured = configuration.limits.maximumSessions
        let sessions = plan.maximumSessions(configured)
        guard sessions != configured else { return sessions }
        logger.log(
            level: configured == 0 ? .notice : .warning,
            "max_sessions is bounded by the limit of open descriptors (RLIMIT_NOFILE)",
            metadata: [
                "max_sessions": "\(configured)", "sessions": "\(sessions)",
                "descriptors": "\(plan.limit)", "reserve": "\(plan.reserve)",
            ]
        )
        return sessions
    }

    func newSessionID(_ unixMS: Int64) -> String { self.identifiers.next(milliseconds: unixMS) }

    /// Counts a client's connection.
    ///
    /// - Returns: Why it is refused; then it is not counted.
    func connectionOpened(from client: SMTPSessionHandler) -> ConnectionLimits.Refusal? {
        guard !self.memory.isUsedUp else { return self.refused(client, .memoryUsedUp) }
        let address = client.clientAddress
        let counted = client.listener.isUncounted(address) ? nil : CountedClient(address)
        if let refusal = self.limits.sessionOpened(from: counted, now: self.nowMS) {
            return self.refused(client, refusal)
        }
        client.counted = counted
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
            self.limits.clientForgotten(before)
            client.counted = nil
        }
        if let refusal = self.limits.clientNamed(counted, isNew: !isProxyItself, now: self.nowMS) {
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

    func sessionClosed(_ session: SMTPSessionHandler) {
        self.sessions.closed(session)
        self.limits.sessionClosed(from: session.counted)
    }

    // MARK: - Files

    /// Removes a file off the loop.
    func removeSoon(_ path: String) {
        self.threads.submit { _ in unlink(path) }
    }

    // MARK: - The end, and reloading

    /// Applies the settings that may change while the frontend runs; logs those that need a
    /// restart.
    func reload(_ loaded: FrontendConfiguration) {
        let (new, waiting) = self.configuration.reloaded(with: loaded)
        self.configuration = new
        self.tls.reload(new.tls)
        self.limits.maximums = ConnectionLimits.Maximums(
            new.limits,
            sessions: Self.maximumSessions(new, self.logger)
        )
        self.memory.octets = new.limits.memoryOctets
        for (listener, settings) in zip(self.listeners, new.listeners) {
            listener.reconfigure(settings, smtp: self.smtpConfiguration(for: settings))
        }
        for (pool, settings) in zip(self.pools, new.pools) { pool.reconfigure(settings) }
        self.logger.logLevel = Logger.Level(new.logLevel)
        if !waiting.isEmpty {
            self.logger.error(
                "changed, but not before a restart",
                metadata: ["keys": "\(waiting.joined(separator: ", "))"]
            )
        }
        self.logger.notice("reloaded")
    }

    /// Stops: accepts no new clients, answers 421 to idle sessions, lets transactions finish within
    /// `shutdown_ms` (protocol/README.md §9).
    func shutDown() {
        guard self.state == .starting || self.state == .serving else { return }
        self.state = .stopping
        Systemd.notify("STOPPING=1")
        self.shutdownDeadlineMS = self.nowMS + self.configuration.shutdownMS
        for listener in self.listeners { listener.close() }
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
        for listener in self.listeners { listener.close() }
        for session in self.sessions.all { session.endNow(.shutdown) }
        let closed = self.pools.map { $0.close() }
        EventLoopFuture.andAllComplete(closed, on: self.loop).cascade(to: self.ended)
    }

    private func fail(_ error: SystemError) {
        self.state = .stopped
        self.ticker?.cancel()
        for pool in self.pools { _ = pool.close() }
        self.ended?.fail(error)
    }
}

@available(*, unavailable)
extension FrontendServer: Sendable {}
