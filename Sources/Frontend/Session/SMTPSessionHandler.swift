import Configuration
import NIOCore
import NIOSSL
import NIOTLS
import PolicyCore
import PoolCore
import SMTPCore

/// One SMTP connection: performs what the SMTP session and the policy session decide.
///
/// Confined to its event loop. Owns both machines, the octets not yet consumed, the content that is
/// arriving, and the timers; decides nothing. While a question is open octets are kept and nothing is
/// parsed ahead (RFC 2920 §3.2). While the client does not take its replies nothing is read and nothing
/// is parsed. After ``SessionTurns/steps`` it is the turn of other sessions, and nothing is read until
/// the next one.
///
/// A client that is gone may leave a message behind that was complete: then the handler goes on
/// without a channel until the message is answered, and the session is over after that.
final class SMTPSessionHandler: ChannelInboundHandler, RestingSession {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let server: ServerLoop
    let listener: SMTPListener
    var machine: SMTPSession
    var policy: PolicySession
    /// The pools of the policy session's route.
    let pools: [WorkerPool]
    /// The limits that the session began with.
    let limits: FrontendConfiguration.Limits
    /// The budgets of ``limits``, as they hold with this session's timeouts.
    let budgetLimits: FrontendConfiguration.Budgets
    var budgets = ClientBudgets()
    /// Until when ``budgets`` charged the client.
    var chargedTime: TickTime
    var rest: SessionRest?
    /// The client that policy is asked about: the one that a proxy named, where one did.
    var clientAddress: IPAddress?
    /// What ``ConnectionLimits`` counts this session under; `nil` before a proxy named its client.
    var counted: CountedClient?
    /// ``ConnectionLimits`` counts this session.
    var isCounted = false
    /// The other end of the connection, once it has named a client by XCLIENT.
    var namingPeer: Peer?
    var summary = SessionSummary()
    private(set) var context: ChannelHandlerContext?
    var phase = Phase.greetingHeld
    /// The user whose login is being decided.
    var loginUser: UserKey?
    /// Octets received and not yet consumed.
    private(set) var input = ByteBuffer()
    private var inputEnded = false
    private var isReadingPaused = false
    /// Since when more replies than ``waitingReplies`` allows wait for the client; monotonic
    /// milliseconds, `nil` while they do not.
    private(set) var blockedSinceMS: Int64?
    /// ``parse()`` is on the stack: what is answered meanwhile is flushed by it.
    private(set) var isParsing = false
    /// This session has handled all that one turn allows, and goes on in its next.
    private(set) var isTurnOver = false
    /// Replies of this turn, sent with one write.
    private var output = ByteBuffer()
    /// Message content that is not the message's yet.
    var content: [UInt8] = []
    /// The message of the transaction, once DATA was granted.
    var message: IncomingMessage?
    /// The pool that was asked last, and the question's ticket there.
    var askedPool: WorkerPool?
    var ticket: PoolTicket = 0
    /// What shadows of the pool that is asked now were shown.
    var shadowed: [ShadowQuestion] = []
    /// What the policy session wants done is being done, and this is to be done after that.
    var isPerforming = false
    var moreActions: [PolicySession.Action] = []
    var hasMoreActions = false
    /// When the client was last heard, when the session began, and when a half-closed connection is
    /// closed at last; monotonic milliseconds.
    var lastHeardMS: Int64
    let openedMS: Int64
    let commandTimeoutMS: Int64
    private(set) var lingerUntilMS = Int64.max
    /// The last octets are on their way; they are with the client's socket.
    private var isLastReplySent = false
    private var isLastReplyWritten = false
    /// The end was told to policy and to the server.
    private var hasEnded = false
    var end: SessionEnd?
    /// What stands in the pipeline while a TLS handshake goes on.
    var handshake: Handshake?
    /// Until when a PROXY header or a TLS handshake is waited for; monotonic milliseconds.
    var phaseUntilMS = Int64.max

    /// What this handler waits for; what the dialogue waits for is the machine's.
    enum Phase {
        /// A proxy has to name its client first.
        case proxyHeader
        /// The banner is held back to see whether the client talks first.
        case greetingHeld
        /// A TLS handshake goes on.
        case securing
        /// Commands and content are parsed as they come.
        case parsing
        /// A question is open, a message is being written, or a reply is held back.
        case waiting
        /// The last reply is on its way; what arrives is dropped.
        case closing
    }

