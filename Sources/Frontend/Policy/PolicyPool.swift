import Configuration
import Glibc
import JSON
import Logging
import NIOCore
import NIOPosix
import PolicyPool
import PolicyProtocol

/// One pool of workers: performs what its machine decides.
///
/// Confined to the event loop. Owns the socket, the connections and the conversations that wait;
/// every rule about who is asked and what a failure becomes is the machine's.
final class PolicyPool {
    let name: String
    private(set) var configuration: FrontendConfiguration.Pool
    unowned let server: FrontendServer
    private var machine: PoolMachine
    private var connections: [WorkerID: WorkerConnectionHandler] = [:]
    private var conversations: [PoolTicket: PolicyConversation] = [:]
    private var lastTicket: PoolTicket = 0
    private var lastWorker: WorkerID = 0
    private var actions: [PoolAction] = []
    private var isPerforming = false
    private var dirty: [WorkerConnectionHandler] = []
    private var channel: (any Channel)?
    private let place: PoolSocketPlace
    /// The socket file that we bound: nobody else's is ever removed.
    private var boundInode: UInt64?
    /// Names of workers that are gone, until what they held has been placed.
    private var lostLabels: [WorkerID: WorkerLabel] = [:]
    /// Lines about workers, which a worker could otherwise cause without end.
    private var throttle = LogThrottle()
    /// What ready workers asked for, per hook; kept, since every event looks at it.
    private var wants = PoolWants()

    init(configuration: FrontendConfiguration.Pool, server: FrontendServer) {
        self.name = configuration.name
        self.configuration = configuration
        self.server = server
        self.place = PoolSocketPlace(
            runtimeDirectory: server.configuration.runtimeDirectory,
            pool: configuration.name,
            frontendID: server.configuration.id
        )
        self.machine = PoolMachine(settings: PoolSettings(configuration), now: server.nowNS)
        self.wants.update(connections: [], machine: self.machine)
    }

    private var logger: Logger { self.server.logger }

    var hasMinimumWorkers: Bool { self.machine.readyCount >= self.configuration.minimumWorkers }

    func reconfigure(_ configuration: FrontendConfiguration.Pool) {
        self.configuration = configuration
        self.machine.settings = PoolSettings(configuration)
    }
}

@available(*, unavailable)
extension PolicyPool: Sendable {}

// MARK: - The socket

