import Configuration
import Glibc
import JSON
import Logging
import NIOCore
import NIOPosix
import PolicyCore
import PolicyProtocol
import PoolCore
import ServiceLog
import System

/// One pool of workers: performs what its machine decides.
///
/// Confined to the event loop. Owns the socket, the connections and the conversations that wait;
/// the machine decides which worker is asked and what a failure becomes.
final class WorkerPool {
    let name: String
    private(set) var configuration: FrontendConfiguration.Pool
    /// What sessions look at to decide what this pool is asked.
    let profile: PoolProfile
    unowned let server: ServerLoop
    /// Where its workers find messages, if it has a group of its own; `nil`: where all others do.
    let messageFolder: String?
    var machine: PoolMachine
    var connections: [WorkerID: WorkerConnectionHandler] = [:]
    var askers: [PoolTicket: any PoolAsker] = [:]
    var lastTicket: PoolTicket = 0
    private let numbers: WorkerNumbers
    /// Whether other loops have machines of this pool.
    let hasOtherLoops: Bool
    /// Workers that hold a suspect of this loop, which no other loop sends one to.
    var claims: [WorkerID: WorkerProcess] = [:]
    /// The part of the pool's limits that is this loop's.
    private var share: LoopShare
    var lastPing: Int64 = 0
    var actions: [PoolAction] = []
    var isPerforming = false
    var dirty: [WorkerConnectionHandler] = []
    private var socket: ListeningSocket?
    private let place: PoolSocketPlace
    /// The inode of the socket file that this frontend bound; it removes no other.
    private var boundInode: UInt64?
    /// The socket file was removed and is not bound again yet.
    private var isSocketLost = false
    /// Names of workers that are gone, until what they held has been placed.
    var lostLabels: [WorkerID: WorkerLabel] = [:]
    /// Lines about workers, which a worker could otherwise cause without end.
    private var throttle = LogThrottle()
    private var socketThrottle = LogThrottle(lines: 1, periodMS: 10_000)
    /// What was last logged as asked and served by no worker.
    var hooksWithoutWorker: HookNumbers = []
    /// Pools that are shown what this one is asked.
    var shadows: [WorkerPool] = []
    /// Pools that stand in for this one for a part of the sessions.
    var canaries: [WorkerPool] = []
    var shadowCounts = ShadowCounts()
    /// What is kept for it, if it is a shadow.
    var shadowBudget = ShadowBudget()
    /// Sessions that this pool took as a canary.
    var canarySessions: UInt64 = 0

    init(configuration: FrontendConfiguration.Pool, server: ServerLoop, share: LoopShare) {
        self.name = configuration.name
        self.configuration = configuration
        self.profile = PoolProfile(name: configuration.name)
        self.server = server
        self.messageFolder = configuration.groupID.map { _ in
            server.spool.groupFolder(pool: configuration.name)
        }
        self.place = PoolSocketPlace(
            runtimeDirectory: server.configuration.runtimeDirectory,
            pool: configuration.name,
            frontendID: server.configuration.id,
            loop: server.index
        )
        self.share = share
        self.hasOtherLoops = server.loops > 1
        self.numbers = server.shared.workerNumbers[configuration.name] ?? WorkerNumbers()
        self.machine = PoolMachine(
            settings: PoolSettings(configuration, share: share),
            now: server.nowNS
        )
        self.updateProfile()
        self.updateWants()
    }

    var logger: Logger { self.server.logger }

    var hasMinimumWorkers: Bool { self.machine.readyCount >= self.configuration.minimumWorkers }

    /// Whether a worker is ready, and as many as the operator wants.
    var canServe: Bool { self.machine.readyCount > 0 && self.hasMinimumWorkers }

    var isShadow: Bool { self.configuration.shadowOf != nil }

    /// Puts what the configuration says of the pool where sessions look at it.
    private func updateProfile() {
        let policies = Hook.allCases.map { self.configuration.policy(for: $0) }
        self.profile.failurePolicies = policies.map(\.onFailure)
        self.profile.deadlinesMS = policies.map(\.deadlineMS)
        self.profile.marksSkippedMessages = self.configuration.failureHeader
        self.profile.receivesSecrets = self.configuration.secrets ?? false
        self.profile.isShownQueue = self.configuration.isShadowQueueing
    }