    /// Octets kept while nothing may be parsed; then the socket is not read any more.
    static let maximumInputOctets = 65_536
    /// Octets of replies that may wait for the client: from `high` on nothing is read or parsed, until
    /// no more than `low` wait.
    static let waitingReplies = ChannelOptions.Types.WriteBufferWaterMark(low: 16_384, high: 65_536)
    /// A buffer of replies that grew beyond this is given back once it is sent.
    static let keptOutputOctets = 512
    /// What a session costs that holds nothing: its objects, its channel and what NIO keeps for it.
    static let idleOctets = 8_192
    /// What TLS adds to that: the buffers of its handler and the state of its library.
    static let encryptionOctets = 65_536
    /// A client that sends nothing for so long lets its session rest (``SessionRegistry``).
    static let quietAfterMS: Int64 = 200
    /// How long a client has to take its last reply.
    static let lingerMS: Int64 = 2_000

    init(
        server: ServerLoop,
        listener: SMTPListener,
        client: SocketAddress?,
        local: SocketAddress?
    ) {
        self.server = server
        self.listener = listener
        self.limits = server.configuration.limits
        let smtp = listener.smtpForNewSession(server)
        self.machine = SMTPSession(configuration: smtp)
        self.machine.challengeNonce = Self.newChallengeNonce(smtp)
        self.commandTimeoutMS = listener.commandTimeoutMS(server)
        self.budgetLimits = self.limits.budgets.within(
            commandTimeoutMS: self.commandTimeoutMS,
            dataTimeoutMS: self.limits.dataTimeoutMS
        )
        self.openedMS = server.nowMS
        self.chargedTime = server.time
        self.lastHeardMS = self.openedMS
        let started = server.unixMS
        let facts = SessionFacts(
            id: server.newSessionID(started),
            listener: listener.configuration.name,
            startedMS: started,
            client: Self.peer(client, listener),
            server: Self.peer(local, listener)
        )
        self.clientAddress = IPAddress(parsing: facts.client.ip)
        let route = server.routes.route(session: facts.id)
        self.pools = route.pools
        self.policy = PolicySession(
            facts: facts,
            route: route.profiles,
            demand: server.demand,
            smtp: smtp,
            maximumDelayMS: self.limits.maximumReplyDelayMS,
            failedLoginDelayMS: self.limits.failedLogins.delayMS
        )
    }

    /// The address as policy sees it: IPv4 in IPv6 is IPv4, and a client of a Unix socket has the
    /// listener's 127.0.0.1.
    private static func peer(_ address: SocketAddress?, _ listener: SMTPListener) -> Peer {
        let listening = listener.configuration.address
        guard listening.path == nil else { return Peer(ip: "\(listening.host)", port: 0) }
        guard let address, let text = address.ipAddress else {
            return Peer(ip: Peer.unknownIP, port: 0)
        }
        return Peer(ip: IPAddress(parsing: text).map { "\($0)" } ?? text, port: address.port ?? 0)
    }

    /// The client's address, or its IPv6 network: its sessions are counted together
    /// (`max_sessions_per_ip`).
    var clientNetwork: String {
        guard let address = self.clientAddress, address.isIPv6 else {
            return self.policy.facts.client.ip
        }
        return "\(address.clientNetwork)"
    }

    /// Octets of memory that this session holds, about.
    var heldOctets: Int {
        let waiting = self.blockedSinceMS == nil ? 0 : Self.waitingReplies.high
        return Self.idleOctets + (self.policy.facts.tls == nil ? 0 : Self.encryptionOctets)
            + self.input.storageCapacity + self.output.storageCapacity + waiting
            + self.content.capacity + (self.message?.heldOctets ?? 0) + self.policy.heldOctets
    }
}

@available(*, unavailable)
extension SMTPSessionHandler: Sendable {}

// MARK: - The channel