extension PolicyPool {
    /// Binds the pool's socket.
    ///
    /// - Throws: ``SystemError`` when its place cannot be had.
    func open() throws -> EventLoopFuture<Void> {
        try self.place.prepare()
        let pool = NIOLoopBound(self, eventLoop: self.server.loop)
        return ServerBootstrap(group: self.server.loop)
            .serverChannelInitializer { channel in
                // Out of descriptors: accepting pauses instead of spinning.
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPauseHandler())
                }
            }
            .serverChannelOption(.backlog, value: 1_024)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 262_144, high: 1_048_576))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(pool.value.newConnection())
                }
            }
            .bind(unixDomainSocketPath: self.place.path)
            .assumeIsolated()
            .flatMapThrowing { try self.bound($0) }
            .nonisolated()
    }

    private func bound(_ channel: any Channel) throws {
        self.channel = channel
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

    /// Binds the socket again if somebody removed its file; connections are not touched.
    func checkSocket() {
        var facts = stat()
        guard self.boundInode != nil, lstat(self.place.path, &facts) != 0, errno == ENOENT else {
            return
        }
        self.logger.warning(
            "a pool's socket was removed, binding it again",
            metadata: ["pool": "\(self.name)", "reason": "socket_removed"]
        )
        self.boundInode = nil
        self.channel?.close(promise: nil)
        _ = try? self.open()
    }

    /// Closes the socket and tells the workers.
    func close() -> EventLoopFuture<Void> {
        var facts = stat()
        if lstat(self.place.path, &facts) == 0, UInt64(facts.st_ino) == self.boundInode {
            unlink(self.place.path)
        }
        for connection in self.connections.values {
            FrontendLine.bye(
                code: "shutdown",
                message: "the frontend stops",
                into: &connection.output
            )
            connection.close()
        }
        let closed = self.channel?.close() ?? self.server.loop.makeSucceededVoidFuture()
        self.channel = nil
        return closed
    }

    /// Tells every worker that nothing more is coming.
    func drain() {
        for connection in self.connections.values where connection.hello != nil {
            FrontendLine.drain(reason: "shutdown", into: &connection.output)
            self.written(to: connection)
        }
    }

    private func newConnection() -> WorkerConnectionHandler {
        self.lastWorker += 1
        let handler = WorkerConnectionHandler(
            id: self.lastWorker,
            pool: self,
            maximumFrameOctets: self.configuration.maximumFrameOctets
        )
        self.connections[handler.id] = handler
        return handler
    }

    /// The connection is up; the kernel says who it is.
    func connected(_ connection: WorkerConnectionHandler, credentials: PeerCredentials) {
        connection.peer = credentials
        guard self.machine.workerConnected(connection.id, now: self.server.nowNS) else {
            return self.reject(connection, "pool_full", "the pool takes no more connections")
        }
        let allowed = self.configuration.allowedUserIDs
        let isAllowed =
            allowed.isEmpty
            ? credentials.userID == getuid() || credentials.userID == 0
            : allowed.contains(credentials.userID)
        guard !isAllowed else { return }
        self.reject(connection, "user_denied", "uid \(credentials.userID) is not in allowed_users")
    }

    private func reject(
        _ connection: WorkerConnectionHandler,
        _ code: String,
        _ message: String,
        retryMS: Int64 = 1_000
    ) {
        self.log(
            .warning,
            "a worker was rejected",
            connection,
            ["code": "\(code)", "why": "\(message)"]
        )
        FrontendLine.reject(
            code: code,
            message: message,
            retryMS: retryMS,
            into: &connection.output
        )
        self.lose(connection)
    }

    /// One line about a worker, unless there were too many this second.
    private func log(
        _ level: Logger.Level,
        _ message: Logger.Message,
        _ connection: WorkerConnectionHandler,
        _ more: Logger.Metadata = [:]
    ) {
        guard let suppressed = self.throttle.admits(now: self.server.nowMS) else { return }
        var metadata = self.metadata(connection, more)
        if suppressed > 0 { metadata["lines_suppressed"] = "\(suppressed)" }
        self.logger.log(level: level, message, metadata: metadata)
    }

    private func metadata(
        _ connection: WorkerConnectionHandler,
        _ more: Logger.Metadata = [:]
    ) -> Logger.Metadata {
        let own: Logger.Metadata = [
            "pool": "\(self.name)", "worker": "\(connection.label)",
            "pid": "\(connection.peer.processID)", "uid": "\(connection.peer.userID)",
        ]
        return own.merging(more) { _, new in new }
    }
}

// MARK: - Lines from workers

extension PolicyPool {
    func received(_ line: [UInt8], from connection: WorkerConnectionHandler) {
        do throws(ProtocolViolation) {
            let message = try WorkerMessage.decode(line)
            if connection.hello == nil {
                try self.receivedFirst(message, from: connection)
            } else {
                try self.received(message, from: connection)
            }
        } catch {
            self.broke(connection, error)
        }
    }

    private func receivedFirst(
        _ message: WorkerMessage,
        from connection: WorkerConnectionHandler
    ) throws(ProtocolViolation) {
        switch message {
        case .hello(.success(let hello)): self.greet(hello, connection)
        case .hello(.failure(let refusal)): self.reject(connection, refusal.code, refusal.message)
        case .bye: self.lose(connection)
        case .verdict, .error, .progress, .ping, .pong, .drain:
            throw ProtocolViolation(.unexpected_message, "before hello")
        }
    }

