import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import PolicyKit

/// One connection to an IMAP server, for one login.
///
/// Confined to the worker's event loop.
final class IMAPConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var login: IMAPLogin
    private let makeTLS: () throws -> NIOSSLClientHandler
    private let promise: EventLoopPromise<IMAPLogin.Answer>
    private var context: ChannelHandlerContext?
    private var line: [UInt8] = []
    private var timer: Scheduled<Void>?
    private var isOver = false

    /// The promise gets an answer, and never an error.
    init(
        _ login: IMAPLogin,
        _ promise: EventLoopPromise<IMAPLogin.Answer>,
        makeTLS: @escaping () throws -> NIOSSLClientHandler
    ) {
        self.login = login
        self.promise = promise
        self.makeTLS = makeTLS
    }

    /// Connects to a server, with TLS from the first octet if `isWrapped`.
    func start(
        _ address: ServerAddress,
        isWrapped: Bool,
        on eventLoop: any EventLoop,
        within time: TimeAmount
    ) {
        self.timer = eventLoop.assumeIsolated().scheduleTask(in: time) {
            self.end(.putOff("no answer in time"))
        }
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(time)
            // Nothing is read before the handlers are there; of several addresses one gets them.
            .channelOption(.autoRead, value: false)
        let connected =
            switch address {
            case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
            case .tcp(let host, let port): bootstrap.connect(host: host, port: port)
            }
        connected.assumeIsolated().flatMapThrowing { channel in
            guard !self.isOver else { return channel.close(promise: nil) }
            if isWrapped { try channel.pipeline.syncOperations.addHandler(try self.makeTLS()) }
            try channel.pipeline.syncOperations.addHandler(self)
            try channel.syncOptions?.setOption(.autoRead, value: true)
        }.whenFailure { error in
            self.end(.putOff("cannot connect to \(address): \(error)"))
        }
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var octets = Array(self.unwrapInboundIn(data).readableBytesView)[...]
        while !self.isOver, let octet = octets.popFirst() {
            guard octet == 0x0a else {
                self.line.append(octet)
                if self.line.count > IMAPLogin.maximumLineOctets {
                    self.end(.putOff("the server sent a line without an end"))
                }
                continue
            }
            if self.line.last == 0x0d { self.line.removeLast() }
            let action = self.login.receive(self.line)
            self.line.removeAll(keepingCapacity: true)
            if action == .startTLS, !octets.isEmpty {
                return self.end(.putOff("the server spoke before the handshake"))
            }
            self.perform(action)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted? = event as? TLSUserEvent {
            self.perform(self.login.encrypted())
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.end(.putOff("the server closed the connection"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.end(.putOff("\(error)"))
    }

    private func perform(_ action: IMAPLogin.Action?) {
        guard let context = self.context else { return }
        switch action {
        case nil: break
        case .send(let octets):
            context.writeAndFlush(NIOAny(ByteBuffer(bytes: octets)), promise: nil)
        case .startTLS:
            do {
                try context.pipeline.syncOperations.addHandler(try self.makeTLS(), position: .first)
            } catch {
                self.end(.putOff("\(error)"))
            }
        case .end(let answer): self.end(answer)
        }
    }

    private func end(_ answer: IMAPLogin.Answer) {
        guard !self.isOver else { return }
        self.isOver = true
        self.timer?.cancel()
        self.promise.succeed(answer)
        self.context?.close(promise: nil)
    }
}

@available(*, unavailable)
extension IMAPConnection: Sendable {}