extension SMTPSessionHandler {
    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { self.connected(context) }
    }

    func channelActive(context: ChannelHandlerContext) { self.connected(context) }

    private func connected(_ context: ChannelHandlerContext) {
        self.server.sessionOpened(self)
        guard self.phase == .greetingHeld else { return }
        if self.listener.configuration.proxyProtocol {
            self.awaitProxyHeader()
        } else {
            self.begin(context)
        }
    }

    /// The client's address is known: a handshake follows, or the banner.
    func begin(_ context: ChannelHandlerContext) {
        self.machine.trust = self.listener.trust(of: self.clientAddress)
        if self.listener.configuration.tls == .implicit {
            self.beginHandshake(context)
        } else {
            self.opened(context)
        }
    }

    /// The connection is open, and encrypted if it begins with TLS: holds the banner back, or sends it.
    func opened(_ context: ChannelHandlerContext) {
        let client = self.clientAddress
        let delay = self.listener.greetingDelayMS(for: client, now: self.server.nowMS)
        guard delay > 0 else { return self.greet() }
        context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(delay)) {
            guard self.phase == .greetingHeld else { return }
            self.listener.greetingPassed(client, now: self.server.nowMS)
            self.greet()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var octets = self.unwrapInboundIn(data)
        self.wake()
        self.lastHeardMS = self.server.nowMS
        self.keep(&octets)
        switch self.phase {
        case .proxyHeader: self.readProxyHeader(context, self.input)
        case .greetingHeld:
            self.machine.octetsArrivedEarly()
            self.greet()
        case .parsing: self.parse()
        case .waiting:
            self.machine.octetsArrivedEarly()
            self.updateReading()
        case .closing, .securing: self.input = ByteBuffer()
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        self.wake()
        if event is TLSUserEvent { return self.handshakeCompleted(context) }
        guard case ChannelEvent.inputClosed? = event as? ChannelEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        self.inputEnded = true
        // The client may still read: what it sent before the end is answered.
        switch self.phase {
        case .parsing: self.parse()
        case .proxyHeader, .greetingHeld, .securing: self.close(context)
        case .closing: if self.isLastReplyWritten { self.close(context) }
        case .waiting: break
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.wake()
        if !context.channel.isWritable {
            if self.blockedSinceMS == nil { self.blockedSinceMS = self.server.nowMS }
            self.updateReading()
        } else if self.blockedSinceMS != nil {
            self.blockedSinceMS = nil
            self.lastHeardMS = self.server.nowMS
            if self.phase == .parsing { self.parse() } else { self.updateReading() }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.wake()
        // Many clients close a connection without saying so by TLS; a message ends with its final dot.
        if case NIOSSLError.uncleanShutdown = error { return }
        self.encryptionFailed(error)
        self.close(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.wake()
        self.context = nil
        self.inputEnded = true
        self.blockedSinceMS = nil
        switch self.phase {
        case .parsing: self.parse()
        case .waiting where self.isMessageOpen: break
        case .waiting, .proxyHeader, .greetingHeld, .securing, .closing: self.sessionOver()
        }
    }

    /// Content is on its way or complete, and not answered yet.
    private var isMessageOpen: Bool {
        self.policy.isMessageAsked || self.policy.isIdle && self.machine.wait == .content
    }

    /// Client and channel are gone, and no message is open.
    func sessionOver() {
        guard !self.hasEnded else { return }
        self.hasEnded = true
        self.phase = .closing
        self.input = ByteBuffer()
        self.output = ByteBuffer()
        self.machine.connectionClosed()
        self.countEnd()
        let duration = self.server.nowMS - self.openedMS
        self.tell { policy, actions in
            policy.sessionEnded(
                self.end ?? .client_gone,
                reply: self.summary.closingReply,
                durationMS: duration,
                &actions
            )
        }
    }

    /// Puts what arrived behind what is kept; room that was consumed is used again.
    private func keep(_ octets: inout ByteBuffer) {
        if self.input.readableBytes == 0 {
            self.input = octets
        } else {
            if self.input.readerIndex > self.input.readableBytes { self.input.discardReadBytes() }
            self.input.writeBuffer(&octets)
        }
    }

    /// What was kept behind the first `count` octets; nothing is kept any more.
    func takeInput(after count: Int) -> ByteBuffer {
        var rest = self.input
        rest.moveReaderIndex(forwardBy: count)
        self.input = ByteBuffer()
        return rest
    }

    /// Reads only what may be parsed soon.
    private func updateReading() {
        let isFull =
            self.phase == .waiting && self.input.readableBytes >= Self.maximumInputOctets
        let pause = isFull || self.blockedSinceMS != nil || self.isTurnOver
        guard pause != self.isReadingPaused, let context = self.context else { return }
        self.isReadingPaused = pause
        _ = context.channel.setOption(.autoRead, value: !pause)
    }
}

// MARK: - The dialogue

extension SMTPSessionHandler {
    /// The banner is due: from here on the machine speaks.
    private func greet() {
        self.phase = .parsing
        self.perform(self.machine.connectionOpened())
        if self.phase == .waiting { self.flush() } else { self.parse() }
    }

    /// Consumes what has arrived, action by action, until octets or an answer are missing.
    func parse() {
        guard !self.isParsing else { return }
        self.isParsing = true
        var steps = 0
        while self.phase == .parsing, self.blockedSinceMS == nil, !self.isTurnOver {
            if self.inputEnded, self.context == nil, self.machine.wait == .command {
                self.close(.client_gone)
                break
            }
            if self.output.readableBytes >= Self.waitingReplies.low {
                self.flush()
                continue
            }
            // The octets are lent out of a second reference to the buffer, so that the machine and
            // the content may change meanwhile.
            let input = self.input
            steps += 1
            let isResponse = self.machine.isInDialogue
            let isOfMessage = self.machine.hasRepliesLeft
            let step = self.machine.next(in: input.readableBytesUInt8Span, content: &self.content)
            if step.consumed > 0 { self.input.moveReaderIndex(forwardBy: step.consumed) }
            if step.action == .needOctets {
                if self.inputEnded { self.close(.client_gone) }
                break
            }
            if case .reply(let reply) = step.action, !reply.code.isPositive, !isOfMessage {
                // A response to a challenge may be a password, whatever it begins with.
                let line = input.readableBytesView.prefix(isResponse ? 0 : step.consumed)
                self.commandRefused(reply, line: line)
            }
            self.perform(step.action)
            if steps == SessionTurns.steps { self.endTurn() }
        }
        self.isParsing = false
        self.giveBackInput()
        self.updateReading()
        self.flush()
    }

    /// Others are to be served before this session goes on.
    private func endTurn() {
        self.isTurnOver = true
        self.server.turns.wait(self)
    }

    /// It is this session's turn again.
    func goOn() {
        self.isTurnOver = false
        // The wait was ours, not the client's silence.
        self.lastHeardMS = self.server.nowMS
        if self.phase == .parsing { self.parse() } else { self.updateReading() }
    }

    /// An input buffer that is empty, or has become much larger than what is left in it, goes.
    private func giveBackInput() {
        if self.input.readableBytes == 0 {
            self.input = ByteBuffer()
        } else if self.input.storageCapacity > 2 * Self.maximumInputOctets,
            self.input.readableBytes < Self.maximumInputOctets
        {
            self.input = ByteBuffer(bytes: self.input.readableBytesView)
        }
    }

    func perform(_ action: SMTPAction) {
        switch action {
        case .needOctets, .proceed, .awaitAnswer, .dropStale: break
        case .contentAppended: self.contentArrived()
        case .ask(let question): self.ask(question)
        case .reply(let reply): self.send(reply)
        case .resetThenReply(let reply):
            self.tell { $0.transactionReset(reply, &$1) }
            self.send(reply)
        case .startTLS(let reply):
            self.send(reply)
            self.flush()
            if let context = self.context { self.beginHandshake(context) }
        case .clientNamed(let client): self.clientNamed(client)
        case .forwarded(let client, let reply):
            self.policy.forwarded(client)
            self.send(reply)
        case .replyThenClose(let reply):
            self.summary.closed(by: reply)
            self.send(reply)
            self.close(SessionEnd(closedBy: reply))
        case .closed: self.close(.client_gone)
        }
    }

    /// The message grows: into its file once it is more than memory is meant for.
    private func contentArrived() {
        if self.machine.isDiscardingContent {
            self.content.removeAll(keepingCapacity: true)
            self.message?.discard()
            return
        }
        self.storeContent()
        guard let message = self.message, message.isBehind else { return }
        // The disk is slower than the client: take no more until it has caught up.
        self.phase = .waiting
        message.whenWritten {
            guard self.phase == .waiting, self.policy.isIdle else { return }
            self.phase = .parsing
            self.parse()
        }
    }

    /// Hands what arrived to the message.
    func storeContent() {
        self.message?.append(
            &self.content,
            keepingMemoryUpTo: self.limits.memoryMessageOctets
        )
    }

    func send(_ reply: SMTPReply) {
        self.summary.replied(reply)
        // Once the channel has written the earlier replies, only this session refers to the buffer,
        // and its storage is used again.
        if self.output.readableBytes == 0 {
            if self.output.storageCapacity > Self.keptOutputOctets {
                self.output = ByteBuffer()
            } else {
                self.output.clear()
            }
        }
        self.output.writeBytes(reply.wire)
    }

    func flush() {
        guard let context = self.context else {
            self.output = ByteBuffer()
            return
        }
        if self.phase == .closing { return self.flushLast(context) }
        guard self.output.readableBytes > 0 else { return }
        let output = self.output
        self.output.moveReaderIndex(to: self.output.writerIndex)
        context.writeAndFlush(self.wrapOutboundOut(output), promise: nil)
    }

    /// Sends what is left to be said, and closes once the client's socket has all of it.
    private func flushLast(_ context: ChannelHandlerContext) {
        guard !self.isLastReplySent else { return }
        self.isLastReplySent = true
        // What the client has not read when it is reset is lost to it: say goodbye in order.
        let isClean = self.input.readableBytes == 0 && self.end == .quit
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in
            self.isLastReplyWritten = true
            self.lingerUntilMS = self.server.nowMS + Self.lingerMS
            guard let context = self.context else { return }
            if isClean || self.inputEnded { return self.close(context) }
            self.server.clientLeaves(self)
            context.close(mode: .output, promise: nil)
        }
        let output = self.output
        self.output = ByteBuffer()
        context.writeAndFlush(self.wrapOutboundOut(output), promise: written)
    }

    /// Nothing more is said after what waits to be sent.
    func close(_ end: SessionEnd) {
        guard self.phase != .closing else { return }
        self.phase = .closing
        if self.end == nil { self.end = end }
        guard self.context != nil else { return self.sessionOver() }
        self.lingerUntilMS =
            self.server.nowMS + self.limits.replyTimeoutMS
        self.updateReading()
    }
}