    private func greet(_ hello: WorkerHello, _ connection: WorkerConnectionHandler) {
        guard hello.pool == self.name else {
            return self.reject(
                connection,
                "pool_unknown",
                "this is the socket of pool \(self.name)"
            )
        }
        let now = self.server.nowNS
        let facts = PoolHello(hello, userID: connection.peer.userID)
        switch self.machine.helloReceived(from: connection.id, facts, now: now) {
        case .full: self.reject(connection, "pool_full", "too many workers")
        case .quarantined(let retryNS):
            let retry = Int64(clamping: retryNS / 1_000_000)
            self.reject(connection, "quarantined", "failed too often", retryMS: retry)
        case .welcome(let concurrency):
            connection.hello = hello
            FrontendLine.welcome(
                frontendID: self.server.configuration.id,
                version: FrontendVersion.text,
                hostname: self.server.configuration.hostname,
                connection: "w\(connection.id)",
                maximumFrameOctets: self.configuration.maximumFrameOctets,
                concurrency: concurrency,
                spool: self.server.spool.path,
                into: &connection.output
            )
            self.written(to: connection)
            self.log(
                .info,
                "a worker is ready",
                connection,
                ["plugins": "\(hello.plugins.joined(separator: " "))"]
            )
            self.machine.workerReady(connection.id, now: now, actions: &self.actions)
            self.workersChanged()
            self.perform()
        }
    }

    private func received(
        _ message: WorkerMessage,
        from connection: WorkerConnectionHandler
    ) throws(ProtocolViolation) {
        let now = self.server.nowNS
        switch message {
        case .hello: throw ProtocolViolation(.unexpected_message, "a second hello")
        case .verdict(let id, let result): self.answered(connection, id, result)
        case .error(let id, let started, let code, let plugin, let text):
            self.failed(connection, id, started: started, "\(code) \(plugin ?? "") \(text)")
        case .progress(let id, let extendMS):
            let (extend, overflow) = UInt64(extendMS).multipliedReportingOverflow(by: 1_000_000)
            self.machine.progressed(
                on: connection.id,
                eventID: id,
                extendNS: overflow ? .max : extend
            )
        case .ping(let number):
            FrontendLine.pong(number, into: &connection.output)
            self.written(to: connection)
        case .pong: break
        case .drain(let reason):
            self.log(.info, "a worker drains", connection, ["reason": "\(reason)"])
            self.machine.drainRequested(by: connection.id, now: now, actions: &self.actions)
            self.workersChanged()
        case .bye(let code, let text):
            self.log(.info, "a worker says bye", connection, ["code": "\(code)", "why": "\(text)"])
            self.lose(connection)
        }
        self.perform()
    }

    private func answered(
        _ connection: WorkerConnectionHandler,
        _ id: Int64,
        _ result: Result<PolicyVerdict, ProtocolViolation>
    ) {
        let now = self.server.nowNS
        guard
            case .awaited(let ticket) = self.machine.answerReceived(
                from: connection.id,
                eventID: id
            ),
            let conversation = self.conversations[ticket]
        else {
            return self.machine.answered(
                from: connection.id,
                eventID: id,
                now: now,
                actions: &self.actions
            )
        }
        var violation: ProtocolViolation?
        switch result {
        case .failure(let error): violation = error
        case .success(let verdict): violation = conversation.judge(verdict)
        }
        if let violation {
            self.logger.warning(
                "an invalid verdict",
                metadata: self.metadata(
                    connection,
                    ["violation": "\(violation)", "event": "\(id)"]
                )
            )
            self.machine.answered(
                from: connection.id,
                eventID: id,
                failure: .invalid_verdict,
                now: now,
                actions: &self.actions
            )
        } else if case .success(let verdict) = result {
            self.conversations[ticket] = nil
            self.machine.answered(
                from: connection.id,
                eventID: id,
                now: now,
                actions: &self.actions
            )
            conversation.poolDone(
                .answered(verdict, worker: connection.label),
                peerUserID: connection.peer.userID
            )
        }
    }

    private func failed(
        _ connection: WorkerConnectionHandler,
        _ id: Int64,
        started: Bool,
        _ detail: String
    ) {
        let now = self.server.nowNS
        guard started else {
            return self.machine.notStarted(
                by: connection.id,
                eventID: id,
                now: now,
                actions: &self.actions
            )
        }
        self.log(
            .warning,
            "a worker could not answer",
            connection,
            ["error": "\(detail)", "event": "\(id)"]
        )
        self.machine.answered(
            from: connection.id,
            eventID: id,
            failure: .worker_error,
            now: now,
            actions: &self.actions
        )
    }

