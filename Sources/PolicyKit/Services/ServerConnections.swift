import NIOCore
import NIOPosix

/// The connections of one client.
///
/// Confined to the worker's event loop.
final class ServerConnections {
    private let address: ServerAddress
    private let eventLoop: any EventLoop
    /// How long an unused connection is kept.
    fileprivate let idleTime: TimeAmount
    /// Unused connections; the one last used is used next.
    private var idle: [ServerConnection] = []

    init(to address: ServerAddress, on eventLoop: any EventLoop, idleTime: TimeAmount) {
        self.address = address
        self.eventLoop = eventLoop
        self.idleTime = idleTime
    }

    /// Performs an exchange on a connection that was kept, or on a new one.
    func start(_ exchange: ServerExchange) {
        guard !exchange.isOver else { return }
        exchange.startTimer(on: self.eventLoop)
        if let connection = self.idle.popLast() {
            connection.begin(exchange)
        } else {
            self.connect(for: exchange)
        }
    }

    /// Performs an exchange on a new connection.
    func connect(for exchange: ServerExchange) {
        guard !exchange.isOver else { return }
        let left = max(exchange.deadline - .now(), .milliseconds(1))
        let bootstrap = ClientBootstrap(group: self.eventLoop)
            .connectTimeout(min(TimeAmount(ServerClient.connectTime), left))
            // Nothing is read before the handler is there; of several addresses one gets it.
            .channelOption(.autoRead, value: false)
        let connected =
            switch self.address {
            case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
            case .tcp(let host, let port): bootstrap.connect(host: host, port: port)
            }
        connected.assumeIsolated().flatMapThrowing { channel in
            let connection = ServerConnection(channel, of: self)
            try channel.pipeline.syncOperations.addHandler(connection)
            if exchange.isOver {
                connection.close()
            } else {
                connection.begin(exchange)
            }
            try channel.syncOptions?.setOption(.autoRead, value: true)
        }.whenFailure { error in
            exchange.fail(ExchangeError(.unreachable, "\(self.address): \(error)"))
        }
    }

    /// An answer is over and the connection can take another request.
    func keep(_ connection: ServerConnection) {
        self.idle.append(connection)
        if self.idle.count > ServerClient.maximumIdle { self.idle.removeFirst().close() }
    }

    /// The connection is gone, or is to be used no more.
    func forget(_ connection: ServerConnection) {
        self.idle.removeAll { $0 === connection }
    }
}

/// One connection: carries one exchange at a time.
final class ServerConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let channel: any Channel
    private let connections: ServerConnections
    private var exchange: ServerExchange?
    private var isUsed = false
    private var idleTimer: Scheduled<Void>?

    init(_ channel: any Channel, of connections: ServerConnections) {
        self.channel = channel
        self.connections = connections
    }

    /// Sends the request of `exchange`.
    func begin(_ exchange: ServerExchange) {
        self.idleTimer?.cancel()
        self.idleTimer = nil
        self.exchange = exchange
        exchange.connection = self
        self.channel.writeAndFlush(exchange.request, promise: nil)
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
        do {
            let arrived = self.unwrapInboundIn(data).readableBytesView
            guard let answer = try exchange.reader.append(arrived) else { return }
            self.exchange = nil
            self.isUsed = true
            if exchange.reader.isAtEnd { self.keep() } else { self.close() }
            exchange.succeed(answer)
        } catch {
            exchange.fail(error)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let exchange = self.exchange, let answer = exchange.reader.finish() {
            self.exchange = nil
            exchange.succeed(answer)
        }
        self.end("the server closed the connection before the end of its answer")
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.end("\(error)")
        context.close(promise: nil)
    }

    private func keep() {
        self.connections.keep(self)
        self.idleTimer = self.channel.eventLoop.assumeIsolated().scheduleTask(
            in: self.connections.idleTime
        ) { self.close() }
    }

    private func end(_ reason: String) {
        self.idleTimer?.cancel()
        self.connections.forget(self)
        guard let exchange = self.exchange else { return }
        self.exchange = nil
        if self.isUsed, exchange.reader.octets.isEmpty {
            exchange.connection = nil
            self.connections.connect(for: exchange)
        } else {
            exchange.fail(ExchangeError(.closed, reason))
        }
    }
}

/// A request and what has come of its answer.
///
/// Confined to the worker's event loop once it has started.
final class ServerExchange {
    let request: ByteBuffer
    let deadline: NIODeadline
    var reader: AnswerReader
    /// The connection that carries it, as long as it is not over.
    var connection: ServerConnection?
    private var promise: EventLoopPromise<[UInt8]>?
    private var timer: Scheduled<Void>?

    init(
        request: ByteBuffer,
        reader: AnswerReader,
        deadline: NIODeadline,
        promise: EventLoopPromise<[UInt8]>
    ) {
        self.request = request
        self.reader = reader
        self.deadline = deadline
        self.promise = promise
    }

    var isOver: Bool { self.promise == nil }

    func startTimer(on eventLoop: any EventLoop) {
        self.timer = eventLoop.assumeIsolated().scheduleTask(deadline: self.deadline) {
            self.fail(ExchangeError(.timedOut, "no answer in time"))
        }
    }

    func succeed(_ answer: [UInt8]) { self.end()?.succeed(answer) }

    /// Ends the exchange, and the connection that carries it.
    func fail(_ error: any Error) {
        let connection = self.connection
        guard let promise = self.end() else { return }
        connection?.close()
        promise.fail(error)
    }

    private func end() -> EventLoopPromise<[UInt8]>? {
        self.timer?.cancel()
        self.timer = nil
        self.connection = nil
        defer { self.promise = nil }
        return self.promise
    }
}

@available(*, unavailable)
extension ServerConnections: Sendable {}

@available(*, unavailable)
extension ServerConnection: Sendable {}

@available(*, unavailable)
extension ServerExchange: Sendable {}
