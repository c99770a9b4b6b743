import Certificates
import Configuration
import Glibc
import Logging
import NIOCore
import NIOPosix
import PolicyProtocol
import ServiceLog
import System

/// The frontend as a process: one id, one set of listening sockets, one `status`, one end; and its
/// event loops, which do the work.
///
/// Confined to the first event loop.
final class FrontendProcess {
    private let shared: SharedState
    private let loop: any EventLoop
    private var logger = Logger(label: "frontend")
    private var configuration: FrontendConfiguration
    private var tls: TLSService?
    private let lock: InstanceLock
    /// Sockets that were bound for listeners before the frontend started, by the listeners' names.
    private let boundSockets: [String: CInt]
    private var state = State.starting
    private var ended: EventLoopPromise<Void>?
    private var ticks = 0
    /// Monotonic milliseconds.
    private let startedMS: Int64

    private enum State {
        /// Pools are open; the listeners wait for workers.
        case starting
        case serving
        /// The loops finish what they have begun.
        case stopping
        case stopped
    }

    /// Takes the id and makes the folders.
    ///
    /// `sockets` are bound already, by the names of their listeners, and are the frontend's from now
    /// on. `loops` has as many loops as `event_loops` says; this runs on the first.
    ///
    /// - Throws: ``SystemError`` when the id is taken or a folder cannot be made.
    init(
        configuration: FrontendConfiguration,
        sockets: [String: CInt],
        loops: [any EventLoop],
        threads: NIOThreadPool
    ) throws {
        self.loop = loops[0]
        self.boundSockets = sockets
        self.configuration = configuration
        self.startedMS = NIODeadline.now().uptimeMilliseconds
        self.lock = try InstanceLock(
            runtimeDirectory: configuration.runtimeDirectory,
            frontendID: configuration.id
        )
        let spool = try SpoolDirectory(
            base: configuration.spoolDirectory,
            frontendID: configuration.id,
            pools: configuration.pools
        )
        let logger = self.logger
        let controlFiles = ControlFiles(directories: configuration.controlDirectories) { error in
            logger.error(
                "a control file is not usable, its last good content stays in force: \(error)"
            )
        }
        self.shared = SharedState(
            configuration,
            maximums: Self.maximums(configuration, logger),
            spool: spool,
            controlFiles: controlFiles,
            loops: loops,
            threads: threads
        )
    }

    /// Opens the pools' sockets now, and the listeners once enough workers are ready on some loop.
    ///
    /// `certificates` is `nil` where no listener has TLS. `ended` succeeds when the frontend has shut
    /// down. The future returned fails with a ``SystemError`` if a socket cannot be made.
    func start(
        _ certificates: TLSCertificates?,
        ended: EventLoopPromise<Void>
    ) -> EventLoopFuture<Void> {
        self.ended = ended
        let process = NIOLoopBound(self, eventLoop: self.loop)
        let directory = self.shared.loops
        self.tls = TLSService(
            self.configuration,
            certificates,
            loop: self.loop,
            threads: self.shared.threads
        ) { inForce in directory.onAll { $0.tls = inForce } }
        self.shared.evidence.trim()
        self.removeSurplusSockets()
        let started = self.startLoops(TLSInForce(self.configuration.tls, certificates))
        // A loop that has workers may be ready while another still binds: what ends then would leave its socket.
        started.and(directory.whenReady).whenSuccess { _ in process.value.openListeners() }
        return started
    }

    private func startLoops(_ tls: TLSInForce) -> EventLoopFuture<Void> {
        let (configuration, shared) = (self.configuration, self.shared)
        let process = NIOLoopBound(self, eventLoop: self.loop)
        let started = shared.loops.loops.enumerated().map { index, loop in
            loop.flatSubmit {
                let server = ServerLoop(
                    configuration: configuration,
                    tls: tls,
                    shared: shared,
                    index: index,
                    loop: loop
                )
                shared.loops.add(server)
                server.acceptingChanged()
                if index == 0 { server.afterTick = { process.value.ticked($0) } }
                return server.start()
            }
        }
        return EventLoopFuture.whenAllComplete(started, on: self.loop).flatMap { results in
            for case .failure(let error) in results {
                // The sockets of the other loops are removed before the process ends.
                return shared.loops.askForFuture { server in
                    server.endNow()
                    return server.whenEnded
                }
                .flatMapThrowing { _ in throw error }
            }
            process.value.watchEnd()
            return process.eventLoop.makeSucceededVoidFuture()
        }
    }

    /// Ends when all loops have.
    private func watchEnd() {
        let process = NIOLoopBound(self, eventLoop: self.loop)
        self.shared.loops.askForFuture(\.whenEnded).whenComplete { _ in process.value.loopsEnded() }
    }

    /// Removes the sockets of an earlier run that had more loops: workers would dial them for ever.
    private func removeSurplusSockets() {
        for pool in self.configuration.pools {
            for loop in self.shared.loops.loops.count..<FrontendConfiguration.mostEventLoops {
                let place = PoolSocketPlace(
                    runtimeDirectory: self.configuration.runtimeDirectory,
                    pool: pool.name,
                    frontendID: self.configuration.id,
                    loop: loop
                )
                guard access(place.path, F_OK) == 0 else { continue }
                do {
                    try place.prepare()
                } catch {
                    self.logger.warning("a socket of an earlier run cannot be removed: \(error)")
                }
            }
        }
    }

