import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import PolicyKit

/// The connections to one server.
///
/// Confined to the worker's event loop.
final class HTTPConnections {
    private let address: ServerAddress
    private let tls: HTTPEncryption?
    private let eventLoop: any EventLoop
    /// How long an unused connection is kept.
    fileprivate let idleTime: TimeAmount
    /// Unused connections; the one last used is used next.
    private var idle: [HTTPConnection] = []

    init(
        to address: ServerAddress,
        tls: HTTPEncryption?,
        on eventLoop: any EventLoop,
        idleTime: TimeAmount
    ) {
        self.address = address
        self.tls = tls
        self.eventLoop = eventLoop
        self.idleTime = idleTime
    }

    /// Performs an exchange on a connection that was kept, or on a new one.
    func start(_ exchange: HTTPExchange) {
        guard !exchange.isOver else { return }
        exchange.startTimer(on: self.eventLoop)
        if exchange.request.isRepeatable, let connection = self.idle.popLast() {
            connection.begin(exchange)
        } else {
            self.connect(for: exchange)
        }
    }

    /// Performs an exchange on a new connection.
    func connect(for exchange: HTTPExchange) {
        guard !exchange.isOver else { return }
        let left = max(exchange.deadline - .now(), .milliseconds(1))
        let bootstrap = ClientBootstrap(group: self.eventLoop)
            .connectTimeout(min(TimeAmount(HTTPServerClient.connectTime), left))
            // Nothing is read before the handlers are there; of several addresses one gets them.
            .channelOption(.autoRead, value: false)
        let connected =
            switch self.address {
            case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
            case .tcp(let host, let port): bootstrap.connect(host: host, port: port)
            }
        connected.assumeIsolated().flatMapThrowing { channel in
            guard !exchange.isOver else { return channel.close(promise: nil) }
            do {
                if let tls = self.tls {
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(context: tls.context, serverHostname: tls.name)
                    )
                }
                let connection = try HTTPConnection.add(to: channel, of: self)
                connection.begin(exchange)
                try channel.syncOptions?.setOption(.autoRead, value: true)
            } catch {
                // Nothing reads from it, so nothing else would close it.
                channel.close(promise: nil)
                throw error
            }
        }.whenFailure { error in
            exchange.fail(HTTPFailure(.unreachable, "\(self.address): \(error)"))
        }
    }

    /// An answer is over and the connection can take another request.
    func keep(_ connection: HTTPConnection) {
        self.idle.append(connection)
        if self.idle.count > HTTPServerClient.maximumIdle { self.idle.removeFirst().close() }
    }

    /// The connection is gone, or is to be used no more.
    func forget(_ connection: HTTPConnection) {
        self.idle.removeAll { $0 === connection }
    }
}

/// One connection: carries one exchange at a time.
final class HTTPConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let channel: any Channel
    private let connections: HTTPConnections
    private var exchange: HTTPExchange?
    private var isUsed = false
    /// Whether the server has all of the request.
    private var isWritten = false
    private var idleTimer: Scheduled<Void>?

    private init(_ channel: any Channel, of connections: HTTPConnections) {
        self.channel = channel
        self.connections = connections
    }

    /// Puts the codec of HTTP and the connection at the end of a channel.
    static func add(
        to channel: any Channel,
        of connections: HTTPConnections
    ) throws -> HTTPConnection {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = 16_384
        limits.maxHeaderListSize = 65_536
        limits.maxHeaderFieldCount = 256
        let connection = HTTPConnection(channel, of: connections)
        try channel.pipeline.syncOperations.addHTTPClientHandlers(decoderLimitConfiguration: limits)
        try channel.pipeline.syncOperations.addHandler(connection)
        return connection
    }

    /// Sends the request of `exchange`.
    func begin(_ exchange: HTTPExchange) {
        self.idleTimer?.cancel()
        self.idleTimer = nil
        self.exchange = exchange
        self.isWritten = false
        exchange.connection = self
        let request = exchange.request
        self.channel.write(HTTPClientRequestPart.head(exchange.head), promise: nil)
        if !request.body.isEmpty {
            let body = self.channel.allocator.buffer(bytes: request.body)
            self.channel.write(HTTPClientRequestPart.body(.byteBuffer(body)), promise: nil)
        }
        self.channel.writeAndFlush(HTTPClientRequestPart.end(nil)).assumeIsolated().whenSuccess {
            self.isWritten = true
        }
    }

    /// Ends the connection.
    func close() {
        self.connections.forget(self)
        self.channel.close(promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // A server that speaks without being asked is out of step: its next answer would be taken
        // for another one's.
        guard let exchange = self.exchange else { return self.close() }
        do throws(HTTPFailure) {
            guard let answer = try exchange.reader.take(self.unwrapInboundIn(data)) else { return }
            self.exchange = nil
            self.isUsed = true
            // A server that answers before it has read all of the request reads the rest as the next one.
            if exchange.keepsConnection && self.isWritten {
                self.keep()
            } else {
                self.close()
            }
            exchange.succeed(answer)
        } catch {
            exchange.fail(error)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.end(
            HTTPFailure(.closed, "the server closed the connection before the end of its answer")
        )
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.end(Self.failure(error))
        context.close(promise: nil)
    }

    private static func failure(_ error: any Error) -> HTTPFailure {
        switch error {
        case HTTPParserError.headerOverflow:
            HTTPFailure(.tooLong, "the header of the answer is too long")
        case HTTPParserError.invalidEOFState:
            HTTPFailure(.closed, "the server closed the connection within its answer")
        case is HTTPParserError: HTTPFailure(.malformed, "\(error)")
        case let error as NIOSSLError:
            // The end of a connection that TLS did not end may be an attacker's.
            if case .uncleanShutdown = error {
                HTTPFailure(.closed, "the connection ended without the end of TLS")
            } else {
                HTTPFailure(.unreachable, "no TLS: \(error)")
            }
        case is NIOSSLExtraError: HTTPFailure(.unreachable, "no TLS: \(error)")
        default: HTTPFailure(.closed, "\(error)")
        }
    }

    private func keep() {
        self.connections.keep(self)
        self.idleTimer = self.channel.eventLoop.assumeIsolated().scheduleTask(
            in: self.connections.idleTime
        ) { self.close() }
    }

    private func end(_ failure: HTTPFailure) {
        self.idleTimer?.cancel()
        self.connections.forget(self)
        guard let exchange = self.exchange else { return }
        self.exchange = nil
        if self.isUsed, !exchange.reader.hasBegun, failure.code == .closed {
            exchange.connection = nil
            self.connections.connect(for: exchange)
        } else {
            exchange.fail(failure)
        }
    }
}

@available(*, unavailable)
extension HTTPConnections: Sendable {}

@available(*, unavailable)
extension HTTPConnection: Sendable {}