    func reconfigure(_ configuration: FrontendConfiguration.Pool) {
        self.configuration = configuration
        self.updateProfile()
        let now = self.server.nowNS
        self.machine.reconfigured(
            PoolSettings(configuration, share: self.share),
            actions: &self.actions
        )
        let forgotten = self.machine.forgetHooks(now: now, actions: &self.actions)
        if !forgotten.isEmpty {
            self.logger.notice(
                "hooks are asked no more: no worker serves them",
                metadata: ["pool": "\(self.name)", "hooks": "\(Self.words(forgotten))"]
            )
        }
        let kept = self.machine.hooksWithoutWorker
        if !kept.isEmpty, self.machine.readyCount > 0 {
            self.logger.notice(
                "hooks that no worker here serves stay asked",
                metadata: [
                    "pool": "\(self.name)", "hooks": "\(Self.words(kept))",
                    "why": "in always_asked, or their worker left within hooks_remembered_ms",
                ]
            )
        }
        self.workersChanged()
        self.perform()
    }

    /// Other loops accept clients now, or fewer: this one's part of the limits is another.
    func shareChanged(_ share: LoopShare) {
        guard share != self.share else { return }
        self.share = share
        self.machine.reconfigured(
            PoolSettings(self.configuration, share: share),
            actions: &self.actions
        )
        self.perform()
    }

    /// Whether there is room for one more question that this shadow is to be shown; then it is taken.
    func takeShare(_ question: ShadowBudget.Share) -> Bool {
        self.shadowBudget.take(
            question,
            most: self.share.part(of: self.configuration.shadowOctets),
            mostMessageOctets: self.share.part(of: self.configuration.shadowSpoolOctets),
            mostMessages: self.share.part(of: ShadowBudget.mostMessages)
        )
    }

    /// The hooks of a mask as words, in the order of the protocol.
    static func words(_ mask: HookNumbers) -> String {
        Hook.allCases.filter { mask.contains(HookNumbers(hook: $0.index)) }.map(\.rawValue)
            .joined(separator: " ")
    }
}

@available(*, unavailable)
extension WorkerPool: Sendable {}

// MARK: - The socket

