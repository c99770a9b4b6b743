import Logging
import NIOCore
import PolicyProtocol
import System

/// A connection to a frontend: events in, answers out.
///
/// One event, one answer, whatever a plugin does: it is written when the chain has ended, by a
/// verdict, a plugin's error, a deadline or a cancellation. All answers of one read leave in one
/// write.
///
/// Confined to the channel's event loop, which is the worker's.
final class FrontendConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case awaitingWelcome(timeout: Scheduled<Void>?)
        case serving
        /// One side has asked to drain. Left when the other has agreed and nothing runs any more.
        case draining(agreed: Bool)
        case closed
    }

    /// An event whose chain has not waited for anything yet.
    private struct Starting {
        /// At the hook that it has reached.
        var event: EventLine
        /// The hook that the frontend takes it to be at.
        var reported: Hook
        /// Time that its plugins asked for.
        var more = Duration.zero
    }

    /// An event whose chain did not end at once.
    struct Running {
        var task: Task<Void, Never>
        var timer: Scheduled<Void>
        var deadline: NIODeadline
        var ended: ErrorCode?
    }

    /// How long a frontend may take to answer hello.
    private static let welcomeTimeout = TimeAmount.seconds(5)
    /// The most notifications that plugins work on at a time; more are dropped, and counted.
    private static let maximumNotified = 256

    let service: WorkerService
    private var phase = Phase.awaitingWelcome(timeout: nil)
    private var context: ChannelHandlerContext?
    private var decoder: FrameDecoder
    private var output = WorkerOutput()
    private var running: [Int64: Running] = [:]
    /// The event whose chain is running for the first time, before it waits for anything.
    private var starting: Starting?
    /// Events that begin with a hook once the kernel has the `progress` that says so.
    private var announced: [EventLine] = []
    private var notified = 0
    private var droppedNotifications = 0
    private var concurrency = 0
    private var outFolder = ""
    private var isReading = false
    private var isFlushPending = false
    private var arrivals = ArrivalQueue<ByteBuffer>()

    /// Whether the frontend has taken this worker.
    private(set) var wasWelcome = false
    /// How long the frontend wants to be left alone.
    private(set) var retryDelay = Duration.zero

    init(_ service: WorkerService) {
        self.service = service
        self.decoder = FrameDecoder(maximumFrameOctets: service.maximumFrameOctets)
    }

    // MARK: The channel

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        WorkerLine.hello(self.service.hello, into: &self.output.writer)
        self.flush()
        let timeout = context.eventLoop.assumeIsolated().scheduleTask(in: Self.welcomeTimeout) {
            self.leave(.timeout, "no welcome")
        }
        self.phase = .awaitingWelcome(timeout: timeout)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.isReading = true
        guard let first = self.arrivals.arrived(Self.unwrapInboundIn(data)) else { return }
        self.receive(first)
        while let next = self.arrivals.next() { self.receive(next) }
        if self.arrivals.hasEnded { self.ended() }
    }

    private func receive(_ buffer: ByteBuffer) {
        do {
            try buffer.withUnsafeReadableBytes { octets in
                try self.decoder.receive(octets) { self.lineReceived($0) }
            }
        } catch {
            self.refuse(ProtocolViolation(.frame_too_long))
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReading = false
        self.flush()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        if self.arrivals.ended() { self.ended() }
    }

    private func ended() {
        if case .awaitingWelcome(let timeout) = self.phase {
            timeout?.cancel()
        }
        self.phase = .closed
        self.announced.removeAll()
        self.cancelAll()
        if self.wasWelcome {
            self.service.logger.info("frontend left")
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.service.logger.debug("connection failed", metadata: ["error": "\(error)"])
        context.close(promise: nil)
    }

    // MARK: What the service wants

    /// Takes no more events, and closes when the last answer is out.
    func drain() {
        switch self.phase {
        case .serving:
            self.phase = .draining(agreed: false)
            WorkerLine.drain(.stopping, into: &self.output.writer)
            self.flushSoon()

        case .awaitingWelcome, .draining, .closed:
            break  // once welcome: what crossed on the wire is still answered
        }
    }

    /// Cancels what runs; each event still gets its answer.
    func cancelAll() {
        for id in self.running.keys {
            self.cancel(id, .cancelled)
        }
    }

    func close() {
        self.phase = .closed
        self.context?.close(promise: nil)
    }

    // MARK: Messages

    /// - Returns: Whether the next line may come.
    private func lineReceived(_ line: [UInt8]) -> Bool {
        guard self.context != nil else { return false }
        do throws(ProtocolViolation) {
            try self.received(try FrontendMessage.decode(line))
        } catch {
            self.refuse(error)
        }
        return self.context != nil
    }

    /// Ends the connection because of what the frontend has sent.
    private func refuse(_ violation: ProtocolViolation) {
        self.service.logger.error("bad line from frontend", metadata: ["error": "\(violation)"])
        WorkerLine.bye(violation, into: &self.output.writer)
        self.leave()
    }

    private func received(_ message: FrontendMessage) throws(ProtocolViolation) {
        switch message {
        case .welcome(let welcome): try self.welcomed(welcome)
        case .reject(let code, let message, let retryMS):
            self.rejected(code, message, .milliseconds(retryMS))

        case .event(let line): self.eventReceived(line)
        case .notify(let line): self.notificationReceived(line)
        case .brokenNotification(let problem): self.logBroken(problem)

        case .brokenEvent(let id, let problem):
            self.logBroken(problem)
            self.writeError(id, .badEvent, problem)

        case .cancel(let id, _): self.cancel(id, .cancelled)
        case .violation(_, let hook, let plugin, let code, let message):
            self.service.logger.error(
                "the frontend found a verdict invalid",
                metadata: [
                    "plugin": "\(plugin ?? "")", "hook": "\(hook)", "violation": "\(code)",
                    "message": "\(message)",
                ]
            )
        case .ping(let number): WorkerLine.pong(number, into: &self.output.writer)
        case .pong: break
        case .drain(let reason): self.drainReceived(reason)

        case .bye(let code, let message):
            self.service.logger.notice(
                "frontend says bye",
                metadata: ["code": "\(code)", "message": "\(message)"]
            )
            self.close()
        }
    }

    private func logBroken(_ problem: String) {
        self.service.logger.error("broken event", metadata: ["error": "\(problem)"])
    }

    private func welcomed(_ welcome: FrontendMessage.Welcome) throws(ProtocolViolation) {
        guard case .awaitingWelcome(let timeout) = self.phase else {
            throw ProtocolViolation(.unexpected_message, "a second welcome")
        }
        timeout?.cancel()
        self.phase = .serving
        self.wasWelcome = true
        self.concurrency = welcome.concurrency
        self.output.peerMaximumFrameOctets = welcome.maximumFrameOctets
        self.outFolder = "\(welcome.spool)/out/\(self.service.pool)"
        self.service.logger.info(
            "serving",
            metadata: [
                "frontend": "\(welcome.frontend)", "connection": "\(welcome.connection)",
                "pool": "\(self.service.pool)",
            ]
        )
        self.service.welcomed()
        if self.service.isLeaving {
            self.drain()
        }
    }

    private func rejected(_ code: String, _ message: String, _ delay: Duration) {
        self.retryDelay = min(max(delay, .zero), .seconds(600))
        self.service.logger.error(
            "frontend refuses this worker",
            metadata: ["code": "\(code)", "message": "\(message)"]
        )
        self.close()
    }

    private func drainReceived(_ reason: String?) {
        switch self.phase {
        case .serving:
            WorkerLine.drain(reason: reason, into: &self.output.writer)
            self.phase = .draining(agreed: true)

        case .draining:
            self.phase = .draining(agreed: true)

        case .awaitingWelcome, .closed:
            break
        }
        self.leaveIfDone()
    }

    // MARK: Events

    private func eventReceived(_ event: EventLine) {
        let id = event.id
        guard self.running.count + self.announced.count < self.concurrency else {
            self.writeError(id, .overloaded, "too many events")
            return
        }
        guard self.isAsked(event.hook) else {
            let message = "no plugin answers at \(event.hook.rawValue)"
            self.writeError(id, .notSubscribed, message)
            return
        }
        self.begin(event)
    }

    private func isAsked(_ hook: Hook) -> Bool {
        !(self.service.chains[hook]?.asked.isEmpty ?? true)
    }

    /// Asks the plugins of the event's hook, and of those ahead.
    private func begin(_ event: EventLine) {
        guard let chain = self.service.chains[event.hook] else { return }
        let id = event.id
        let connection = NIOLoopBound(self, eventLoop: self.service.loop)
        self.starting = Starting(event: event, reported: event.hook)
        let task = Task.immediate(executorPreference: self.service.executor) {
            var (event, chain) = (event, chain)
            while true {
                let context = HookContext(
                    picture: event,
                    environment: connection.value.environment(event)
                )
                let outcome = await chain.ask(context)
                if let next = connection.value.next(after: event, outcome, context, chain) {
                    guard let nextChain = connection.value.goesAhead(to: next) else { return }
                    (event, chain) = (next, nextChain)
                    continue
                }
                connection.value.answered(id, event.hook, outcome, context)
                if !chain.told.isEmpty, connection.value.beginNotification() {
                    await chain.tell(context)
                    connection.value.endNotification()
                }
                return
            }
        }
        // Else it has answered.
        guard self.starting?.event.id == id else { return }
        self.report(id)
        guard let starting = self.starting else { return }
        self.starting = nil
        let limit = starting.event.pluginTime + starting.more
        let deadline = NIODeadline.now() + TimeAmount(limit)
        self.running[id] = Running(
            task: task,
            timer: self.timer(of: id, at: deadline),
            deadline: deadline,
            ended: nil
        )
    }

    /// Tells the frontend which hook an event has reached that has not waited yet: the time that it
    /// may take there is not the event's own.
    private func report(_ id: Int64) {
        guard let starting = self.starting, starting.event.id == id,
            starting.event.hook != starting.reported
        else { return }
        WorkerLine.progress(id: id, hook: starting.event.hook, into: &self.output.writer)
        self.starting?.reported = starting.event.hook
        self.flushSoon()
    }

    /// The event at the hook to go on to, now that a chain has ended; `nil`: it is to be answered.
    private func next(
        after event: EventLine,
        _ outcome: ChainOutcome,
        _ context: HookContext,
        _ chain: HookChain
    ) -> EventLine? {
        guard case .answered(.declined, plugin: nil) = outcome, context.isWithoutEffects,
            chain.told.isEmpty, self.context != nil, self.running[event.id]?.ended == nil,
            let next = event.next, self.isAsked(next.hook)
        else { return nil }
        return next
    }

    /// Goes on with an event at its next hook.
    ///
    /// `queue` may not be asked twice, so the frontend is told before it begins; of the others it is
    /// told when they take their time.
    ///
    /// - Returns: Whom to ask now; `nil`: the event begins anew when that is written.
    private func goesAhead(to event: EventLine) -> HookChain? {
        if self.starting?.event.id == event.id, event.hook != .queue {
            self.starting?.event = event
            return self.service.chains[event.hook]
        }
        self.starting = nil
        self.running.removeValue(forKey: event.id)?.timer.cancel()
        WorkerLine.progress(id: event.id, hook: event.hook, into: &self.output.writer)
        self.announced.append(event)
        if !self.isReading { self.flush() }
        return nil
    }

    /// Begins those of the events that were not taken back meanwhile.
    private func beginAnnounced(_ ids: [Int64]) {
        for id in ids {
            guard let index = self.announced.firstIndex(where: { $0.id == id }) else { continue }
            self.begin(self.announced.remove(at: index))
        }
    }

    private func environment(_ event: EventLine) -> EventEnvironment {
        let isAsked = event.id != 0
        let link = ConnectionLink(NIOLoopBound(self, eventLoop: self.service.loop))
        return EventEnvironment(
            logger: self.service.logger,
            nowMilliseconds: UnixTime.milliseconds,
            deadline: .now + event.pluginTime,
            outFolder: self.outFolder,
            link: isAsked ? link : nil,
            eventID: event.id
        )
    }

    /// A plugin needs longer: says so to the frontend, and waits longer itself.
    fileprivate func extend(_ id: Int64, by duration: Duration) {
        guard self.context != nil else { return }
        self.report(id)
        let milliseconds = max(1, Int64(duration / .milliseconds(1)))
        WorkerLine.progress(id: id, extendMS: milliseconds, into: &self.output.writer)
        self.flushSoon()
        if self.starting?.event.id == id {
            self.starting?.more += duration
        } else if let running = self.running[id] {
            running.timer.cancel()
            let deadline = running.deadline + TimeAmount(duration)
            self.running[id]?.deadline = deadline
            self.running[id]?.timer = self.timer(of: id, at: deadline)
        }
    }

    private func timer(of id: Int64, at deadline: NIODeadline) -> Scheduled<Void> {
        self.service.loop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.cancel(id, .deadline)
        }
    }

    private func cancel(_ id: Int64, _ reason: ErrorCode) {
        if let index = self.announced.firstIndex(where: { $0.id == id }) {
            let hook = self.announced.remove(at: index).hook
            return self.fail(id, reason, nil, "not begun", hook)
        }
        guard let running = self.running[id] else { return }
        self.running[id]?.ended = running.ended ?? reason
        running.task.cancel()
    }

    /// A chain has ended: exactly once for each event.
    private func answered(
        _ id: Int64,
        _ hook: Hook,
        _ outcome: ChainOutcome,
        _ context: HookContext
    ) {
        var ended: ErrorCode?
        if self.starting?.event.id == id {
            self.starting = nil
        } else if let running = self.running.removeValue(forKey: id) {
            running.timer.cancel()
            ended = running.ended
        }
        guard self.context != nil else { return }
        switch outcome {
        case .answered(let answer, let plugin):
            let verdict = context.verdict(answer, id: id, plugin: plugin)
            if let violation = self.output.write(verdict) {
                self.fail(id, .invalidVerdict, plugin, violation, hook)
            }

        case .failed(let plugin, let code, let message):
            self.fail(id, ended ?? code, plugin, message, hook)
        }
        self.flushSoon()
        self.leaveIfDone()
    }

    private func fail(
        _ id: Int64,
        _ code: ErrorCode,
        _ plugin: String?,
        _ message: String,
        _ hook: Hook
    ) {
        self.service.logger.error(
            "no verdict",
            metadata: [
                "code": "\(code.rawValue)", "plugin": "\(plugin ?? "")", "hook": "\(hook.rawValue)",
                "error": "\(message)",
            ]
        )
        self.writeError(id, code, plugin: plugin, message)
    }

    private func writeError(
        _ id: Int64,
        _ code: ErrorCode,
        plugin: String? = nil,
        _ message: String
    ) {
        WorkerLine.error(
            id: id,
            started: code.isStarted,
            code: code.rawValue,
            plugin: plugin,
            message: message,
            into: &self.output.writer
        )
    }

    private func notificationReceived(_ event: EventLine) {
        guard let chain = self.service.chains[event.hook], !chain.told.isEmpty,
            self.beginNotification()
        else { return }
        let connection = NIOLoopBound(self, eventLoop: self.service.loop)
        let environment = self.environment(event)
        Task.immediate(executorPreference: self.service.executor) {
            await chain.tell(HookContext(picture: event, environment: environment))
            connection.value.endNotification()
        }
    }

    private func beginNotification() -> Bool {
        guard self.notified < Self.maximumNotified else {
            self.droppedNotifications += 1
            if self.droppedNotifications.nonzeroBitCount == 1 {  // the 1st, 2nd, 4th, 8th …
                self.service.logger.warning(
                    "notifications dropped: plugins are too slow",
                    metadata: ["dropped": "\(self.droppedNotifications)"]
                )
            }
            return false
        }
        self.notified += 1
        return true
    }

    private func endNotification() {
        self.notified -= 1
    }

    // MARK: Out

    /// Answers of a read that are sent without waiting for its end, in octets: about eight.
    private static let promptOctets = 1_024

    /// Writes what has been answered: at the end of the read, or of the loop's turn.
    private func flushSoon() {
        // The frontend can go on with these while the rest of the read is answered.
        if self.isReading, self.output.octets >= Self.promptOctets { return self.flush() }
        guard !self.isReading, !self.isFlushPending, let context = self.context else { return }
        self.isFlushPending = true
        context.eventLoop.assumeIsolated().execute {
            self.isFlushPending = false
            self.flush()
        }
    }

    private func flush() {
        guard let context = self.context,
            let buffer = self.output.take(context.channel.allocator)
        else { return }
        guard !self.announced.isEmpty else {
            return context.writeAndFlush(Self.wrapOutboundOut(buffer), promise: nil)
        }
        // Octets in a buffer of this process are lost if it dies, and then the frontend does not know that `queue` had begun.
        let ids = self.announced.map(\.id)
        let loop = context.eventLoop.assumeIsolated()
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenSuccess {
            // Not within the write: what is answered now may close the connection.
            loop.execute { self.beginAnnounced(ids) }
        }
        context.writeAndFlush(Self.wrapOutboundOut(buffer), promise: written)
    }

    private func leaveIfDone() {
        guard case .draining(agreed: true) = self.phase, self.running.isEmpty,
            self.starting == nil, self.announced.isEmpty
        else { return }
        self.leave(.drained, "all answered")
    }

    private func leave(_ code: WorkerLine.ByeCode, _ message: String) {
        WorkerLine.bye(code, message: message, into: &self.output.writer)
        self.leave()
    }

    /// Sends what was written, and closes.
    private func leave() {
        guard let context = self.context else { return }
        self.phase = .closed
        self.flush()
        context.close(promise: nil)
    }
}

/// How a plugin's event finds its connection.
private struct ConnectionLink: EventLink {
    private let connection: NIOLoopBound<FrontendConnection>

    init(_ connection: NIOLoopBound<FrontendConnection>) {
        self.connection = connection
    }

    func extend(_ id: Int64, by duration: Duration) {
        self.connection.value.extend(id, by: duration)
    }
}