    /// The worker said something that ends its connection.
    func broke(_ connection: WorkerConnectionHandler, _ violation: ProtocolViolation) {
        guard !connection.isClosed else { return }
        guard connection.hello != nil else {
            return self.reject(connection, "bad_hello", violation.description)
        }
        self.log(.warning, "a worker broke the protocol", connection, ["violation": "\(violation)"])
        FrontendLine.bye(
            code: violation.code.rawValue,
            message: violation.detail,
            into: &connection.output
        )
        self.lose(connection)
        self.perform()
    }

    func writabilityChanged(_ connection: WorkerConnectionHandler, isWritable: Bool) {
        self.machine.workerBlocked(
            connection.id,
            !isWritable,
            now: self.server.nowNS,
            actions: &self.actions
        )
        self.perform()
    }

    /// The connection is gone, by whoever's hand.
    func disconnected(_ connection: WorkerConnectionHandler) {
        guard self.connections[connection.id] === connection else { return }
        if connection.hello != nil {
            let outstanding = self.machine.outstanding(on: connection.id)
            self.log(
                outstanding > 0 ? .warning : .notice,
                outstanding > 0 ? "a worker was lost" : "a worker left",
                connection,
                outstanding > 0
                    ? ["reason": "worker_lost", "outstanding": "\(outstanding)"]
                    : ["reason": "worker_left"]
            )
        }
        self.forget(connection, isDeath: true)
        self.perform()
    }

    /// Closes the connection; what it held is the machine's to place elsewhere.
    private func lose(_ connection: WorkerConnectionHandler) {
        connection.close()
        self.forget(connection, isDeath: false)
    }

    /// Forgets it; after a death of its own what it held is suspect.
    private func forget(_ connection: WorkerConnectionHandler, isDeath: Bool) {
        guard self.connections.removeValue(forKey: connection.id) != nil else { return }
        self.lostLabels[connection.id] = connection.label
        let conversations = self.conversations
        self.machine.workerLost(
            connection.id,
            now: self.server.nowNS,
            isDeath: isDeath,
            fingerprint: { conversations[$0]?.fingerprint ?? $0 },
            actions: &self.actions
        )
        self.workersChanged()
    }

    private func workersChanged() {
        self.wants.update(connections: Array(self.connections.values), machine: self.machine)
        self.server.workersChanged()
    }
}

// MARK: - Events to workers

extension PolicyPool {
    /// Whether this pool is to be asked about `hook`.
    func isAsked(_ hook: Hook) -> Bool { self.wants.asked.contains(HookSet(hook)) }

    func isObserved(_ hook: Hook) -> Bool { self.wants.observed.contains(HookSet(hook)) }

    /// Whether some worker reads the message at `hook`.
    func needsMessage(_ hook: Hook) -> Bool { self.wants.message.contains(HookSet(hook)) }

    /// Whether some worker looks at header fields at any hook.
    var needsHeaders: Bool { self.wants.needsHeaders }

    var needsTrace: Bool { self.wants.needsTrace }

    /// Asks the pool; the conversation is told by `poolDone`, perhaps before this returns.
    func submit(_ conversation: PolicyConversation, hook: Hook) -> PoolTicket {
        self.lastTicket += 1
        let ticket = self.lastTicket
        let now = self.server.nowNS
        if self.machine.remembersPoison, self.machine.isPoison(conversation.fingerprint, now: now) {
            self.actions.append(.fail(ticket, .poison, worker: nil))
            self.conversations[ticket] = conversation
        } else {
            self.conversations[ticket] = conversation
            self.machine.submit(ticket, hook: hook.index, now: now, actions: &self.actions)
        }
        self.perform()
        return ticket
    }

    /// The client is gone.
    func cancel(_ ticket: PoolTicket) {
        self.conversations[ticket] = nil
        self.machine.cancelled(ticket, actions: &self.actions)
        self.perform()
    }

    /// Tells one observer of each name; slow ones miss it.
    func notify(_ hook: Hook, from conversation: PolicyConversation, args: [UInt8]) {
        guard self.isObserved(hook) else { return }
        for id in self.machine.observers(of: hook.index) {
            guard let connection = self.connections[id] else { continue }
            let isWritten = conversation.writeNotification(
                hook,
                args: args,
                to: connection.addressee(for: hook),
                into: &connection.output
            )
            if isWritten {
                self.written(to: connection)
            } else {
                connection.droppedNotifications += 1
            }
        }
    }

