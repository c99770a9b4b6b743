import NIOCore
import NIOPosix

/// Where spamd listens.
enum SpamdAddress: Sendable, Equatable {
    case unix(path: String)
    case tcp(host: String, port: Int)

    /// Reads an absolute path, `HOST`, `HOST:PORT` or `[V6]:PORT`; the port is 783 by default.
    init?(_ text: String) {
        if text.hasPrefix("/") {
            guard text.utf8.count < 108 else { return nil }  // sun_path
            self = .unix(path: text)
            return
        }
        guard let (host, port) = HostAndPort.read(text, defaultPort: 783) else { return nil }
        self = .tcp(host: host, port: port)
    }
}

/// Talks to spamd: one connection, one question.
///
/// Runs on the worker's loop, without a hop.
struct SpamdClient: Sendable {
    static let connectTime: TimeAmount = .seconds(5)

    let loop: any EventLoop
    let address: SpamdAddress

    /// Sends a request and takes everything until spamd closes.
    ///
    /// - Parameters:
    ///   - request: The whole request.
    ///   - limit: The most octets of a reply.
    ///   - time: All of it, connecting included.
    /// - Returns: The reply, not empty.
    /// - Throws: ``SpamdError``.
    func ask(
        _ request: ByteBuffer,
        limit: Int,
        time: Duration
    ) async throws -> [UInt8] {
        let deadline = NIODeadline.now() + TimeAmount(time)
        let promise = self.loop.makePromise(of: [UInt8].self)
        let channel: any Channel
        do {
            channel = try await self.connect(promise, limit: limit, deadline: deadline)
        } catch {
            let failure = SpamdError(.unreachable, "\(error)")
            promise.fail(failure)
            throw failure
        }
        return try await withTaskCancellationHandler {
            channel.writeAndFlush(request, promise: nil)
            return try await promise.futureResult.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }

    private func connect(
        _ promise: EventLoopPromise<[UInt8]>,
        limit: Int,
        deadline: NIODeadline
    ) async throws -> any Channel {
        let left = max(deadline - .now(), .milliseconds(1))
        let bootstrap = ClientBootstrap(group: self.loop)
            .connectTimeout(min(Self.connectTime, left))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        SpamdReplyHandler(promise: promise, limit: limit, deadline: deadline)
                    )
                }
            }
        return switch self.address {
        case .unix(let path): try await bootstrap.connect(unixDomainSocketPath: path).get()
        case .tcp(let host, let port): try await bootstrap.connect(host: host, port: port).get()
        }
    }
}

/// Collects spamd's reply until it closes, or until there is a reason not to wait for that.
private final class SpamdReplyHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var promise: EventLoopPromise<[UInt8]>?
    private var reply: [UInt8] = []
    private let limit: Int
    private let deadline: NIODeadline
    private var timer: Scheduled<Void>?

    init(promise: EventLoopPromise<[UInt8]>, limit: Int, deadline: NIODeadline) {
        self.promise = promise
        self.limit = limit
        self.deadline = deadline
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        self.timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: self.deadline) {
            self.end(channel, .failure(SpamdError(.timedOut, "no reply in time")))
        }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let octets = self.unwrapInboundIn(data)
        guard self.reply.count + octets.readableBytes <= self.limit else {
            let error = SpamdError(.tooLong, "more than \(self.limit) octets")
            return self.end(context.channel, .failure(error))
        }
        self.reply += octets.readableBytesView
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.end(context.channel, .success(self.reply))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Half a reply may lack the half that matters.
        self.end(context.channel, .failure(SpamdError(.closed, "\(error)")))
    }

    private func end(_ channel: any Channel, _ result: Result<[UInt8], SpamdError>) {
        guard let promise = self.promise else { return }
        self.promise = nil
        self.timer?.cancel()
        switch result {
        case .success(let reply) where reply.isEmpty:
            promise.fail(SpamdError(.closed, "closed without a reply"))
        case .success(let reply): promise.succeed(reply)
        case .failure(let error): promise.fail(error)
        }
        channel.close(promise: nil)
    }
}

@available(*, unavailable)
extension SpamdReplyHandler: Sendable {}
