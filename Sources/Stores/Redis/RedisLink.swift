import Certificates
import Configuration
import NIOCore
import NIOPosix
import NIOSSL
import RESP
import System

/// The one connection to a server, made when it is needed, and again after it ended.
///
/// Confined to the event loop.
final class RedisLink {
    private enum State {
        /// No connection; until a time none is tried, and calls fail with what went wrong last.
        case none
        /// A connection is being made, or greets.
        case connecting
        case ready(RedisConnection)
        case closed
    }

    private let server: WorkerConfiguration.Store.Redis
    private let timeout: TimeAmount
    private let eventLoop: any EventLoop
    /// `nil`: in clear text.
    private let tls: NIOSSLContext?
    private var state = State.none
    /// Calls for the connection that is being made.
    private var waiting: [RedisCall] = []
    private var backoff = Backoff()
    private var pause: (until: NIODeadline, reason: String)?

    init(
        _ server: WorkerConfiguration.Store.Redis,
        timeout: TimeAmount,
        tls: NIOSSLContext?,
        on eventLoop: any EventLoop
    ) {
        self.server = server
        self.timeout = timeout
        self.tls = tls
        self.eventLoop = eventLoop
    }

    func error(_ reason: String) -> StoreError {
        StoreError(.unavailable, "\(self.server.address): \(reason)")
    }

    /// Sends a call, now or once there is a connection.
    func send(_ call: RedisCall) {
        guard !call.reply.isOver else { return }
        switch self.state {
        case .ready(let connection) where connection.isStuck(after: self.timeout):
            connection.end("no answer in time")
            self.send(call)

        case .ready(let connection):
            guard connection.missingReplies < RedisStore.maximumWaiting else {
                return call.reply.end(.failure(self.error("too many calls wait")))
            }
            connection.send(call)

        case .connecting:
            guard self.waiting.count < RedisStore.maximumWaiting else {
                return call.reply.end(.failure(self.error("too many calls wait")))
            }
            self.waiting.append(call)

        case .closed: call.reply.end(.failure(self.error("the store was closed")))

        case .none:
            if let pause, .now() < pause.until {
                call.reply.end(.failure(self.error(pause.reason)))
            } else {
                self.waiting.append(call)
                self.connect()
            }
        }
    }

    /// The time of a call is over: a server that owes its answer is stuck, and so would be all calls behind it.
    func timedOut(_ reply: PendingCall<RESPValue>) {
        guard case .ready(let connection) = self.state, connection.owes(reply) else { return }
        connection.end("no answer in time")
    }

    func close() {
        let before = self.state
        self.state = .closed
        if case .ready(let connection) = before { connection.end("the store was closed") }
        self.failWaiting(self.error("the store was closed"))
    }

    // MARK: Told by the connection

    /// The handshake is over.
    func isReady(_ connection: RedisConnection) {
        guard case .connecting = self.state else { return connection.end("the store was closed") }
        self.state = .ready(connection)
        self.backoff.reset()
        self.pause = nil
        let calls = self.waiting
        self.waiting = []
        for call in calls where !call.reply.isOver { connection.send(call) }
    }

    /// The connection is gone.
    func ended(_ connection: RedisConnection, _ reason: String, wasReady: Bool) {
        if case .closed = self.state { return }
        self.state = .none
        if !wasReady { self.failed(reason) }
    }

    // MARK: Connecting

    private func connect() {
        self.state = .connecting
        let bootstrap = ClientBootstrap(group: self.eventLoop)
            .connectTimeout(self.timeout)
            // Nothing is read before the handler is there; of several addresses one gets it.
            .channelOption(.autoRead, value: false)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        bootstrap.connect(host: self.server.host, port: self.server.port).assumeIsolated()
            .flatMapThrowing { channel in
                let pipeline = channel.pipeline.syncOperations
                if let tls = self.tls {
                    let name = ClientTLS.certificateName(of: self.server.host)
                    try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: name))
                }
                let handshake = RedisHandshake(
                    user: self.server.user,
                    password: self.server.password,
                    database: self.server.database
                )
                let connection = RedisConnection(channel, of: self, handshake)
                try pipeline.addHandler(connection)
                try channel.syncOptions?.setOption(.autoRead, value: true)
                connection.start(within: self.timeout)
            }
            .whenFailure { error in
                if case .closed = self.state { return }
                self.state = .none
                self.failed(Self.words(error))
            }
    }

    /// A connection could not be made: what waits for it fails, and for a while no other is tried.
    private func failed(_ reason: String) {
        var generator = SystemRandomNumberGenerator()
        let delay = self.backoff.next(using: &generator)
        self.pause = (.now() + TimeAmount(delay), reason)
        self.failWaiting(self.error(reason))
    }

    private func failWaiting(_ error: StoreError) {
        let calls = self.waiting
        self.waiting = []
        for call in calls { call.reply.end(.failure(error)) }
    }

    /// What an operator can do something with.
    private static func words(_ error: any Error) -> String {
        guard let error = error as? NIOConnectionError else { return "\(error)" }
        if let failure = error.connectionErrors.first { return "\(failure.error)" }
        return "the host name is unknown"
    }
}

@available(*, unavailable)
extension RedisLink: Sendable {}

extension WorkerConfiguration.Store.Redis {
    /// For messages: without the login.
    var address: String {
        let scheme = self.usesTLS ? "rediss" : "redis"
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        return "\(scheme)://\(host):\(self.port)/\(self.database)"
    }
}
