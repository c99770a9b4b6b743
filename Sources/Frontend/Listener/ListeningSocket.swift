import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLog
import System

/// A listening socket that goes on listening however accept(2) fails.
///
/// NIO closes a channel when accept(2) fails for another reason than a lack of resources. So we
/// keep a descriptor of the same socket: clients wait in its backlog until a new channel accepts
/// them. Confined to the event loop.
final class ListeningSocket {
    private let bootstrap: ServerBootstrap
    private let loop: any EventLoop
    private let logger: Logger
    /// Names the socket in log lines.
    private let metadata: Logger.Metadata
    /// Our descriptor of the socket; `nil` before it is open and after ``close()``.
    private var descriptor: CInt?
    private var channel: (any Channel)?
    private var waitMS = shortestWaitMS
    private var throttle = LogThrottle(lines: 1, periodMS: 10_000)

    /// How long we stop accepting after a failure; it doubles with each further failure.
    static let shortestWaitMS: Int64 = 50
    static let longestWaitMS: Int64 = 1_000

    init(
        bootstrap: ServerBootstrap,
        loop: any EventLoop,
        logger: Logger,
        metadata: Logger.Metadata
    ) {
        self.bootstrap = bootstrap
        self.loop = loop
        self.logger = logger
        self.metadata = metadata
    }

    /// Opens the socket with `bind`, and keeps it open until ``close()``.
    ///
    /// The future fails with an `IOError` if the address cannot be bound, and with a
    /// ``SystemError`` if no descriptor is left.
    func open(
        _ bind: (ServerBootstrap) -> EventLoopFuture<any Channel>
    ) -> EventLoopFuture<any Channel>.Isolated {
        bind(self.bootstrap).assumeIsolated().flatMapThrowing { channel in
            let own = try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                of: NIOBSDSocket.Handle.self
            ) { fcntl($0, F_DUPFD_CLOEXEC, 0) }
            guard let own, own >= 0 else {
                let code = errno
                channel.close(promise: nil)
                throw SystemError("keep a descriptor of", "a listening socket", code)
            }
            self.descriptor = own
            try self.use(channel)
            return channel
        }
    }

    /// Stops accepting clients; the future succeeds when the channel is closed.
    func close() -> EventLoopFuture<Void> {
        if let descriptor = self.descriptor { _ = Glibc.close(descriptor) }
        self.descriptor = nil
        let channel = self.channel
        self.channel = nil
        return channel?.close() ?? self.loop.makeSucceededVoidFuture()
    }

    private func use(_ channel: any Channel) throws {
        self.channel = channel
        channel.closeFuture.assumeIsolated().whenComplete { _ in
            guard self.channel === channel else { return }
            self.channel = nil
            self.listenAgainLater()
        }
        try channel.pipeline.syncOperations.addHandler(AcceptFailureHandler(self), position: .first)
    }

    private func listenAgainLater() {
        self.loop.assumeIsolated().scheduleTask(in: self.nextWait()) { self.listenAgain() }
    }

    private func listenAgain() {
        guard let descriptor = self.descriptor else { return }
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else {
            self.log(IOError(errnoCode: errno, reason: "duplicate a descriptor"))
            return self.listenAgainLater()
        }
        self.bootstrap.withBoundSocket(copy).assumeIsolated().whenComplete { result in
            do {
                let channel = try result.get()
                // `close()` was called in the meantime.
                guard self.descriptor != nil else { return channel.close(promise: nil) }
                try self.use(channel)
            } catch {
                self.log(error)
                self.listenAgainLater()
            }
        }
    }

    // MARK: - Failures of accept(2)

    fileprivate func accepted() { self.waitMS = Self.shortestWaitMS }

    /// How long to stop accepting after one more failure.
    fileprivate func nextWait() -> TimeAmount {
        defer { self.waitMS = min(self.waitMS * 2, Self.longestWaitMS) }
        return .milliseconds(self.waitMS)
    }

    fileprivate func log(_ error: any Error) {
        guard let suppressed = self.throttle.admits(now: NIODeadline.now().uptimeMilliseconds)
        else { return }
        var metadata = self.metadata
        metadata["error"] = "\(error)"
        if suppressed > 0 { metadata["lines_suppressed"] = .number(suppressed) }
        self.logger.error(
            "a connection could not be accepted; accepting goes on",
            metadata: metadata
        )
    }
}

@available(*, unavailable)
extension ListeningSocket: Sendable {}

/// Stops accepting for a moment when the process is out of descriptors or memory.
///
/// The connection that could not be accepted stays in the backlog and keeps the listening socket
/// readable, so trying again at once would spin.
private final class AcceptFailureHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private let socket: ListeningSocket

    init(_ socket: ListeningSocket) { self.socket = socket }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.socket.accepted()
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.socket.log(error)
        let code = (error as? IOError)?.errnoCode ?? 0
        guard [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) else { return }
        let channel = context.channel
        let wait = self.socket.nextWait()
        channel.setOption(.autoRead, value: false).assumeIsolated().whenComplete { _ in
            channel.eventLoop.assumeIsolated().scheduleTask(in: wait) {
                _ = channel.setOption(.autoRead, value: true)
            }
        }
    }
}

@available(*, unavailable)
extension AcceptFailureHandler: Sendable {}