    /// Beats as long as all loops turn: a beat passes through each of them.
    func startHeartbeat(_ heartbeat: Heartbeat) {
        let directory = self.shared.loops
        self.loop.scheduleRepeatedTask(
            initialDelay: .zero,
            delay: .milliseconds(heartbeat.intervalMS)
        ) { _ in
            directory.ask { _ in }.whenSuccess { _ in heartbeat.beat() }
        }
    }

    // MARK: - Time

    /// What is done at a tick of the first loop, whose server is `first`.
    private func ticked(_ first: ServerLoop) {
        self.ticks += 1
        self.tls?.timePassed(first.nowMS)
        guard self.state == .starting || self.state == .serving else { return }
        if self.ticks.isMultiple(of: 10), first.isStatusObserved { self.tellStatus() }
        if self.ticks.isMultiple(of: 50) { self.sweepOutFolders() }
    }

    /// Measures the spool off the loop, then notifies the observers of `status`, which are told on the
    /// first loop only.
    private func tellStatus() {
        let process = NIOLoopBound(self, eventLoop: self.loop)
        let spool = self.shared.spool
        self.shared.threads.runIfActive(eventLoop: self.loop) { spool.usage() }
            .and(self.shared.loops.ask(\.status))
            .whenSuccess { usage, loops in process.value.tellStatus(usage, loops) }
    }

    private func tellStatus(_ usage: SpoolDirectory.Usage, _ loops: [LoopStatus]) {
        let notice = StatusNotice(
            frontendID: self.configuration.id,
            nowMS: UnixTime.milliseconds,
            uptimeMS: NIODeadline.now().uptimeMilliseconds - self.startedMS,
            spool: usage,
            loops: LoopStatus(adding: loops)
        )
        let line = notice.line
        self.shared.loops.on(0) { for pool in $0.pools { pool.tellStatus(line) } }
    }

    private func sweepOutFolders() {
        let directory = self.shared.loops
        directory.ask { $0.pools.map(\.isDrained) }.whenSuccess { answers in
            directory.on(0) { server in
                for (place, pool) in server.pools.enumerated() {
                    pool.sweepOutFolder(isDrained: answers.allSatisfy { $0[place] })
                }
            }
        }
    }

    // MARK: - Listeners

    private func openListeners() {
        guard self.state == .starting else { return }
        self.state = .serving
        let process = NIOLoopBound(self, eventLoop: self.loop)
        let inherited = self.inheritedSockets().merging(self.boundSockets) { passed, _ in passed }
        self.shared.loops.first { $0.openListeners(inherited: inherited) }.whenComplete { result in
            switch result {
            case .success(let addresses): process.value.listening(addresses)
            case .failure(let error): process.value.cannotListen(error)
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

    private func cannotListen(_ error: any Error) {
        let failure: any Error =
            error is SystemError || error is UnsafePlace
            ? error : SystemError("listen", "\(error)", EADDRINUSE)
        self.logger.critical("\(failure)")
        self.state = .stopped
        self.shared.loops.onAll { $0.endNow() }
        self.ended?.fail(failure)
    }

    // MARK: - Limits

    private static func maximums(
        _ configuration: FrontendConfiguration,
        _ logger: Logger
    ) -> ConnectionLimits.Maximums {
        ConnectionLimits.Maximums(
            configuration.limits,
            sessions: Self.maximumSessions(configuration, logger)
        )
    }

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

    // MARK: - The end, and reloading

    /// Applies the settings that may change while the frontend runs; logs the keys of the others that
    /// changed.
    func reload(_ loaded: FrontendConfiguration) {
        let (new, waiting) = self.configuration.reloaded(with: loaded)
        self.configuration = new
        self.tls?.reload(new)
        let maximums = Self.maximums(new, self.logger)
        self.shared.connections.use { $0.maximums = maximums }
        self.shared.memory.setBudget(octets: new.limits.memoryOctets)
        self.logger.logLevel = Logger.Level(new.logLevel)
        let process = NIOLoopBound(self, eventLoop: self.loop)
        self.shared.loops.ask { $0.reload(new) }.whenSuccess { _ in
            process.value.reloaded(waiting)
        }
    }

    private func reloaded(_ waiting: [String]) {
        if !waiting.isEmpty {
            self.logger.error(
                "changed, but not before a restart",
                metadata: ["keys": "\(waiting.joined(separator: ", "))"]
            )
        }
        self.logger.notice("reloaded")
    }

    /// Stops all loops within `shutdown_ms` and a second for the workers (``ServerLoop/shutDown()``).
    func shutDown() {
        guard self.state == .starting || self.state == .serving else { return }
        self.state = .stopping
        Systemd.notify("STOPPING=1")
        self.shared.loops.onAll { $0.shutDown() }
    }

    /// Ends at once: a client whose message was not answered 250 sends it again.
    func endNow() {
        guard self.state != .stopped else { return }
        self.shared.loops.onAll { $0.endNow() }
    }

    private func loopsEnded() {
        guard self.state != .stopped else { return }
        self.state = .stopped
        self.shared.loops.giveUp()
        self.ended?.succeed()
    }
}

@available(*, unavailable)
extension FrontendProcess: Sendable {}
