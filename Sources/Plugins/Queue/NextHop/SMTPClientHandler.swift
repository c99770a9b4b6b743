import NIOCore
import NIOTLS

/// One connection to the next hop: performs what ``SMTPClientMachine`` says.
///
/// Confined to its channel's event loop.
final class SMTPClientHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// How far a transaction has come.
    enum Step: Sendable, Equatable {
        /// The content is wanted, in this form.
        case content(SMTPClientMachine.ContentForm)
        case outcome(NextHopOutcome)
        /// The hop's reply to a command that was said alone.
        case answer(SMTPServerReply)
    }

    /// A command that is said alone.
    enum Command: Sendable {
        case mail(SMTPEnvelope)
        case rcpt([UInt8], notification: [UInt8])
        /// `DATA`; nothing yet, if the content is to go by `BDAT`.
        case content
    }

    private var machine: SMTPClientMachine
    private var parser = SMTPServerReplyParser()
    private var replies: [SMTPServerReply] = []
    private let pool: SMTPConnectionPool
    private let tls: NextHopTLS
    /// Only with DANE, from the handshake on.
    private var check: DANECheck?
    private var greeting: EventLoopPromise<Void>?
    private var step: EventLoopPromise<Step>?
    /// A transaction has begun and its owner does not know its end yet.
    private var isOpen = false
    /// The hop's reply in the middle of the content, before the delivery waits for one.
    private var earlyStep: Result<Step, SMTPForwardError>?
    private var timer: Scheduled<Void>?
    private(set) var channel: (any Channel)?

    init(
        machine: SMTPClientMachine,
        pool: SMTPConnectionPool,
        tls: NextHopTLS,
        greeting: EventLoopPromise<Void>
    ) {
        self.machine = machine
        self.pool = pool
        self.tls = tls
        self.greeting = greeting
    }

    var isIdle: Bool { self.machine.isIdle && self.channel?.isActive == true }
    var capabilities: SMTPCapabilities { self.machine.capabilities }
    /// It is encrypted, and the hop's certificate is one that we trust.
    var isVerified: Bool { self.machine.isEncrypted && self.tls.isVerifying }
    var wasMailAccepted: Bool { self.machine.wasMailAccepted }

    /// Whether sending the rest of the content would be in vain.
    var isContentUnwanted: Bool { self.earlyStep != nil || self.channel?.isActive != true }

    // MARK: Asked by the owner of the lease

    /// Says `MAIL` and `RCPT`, and, if all goes well, `DATA` for a content of lines.
    func begin(_ envelope: SMTPEnvelope, until deadline: NIODeadline) -> EventLoopFuture<Step> {
        guard let channel = self.channel else { return self.pool.failed(.closed, "no connection") }
        let promise = channel.eventLoop.makePromise(of: Step.self)
        self.step = promise
        self.isOpen = true
        self.earlyStep = nil
        self.setTimer(deadline, "no answer in time")
        self.perform(self.machine.transactionWanted(envelope))
        return promise.futureResult
    }

    /// Says one command of a transaction, whose owner keeps the connection until ``release()``.
    func say(_ command: Command, until deadline: NIODeadline) -> EventLoopFuture<Step> {
        guard let channel = self.channel else { return self.pool.failed(.closed, "no connection") }
        let promise = channel.eventLoop.makePromise(of: Step.self)
        self.step = promise
        self.earlyStep = nil
        self.setTimer(deadline, "no answer in time")
        switch command {
        case .mail(let envelope): self.perform(self.machine.mailWanted(envelope))
        case .rcpt(let recipient, let notification):
            self.perform(self.machine.recipientWanted(recipient, notification: notification))

        case .content:
            self.isOpen = true
            self.perform(self.machine.contentWanted())
        }
        return promise.futureResult
    }

    /// The owner of ``say(_:until:)`` says no more: others get the connection once the hop has forgotten
    /// the transaction.
    func release() {
        if self.isIdle { return self.pool.freed(self) }
        self.setTimer(.now() + .seconds(5), "no answer to RSET")
        self.perform(self.machine.resetWanted())
    }

    /// Sends the last piece of the content and its end, and waits for what becomes of it.
    func end(_ lastPiece: [UInt8]) -> EventLoopFuture<Step> {
        if let early = self.earlyStep {
            self.earlyStep = nil
            self.isOpen = false
            return self.pool.completed(early)
        }
        guard let channel = self.channel else { return self.pool.failed(.closed, "no connection") }
        let promise = channel.eventLoop.makePromise(of: Step.self)
        self.step = promise
        channel.write(channel.allocator.buffer(bytes: lastPiece), promise: nil)
        self.perform(self.machine.contentSent())
        channel.flush()
        return promise.futureResult
    }

    /// Closes the connection in the middle of whatever it does.
    func abandon() { self.channel?.close(promise: nil) }

    /// Says QUIT and closes; for a connection that no delivery uses.
    func quit() {
        self.write(Array("QUIT\r\n".utf8))
        self.channel?.close(promise: nil)
    }

    /// Closes an idle connection at its time.
    func setIdleTimer(_ time: TimeAmount) {
        self.timer?.cancel()
        self.timer = self.channel?.eventLoop.assumeIsolated().scheduleTask(in: time) {
            self.pool.expired(self)
        }
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) { self.channel = context.channel }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let octets = self.unwrapInboundIn(data)
        do {
            try self.parser.received(octets.readableBytesView, into: &self.replies)
        } catch {
            return self.lost(error)
        }
        let replies = self.replies
        self.replies.removeAll(keepingCapacity: true)
        for (index, reply) in replies.enumerated() {
            let action = self.machine.replyReceived(reply)
            // Behind the 220 to STARTTLS nothing may come in clear text: it would count as said under
            // TLS.
            guard action != .startTLS || index + 1 == replies.count && !self.parser.isInReply else {
                return self.fail(SMTPForwardError(.malformed, "octets behind 220 to STARTTLS"))
            }
            self.perform(action)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent {
            self.perform(self.machine.tlsStarted())
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.perform(self.machine.connectionLost(SMTPForwardError(.closed, "the hop closed")))
        self.timer?.cancel()
        self.channel = nil
        self.pool.closed(self)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.lost(SMTPForwardError(.closed, self.check?.problem ?? "\(error)"))
    }

    /// The time for the greeting.
    func setTimer(_ deadline: NIODeadline, _ text: String) {
        self.timer?.cancel()
        self.timer = self.channel?.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.lost(SMTPForwardError(.timedOut, text))
        }
    }

    private func lost(_ error: SMTPForwardError) {
        self.perform(self.machine.connectionLost(error))
        self.channel?.close(promise: nil)
    }

    /// Ends the connection with `error`, whatever the machine would make of it.
    private func fail(_ error: SMTPForwardError) {
        _ = self.machine.connectionLost(error)
        self.perform(.fail(error))
    }

    // MARK: Actions

    private func perform(_ action: SMTPClientMachine.Action) {
        switch action {
        case .none:
            break

        case .write(let octets):
            self.write(octets)

        case .startTLS:
            self.startTLS()

        case .ready:
            self.timer?.cancel()
            self.greeting?.succeed()
            self.greeting = nil

        case .goAhead(let form):
            self.resume(.success(.content(form)))

        case .completed(let outcome):
            self.timer?.cancel()
            self.resume(.success(.outcome(outcome)))
            self.pool.freed(self)

        case .completedWriting(let outcome, let octets):
            self.write(octets)
            self.resume(.success(.outcome(outcome)))

        case .completedThenClose(let outcome):
            self.resume(.success(.outcome(outcome)))
            self.channel?.close(promise: nil)

        case .answered(let reply):
            self.timer?.cancel()
            self.resume(.success(.answer(reply)))

        case .answeredThenClose(let reply):
            self.resume(.success(.answer(reply)))
            self.channel?.close(promise: nil)

        case .free:
            self.timer?.cancel()
            self.pool.freed(self)

        case .fail(let error):
            self.resume(.failure(error))
            self.channel?.close(promise: nil)
        }
    }

    /// Encrypts the connection; the handshake begins at once.
    func startTLS() {
        guard let channel = self.channel else { return }
        do {
            let (handler, check) = try self.tls.makeHandler(self.pool.address)
            self.check = check
            try channel.pipeline.syncOperations.addHandler(handler, position: .first)
        } catch {
            self.lost(SMTPForwardError(.encryption, "\(error)"))
        }
    }

    private func write(_ octets: [UInt8]) {
        guard let channel = self.channel else { return }
        channel.writeAndFlush(channel.allocator.buffer(bytes: octets), promise: nil)
    }

    private func resume(_ result: Result<Step, SMTPForwardError>) {
        if let greeting = self.greeting, case .failure(let error) = result {
            self.greeting = nil
            greeting.fail(error)
        }
        guard let step = self.step else {
            if self.isOpen { self.earlyStep = result }
            return
        }
        self.step = nil
        switch result {
        case .success(.content(let form)):
            step.succeed(.content(form))

        case .success(let value):
            self.isOpen = false
            step.succeed(value)

        case .failure(let error):
            self.isOpen = false
            step.fail(error)
        }
    }
}

@available(*, unavailable)
extension SMTPClientHandler: Sendable {}