    func timePassed() {
        self.machine.timePassed(now: self.server.nowNS, actions: &self.actions)
        self.perform()
    }

    private func perform() {
        guard !self.isPerforming else { return }
        self.isPerforming = true
        var next = 0
        while next < self.actions.count {
            let action = self.actions[next]
            next += 1
            self.perform(action)
        }
        self.actions.removeAll(keepingCapacity: true)
        self.lostLabels.removeAll(keepingCapacity: true)
        self.isPerforming = false
    }

    private func perform(_ action: PoolAction) {
        switch action {
        case .send(let ticket, let worker, let eventID, let attempt, let remainingNS):
            self.send(ticket, to: worker, eventID, attempt: attempt, remainingNS: remainingNS)
        case .fail(let ticket, let failure, let worker): self.fail(ticket, failure, worker)
        case .cancelEvent(let worker, let eventID, let reason):
            guard let connection = self.connections[worker] else { return }
            FrontendLine.cancel(id: eventID, reason: reason.rawValue, into: &connection.output)
            self.written(to: connection)
        case .answerDrain(let worker):
            guard let connection = self.connections[worker] else { return }
            FrontendLine.drain(reason: "requested", into: &connection.output)
            self.written(to: connection)
        case .close(let worker, let reason): self.close(worker, reason)
        case .poison(let ticket): self.keepPoison(ticket)
        case .passOver(let ticket):
            self.conversations.removeValue(forKey: ticket)?.poolDone(.passedOver)
        }
    }

    private func send(
        _ ticket: PoolTicket,
        to worker: WorkerID,
        _ eventID: Int64,
        attempt: Int,
        remainingNS: UInt64
    ) {
        guard let connection = self.connections[worker],
            let conversation = self.conversations[ticket]
        else { return }
        let isWritten = conversation.writeEvent(
            id: eventID,
            attempt: attempt,
            deadlineMS: Int64(clamping: remainingNS / 1_000_000),
            to: connection.addressee(for: conversation.openHook),
            into: &connection.output
        )
        if isWritten {
            self.written(to: connection)
        } else {
            self.machine.couldNotSend(
                to: worker,
                eventID: eventID,
                now: self.server.nowNS,
                actions: &self.actions
            )
        }
    }

    private func fail(_ ticket: PoolTicket, _ failure: PoolFailure, _ worker: WorkerID?) {
        guard let conversation = self.conversations.removeValue(forKey: ticket) else { return }
        let label = worker.map { id in
            self.connections[id]?.label ?? self.lostLabels[id]
                ?? WorkerLabel(name: "", connection: id)
        }
        // At queue it may have taken the message, so nobody else was asked.
        let isQueueLost = failure == .worker_lost && conversation.openHook == .queue
        self.server.logger.log(
            level: isQueueLost ? .error : .warning,
            isQueueLost ? "queue_lost: a worker died while it queued a message" : "policy failed",
            metadata: [
                "session": "\(conversation.facts.id)", "pool": "\(self.name)",
                "hook": "\(conversation.openHook?.rawValue ?? "")",
                "failure": "\(failure.rawValue)",
                "worker": "\(label.map { "\($0)" } ?? "none")",
            ]
        )
        conversation.poolDone(.failed(reason: failure.rawValue, worker: label))
    }

    private func close(_ worker: WorkerID, _ reason: PoolAction.CloseReason) {
        guard let connection = self.connections[worker] else { return }
        self.log(.warning, "a worker is closed", connection, ["reason": "\(reason.rawValue)"])
        FrontendLine.bye(code: reason.rawValue, message: "", into: &connection.output)
        self.lose(connection)
    }

    /// Keeps what two workers died of, for the plugin's author.
    private func keepPoison(_ ticket: PoolTicket) {
        guard let conversation = self.conversations[ticket] else { return }
        var event = JSONWriter()
        let everything = PolicyConversation.Addressee(
            needs: [.headers, .recipients, .message, .trace],
            maximumFrameOctets: .max
        )
        _ = conversation.writeEvent(id: 1, attempt: 1, deadlineMS: 0, to: everything, into: &event)
        self.logger.error(
            "poison: an event was there when two workers died",
            metadata: ["session": "\(conversation.facts.id)", "pool": "\(self.name)"]
        )
        self.server.keepPoison(
            event: event.octets,
            message: conversation.message?.path,
            fingerprint: conversation.fingerprint
        )
    }