extension WorkerPool {
    /// Binds the pool's socket.
    ///
    /// - Throws: ``SystemError`` when its place cannot be had.
    func open() throws -> EventLoopFuture<Void> {
        try self.place.prepare()
        let pool = NIOLoopBound(self, eventLoop: self.server.loop)
        let bootstrap = ServerBootstrap(group: self.server.loop)
            .serverChannelOption(.backlog, value: 1_024)
            .childChannelOption(
                .writeBufferWaterMark,
                value: .init(
                    low: WorkerConnectionHandler.fewWaitingOctets,
                    high: WorkerConnectionHandler.mostWaitingOctets
                )
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(pool.value.newConnection())
                }
            }
        let socket = ListeningSocket(
            bootstrap: bootstrap,
            loop: self.server.loop,
            logger: self.logger,
            metadata: ["pool": "\(self.name)"]
        )
        self.socket = socket
        return socket.open { $0.bind(unixDomainSocketPath: self.place.path) }
            .flatMapThrowing { _ in try self.bound() }
            .nonisolated()
    }

    private func bound() throws {
        let path = self.place.path
        guard chmod(path, mode_t(self.configuration.socketMode)) == 0 else {
            throw SystemError("chmod", path, errno)
        }
        if let group = self.configuration.groupID, chown(path, uid_t.max, group) != 0 {
            throw SystemError("give the pool's group", path, errno)
        }
        var facts = stat()
        guard lstat(path, &facts) == 0 else { throw SystemError("look at", path, errno) }
        self.boundInode = UInt64(facts.st_ino)
    }

    /// Binds the socket again if its file was removed, and tries until that succeeds; connections
    /// are not touched.
    func checkSocket() {
        var facts = stat()
        if self.boundInode != nil, lstat(self.place.path, &facts) != 0, errno == ENOENT {
            self.logger.warning(
                "a pool's socket was removed, binding it again",
                metadata: ["pool": "\(self.name)", "reason": "socket_removed"]
            )
            self.boundInode = nil
            self.isSocketLost = true
        }
        guard self.isSocketLost else { return }
        self.isSocketLost = false
        _ = self.socket?.close()
        self.socket = nil
        do {
            try self.open().assumeIsolated().whenFailure { self.socketStaysLost($0) }
        } catch {
            self.socketStaysLost(error)
        }
    }

    private func socketStaysLost(_ error: any Error) {
        self.isSocketLost = true
        guard let suppressed = self.socketThrottle.admits(now: self.server.nowMS) else { return }
        var metadata: Logger.Metadata = ["pool": "\(self.name)", "error": "\(error)"]
        if suppressed > 0 { metadata["lines_suppressed"] = .number(suppressed) }
        self.logger.error(
            "a pool's socket cannot be bound again, trying every second",
            metadata: metadata
        )
    }

    /// Closes the socket and every connection.
    func close() -> EventLoopFuture<Void> {
        for connection in self.connections.values { self.sayGoodbye(connection) }
        return self.closeSocket()
    }

    /// Takes no new workers and tells those that are there that nothing more is coming; those that
    /// said `drain` themselves have been told (protocol/README.md §9).
    func drain() {
        _ = self.closeSocket()
        for connection in Array(self.connections.values) {
            guard connection.isGreeted else {
                self.sayGoodbye(connection)
                continue
            }
            self.sayDrain(connection, .shutdown)
        }
    }

    /// Whether every worker has left.
    var isDrained: Bool { self.connections.isEmpty }

    /// Says `drain`, once to a connection.
    func sayDrain(_ connection: WorkerConnectionHandler, _ reason: FrontendLine.DrainReason) {
        guard !connection.hasSaidDrain else { return }
        connection.hasSaidDrain = true
        FrontendLine.drain(reason, into: &connection.output)
        self.written(to: connection)
    }

    private func sayGoodbye(_ connection: WorkerConnectionHandler) {
        FrontendLine.bye(.shutdown, message: "the frontend stops", into: &connection.output)
        connection.close()
    }

    private func closeSocket() -> EventLoopFuture<Void> {
        var facts = stat()
        if let inode = self.boundInode, lstat(self.place.path, &facts) == 0,
            UInt64(facts.st_ino) == inode
        {
            unlink(self.place.path)
        }
        self.boundInode = nil
        self.isSocketLost = false
        let closed = self.socket?.close() ?? self.server.loop.makeSucceededVoidFuture()
        self.socket = nil
        return closed
    }

    /// The handler of a worker that has dialled.
    func newConnection() -> WorkerConnectionHandler {
        let handler = WorkerConnectionHandler(
            id: self.numbers.next(),
            pool: self,
            maximumFrameOctets: self.configuration.maximumFrameOctets
        )
        self.connections[handler.id] = handler
        return handler
    }

    /// A worker's connection is up; `credentials` are what the kernel says of its process.
    func connected(_ connection: WorkerConnectionHandler, credentials: PeerCredentials) {
        connection.peer = credentials
        guard self.machine.workerConnected(connection.id, now: self.server.nowNS) else {
            return self.reject(connection, .pool_full, "the pool takes no more connections")
        }
        let allowed = self.configuration.allowedUserIDs
        let isAllowed =
            allowed.isEmpty
            ? credentials.userID == getuid() || credentials.userID == 0
            : allowed.contains(credentials.userID)
        guard !isAllowed else { return }
        self.reject(connection, .user_denied, "uid \(credentials.userID) is not in allowed_users")
    }

    func reject(
        _ connection: WorkerConnectionHandler,
        _ code: FrontendLine.RejectCode,
        _ message: String,
        retryMS: Int64 = 1_000
    ) {
        self.log(
            .warning,
            "a worker was rejected",
            connection,
            ["code": "\(code.rawValue)", "why": "\(message)"]
        )
        FrontendLine.reject(code, message: message, retryMS: retryMS, into: &connection.output)
        self.lose(connection)
    }

    /// One line about a worker, unless there were too many this second.
    func log(
        _ level: Logger.Level,
        _ message: Logger.Message,
        _ connection: WorkerConnectionHandler,
        _ more: @autoclosure () -> Logger.Metadata = [:]
    ) {
        self.logSparingly(level, message, self.metadata(connection, more()))
    }

    /// A line that a worker may cause as often as it likes, unless there were too many this second.
    func logSparingly(
        _ level: Logger.Level,
        _ message: Logger.Message,
        _ metadata: @autoclosure () -> Logger.Metadata
    ) {
        guard let suppressed = self.throttle.admits(now: self.server.nowMS) else { return }
        var metadata = metadata()
        if suppressed > 0 { metadata["lines_suppressed"] = .number(suppressed) }
        self.logger.log(level: level, message, metadata: metadata)
    }

    func metadata(
        _ connection: WorkerConnectionHandler,
        _ more: Logger.Metadata = [:]
    ) -> Logger.Metadata {
        let own: Logger.Metadata = [
            "pool": "\(self.name)", "worker": "\(connection.label)",
            "pid": .number(connection.peer.processID), "uid": .number(connection.peer.userID),
        ]
        return own.merging(more) { _, new in new }
    }
}
