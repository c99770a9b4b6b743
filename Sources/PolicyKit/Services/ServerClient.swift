import NIOCore

/// Asks another server: sends octets and takes its answer, with a limit and a deadline.
///
/// ```swift
/// self.clamd = configuration.client(to: address)          // in the initialiser
/// …
/// let answer = try await self.clamd.exchange(
///     Array("zVERSION\0".utf8), until: .octets([0]), limit: 1_000, within: .seconds(5)
/// )
/// ```
///
/// The server must be one that speaks only when it is asked. Each connection carries one exchange at
/// a time. A connection whose answer has ended without closing it is kept for the next exchange, at
/// most ``maximumIdle`` of them and each for ``idleTime``. If a kept connection ends before anything
/// of an answer has come, the request is sent once more on a new one: a server may so see it twice.
///
/// Safe from any task; several exchanges may run at once, each on a connection of its own.
public struct ServerClient: Sendable {
    /// The most unused connections that are kept.
    public static let maximumIdle = 8
    /// How long an unused connection is kept.
    public static let idleTime: Duration = .seconds(30)
    /// The most time that making a connection may take.
    public static let connectTime: Duration = .seconds(5)

    /// Where the server listens.
    public let address: ServerAddress
    private let eventLoop: any EventLoop
    private let connections: NIOLoopBoundBox<ServerConnections>

    init(
        _ address: ServerAddress,
        on eventLoop: any EventLoop,
        idleTime: Duration = Self.idleTime
    ) {
        self.address = address
        self.eventLoop = eventLoop
        self.connections = .makeBoxSendingValue(
            ServerConnections(to: address, on: eventLoop, idleTime: TimeAmount(idleTime)),
            eventLoop: eventLoop
        )
    }

    /// Sends a request and takes the answer.
    ///
    /// - Parameters:
    ///   - request: The whole request.
    ///   - end: How the end of the answer is known.
    ///   - limit: The most octets of an answer.
    ///   - time: The time for connecting, sending and the answer together, a day at most.
    /// - Returns: The answer, its end mark included.
    /// - Throws: ``ExchangeError``; `CancellationError` if the task is cancelled; what the function
    ///   of ``AnswerEnd/length(_:)`` throws.
    public func exchange(
        _ request: [UInt8],
        until end: AnswerEnd,
        limit: Int,
        within time: Duration
    ) async throws -> [UInt8] {
        let promise = self.eventLoop.makePromise(of: [UInt8].self)
        let exchange = NIOLoopBoundBox.makeBoxSendingValue(
            ServerExchange(
                request: ByteBuffer(bytes: request),
                reader: AnswerReader(end, limit: limit),
                deadline: .now() + TimeAmount(max(.zero, min(time, .seconds(86_400)))),
                promise: promise
            ),
            eventLoop: self.eventLoop
        )
        self.onLoop { self.connections.value.start(exchange.value) }
        return try await withTaskCancellationHandler {
            try await promise.futureResult.get()
        } onCancel: {
            self.onLoop { exchange.value.fail(CancellationError()) }
        }
    }

    private func onLoop(_ body: @escaping @Sendable () -> Void) {
        if self.eventLoop.inEventLoop { body() } else { self.eventLoop.execute(body) }
    }
}

extension PluginConfiguration {
    /// A client of another server, for a plugin to keep.
    ///
    /// Connects when it is first asked.
    public func client(to address: ServerAddress) -> ServerClient {
        ServerClient(address, on: self.shared.eventLoop)
    }
}