    /// Something waits to be sent to this worker; sent at the end of the loop's turn.
    private func written(to connection: WorkerConnectionHandler) {
        guard !connection.isDirty else { return }
        connection.isDirty = true
        self.dirty.append(connection)
        guard self.dirty.count == 1 else { return }
        self.server.loop.assumeIsolated().execute {
            let dirty = self.dirty
            self.dirty.removeAll(keepingCapacity: true)
            for connection in dirty { connection.flush() }
        }
    }
}

/// What the workers of a pool asked for, summed up.
struct PoolWants {
    private(set) var asked: HookSet = []
    private(set) var observed: HookSet = []
    private(set) var message: HookSet = []
    private(set) var needsHeaders = false
    private(set) var needsTrace = false

    mutating func update(connections: [WorkerConnectionHandler], machine: PoolMachine) {
        self = PoolWants()
        for hook in Hook.allCases where machine.isAsked(hook.index) {
            self.asked.insert(HookSet(hook))
        }
        for (hook, request) in connections.flatMap({ $0.hello?.hooks.map { $0 } ?? [] }) {
            if request.isObserver || hook.isNotification { self.observed.insert(HookSet(hook)) }
            if request.needs.contains(.message) { self.message.insert(HookSet(hook)) }
            if request.needs.contains(.headers) { self.needsHeaders = true }
            if request.needs.contains(.trace) { self.needsTrace = true }
        }
    }
}

extension WorkerConnectionHandler {
    /// What this worker is to be sent of an event at `hook`.
    func addressee(for hook: Hook?) -> PolicyConversation.Addressee {
        PolicyConversation.Addressee(
            needs: hook.flatMap { self.hello?.hooks[$0]?.needs } ?? [],
            maximumFrameOctets: self.hello?.maximumFrameOctets ?? 65_536
        )
    }
}

extension PoolHello {
    init(_ hello: WorkerHello, userID: UInt32) {
        self.init(
            identity: "\(userID)/\(hello.name)/\(hello.instance)",
            name: hello.name,
            concurrency: hello.concurrency,
            asked: []
        )
        for (hook, request) in hello.hooks {
            let mask = HookMask(hook: hook.index)
            if request.isObserver || hook.isNotification {
                self.observed.formUnion(mask)
            } else {
                self.asked.formUnion(mask)
            }
            if request.isIdempotent { self.idempotent.formUnion(mask) }
        }
    }
}

extension PoolSettings {
    init(_ configuration: FrontendConfiguration.Pool) {
        self.init()
        func nanoseconds(_ ms: Int64) -> UInt64 { UInt64(clamping: ms) * 1_000_000 }
        self.deadlines = Hook.allCases.map { hook in
            let policy = configuration.policy(for: hook)
            return Deadline(
                ordinaryNS: nanoseconds(policy.deadlineMS),
                maximumNS: nanoseconds(policy.maximumDeadlineMS)
            )
        }
        self.hooksWithSideEffects = [
            HookMask(hook: Hook.queue.index), HookMask(hook: Hook.auth.index),
        ]
        self.hooksOfEmptyPool = HookMask(hook: Hook.connect.index)
        self.graceNS = nanoseconds(configuration.graceMS)
        self.zombieNS = nanoseconds(configuration.zombieMS)
        self.queueLimit = configuration.queueLimit
        self.maximumConnections = configuration.maximumConnections
        self.maximumConcurrency = configuration.maximumConcurrency
    }
}

/// Lets so many lines a second pass and counts the rest.
struct LogThrottle {
    static let linesPerSecond = 20

    private var secondMS: Int64 = 0
    private var lines = 0
    private var suppressed = 0

    /// The number of lines suppressed before this one; `nil` if this one is to be suppressed too.
    mutating func admits(now: Int64) -> Int? {
        if now - self.secondMS >= 1_000 {
            self.secondMS = now
            self.lines = 0
        }
        self.lines += 1
        guard self.lines <= Self.linesPerSecond else {
            self.suppressed += 1
            return nil
        }
        defer { self.suppressed = 0 }
        return self.suppressed
    }
}
