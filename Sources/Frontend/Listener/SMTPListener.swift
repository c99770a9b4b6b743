import Configuration
import Glibc
import Logging
import NIOCore
import NIOPosix
import SMTPCore
import System

/// One `[[listener]]` on one event loop: its greeting delay, its SMTP settings, and on the first loop
/// its socket.
///
/// Confined to the event loop. A session keeps the settings that it began with; a reload changes
/// them for new sessions only.
final class SMTPListener {
    /// Its place in the configuration.
    let place: Int
    private(set) var configuration: FrontendConfiguration.Listener
    /// The configuration of new sessions; computed again when a control file has changed.
    private var smtp: SMTPConfiguration
    private var control: ControlValues?

    /// The values of control files that a session begins with.
    struct ControlValues: Equatable {
        let greeting: String?
        let databytes: Int?
        /// Seconds.
        let timeout: Int?

        init(_ files: ControlSnapshot) {
            self.greeting = files.first("smtpgreeting")
            self.databytes = files.value(FrontendControls.databytes)
            self.timeout =
                files.value(FrontendControls.timeoutsmtpd) ?? files.value(FrontendControls.timeout)
        }
    }
    private let passes: SharedGreetingPasses
    private var socket: ListeningSocket?

    /// At most four reads follow one another: a session that waits for the disk keeps 96 KiB of them.
    private static let readBuffers = AdaptiveRecvByteBufferAllocator(
        minimum: 64,
        initial: 2_048,
        maximum: 32_768
    )
    /// The Unix socket that this listener has made; `nil` if there is none.
    private var socketPath: String?

    init(
        place: Int,
        configuration: FrontendConfiguration.Listener,
        smtp: SMTPConfiguration,
        passes: SharedGreetingPasses
    ) {
        self.place = place
        self.configuration = configuration
        self.smtp = smtp
        self.passes = passes
    }

    /// Opens the socket on the first loop; the future fails if the address cannot be bound.
    ///
    /// `inherited` is a listening socket that the service manager opened; `nil` binds one.
    func open(
        server: ServerLoop,
        inherited: CInt?
    ) -> EventLoopFuture<SocketAddress?> {
        let bound = NIOLoopBound((server, self), eventLoop: server.loop)
        let address = self.configuration.address
        var bootstrap = ServerBootstrap(group: server.loop)
            .serverChannelOption(.backlog, value: Int32(self.configuration.backlog))
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.recvAllocator, value: Self.readBuffers)
            .childChannelOption(.writeBufferWaterMark, value: SMTPSessionHandler.waitingReplies)
            .childChannelInitializer { Self.initialize($0, bound) }
        let directory = server.shared.loops
        let place = self.place
        if server.loops > 1 {
            bootstrap = bootstrap.serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ClientDistributor(directory, listener: place)
                    )
                }
            }
        }
        if address.path == nil {
            bootstrap =
                bootstrap
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        }
        let socket = ListeningSocket(
            bootstrap: bootstrap,
            loop: server.loop,
            logger: server.logger,
            metadata: ["listener": "\(self.configuration.name)"]
        )
        self.socket = socket
        do {
            if let path = address.path, inherited == nil {
                try PoolSocketPlace(path: path).prepare()
            }
        } catch {
            return server.loop.makeFailedFuture(error)
        }
        return socket.open { bootstrap in
            if let inherited { return bootstrap.withBoundSocket(inherited) }
            if let path = address.path { return bootstrap.bind(unixDomainSocketPath: path) }
            return bootstrap.bind(host: "\(address.host)", port: address.port)
        }
        .flatMapThrowing { channel in
            if let path = address.path, inherited == nil {
                self.socketPath = path
                guard chmod(path, self.configuration.socketMode) == 0 else {
                    throw SystemError("chmod", path, errno)
                }
            }
            return channel.localAddress
        }
        .flatMapErrorThrowing { error in
            if let error = error as? SystemError { throw error }
            let code = (error as? IOError)?.errnoCode ?? EADDRNOTAVAIL
            throw SystemError("listen on", "\(address)", code)
        }
        .nonisolated()
    }

    /// Takes a client that the first loop accepted; `descriptor` is this loop's from now on.
    func take(_ descriptor: CInt, server: ServerLoop) {
        let bound = NIOLoopBound((server, self), eventLoop: server.loop)
        var bootstrap = ClientBootstrap(group: server.loop)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.recvAllocator, value: Self.readBuffers)
            .channelOption(.writeBufferWaterMark, value: SMTPSessionHandler.waitingReplies)
            .channelInitializer { Self.initialize($0, bound) }
        if self.configuration.address.path == nil {
            bootstrap = bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1)
        }
        _ = bootstrap.withConnectedSocket(descriptor)
    }

    /// Begins a session, or refuses it.
    private static func initialize(
        _ channel: any Channel,
        _ bound: NIOLoopBound<(ServerLoop, SMTPListener)>
    ) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let (server, listener) = bound.value
            guard let handler = try listener.session(on: channel, server: server) else { return }
            try channel.pipeline.syncOperations.addHandler(handler)
        }
    }

    /// The configuration of a session that begins now, with the control files as they are now.
    func smtpForNewSession(_ server: ServerLoop) -> SMTPConfiguration {
        let files = server.controlFiles.snapshot()
        let now = ControlValues(files)
        if now != self.control {
            self.control = now
            self.smtp = SMTPConfiguration(
                server.configuration,
                listener: self.configuration,
                control: files
            )
        }
        return self.smtp
    }

    /// How long a client may be silent between commands, in milliseconds: from the control files,
    /// or else from `frontend.toml`.
    func commandTimeoutMS(_ server: ServerLoop) -> Int64 {
        self.control?.timeout.map {
            Int64(clamping: $0).multipliedReportingOverflow(by: 1_000).partialValue
        }
            ?? server.configuration.limits.commandTimeoutMS
    }

    /// New settings, for sessions that begin from now on.
    func reconfigure(_ configuration: FrontendConfiguration.Listener, smtp: SMTPConfiguration) {
        self.configuration = configuration
        self.smtp = smtp
        self.control = nil
        self.passes.setLifetime(milliseconds: configuration.greetingPassTTLMS)
    }

    /// Stops accepting clients.
    func close() {
        _ = self.socket?.close()
        self.socket = nil
        if let path = self.socketPath { unlink(path) }
        self.socketPath = nil
    }

    /// How long this client's banner is held back, in milliseconds.
    func greetingDelayMS(for client: IPAddress?, now: Int64) -> Int64 {
        guard self.configuration.greetingDelayMS > 0 else { return 0 }
        if let client {
            if self.configuration.greetingDelayExempt.contains(where: { $0.contains(client) }) {
                return 0
            }
            if self.passes.hasPassed("\(client)", now: now) { return 0 }
        }
        return self.configuration.greetingDelayMS
    }

    /// Remembers a client that waited for the greeting without talking.
    func greetingPassed(_ client: IPAddress?, now: Int64) {
        guard let client else { return }
        self.passes.passed("\(client)", now: now)
    }

    /// Whether this address may connect: any may, where no proxy is in front.
    private func isProxy(_ address: IPAddress?) -> Bool {
        guard self.configuration.proxyProtocol else { return true }
        return address.map { address in
            self.configuration.proxyNetworks.contains { $0.contains(address) }
        } ?? false
    }

    /// What a client at this address may say of other clients.
    func trust(of address: IPAddress?) -> SMTPTrust {
        guard let address else { return [] }
        var trust: SMTPTrust = []
        if self.configuration.xclientNetworks.contains(where: { $0.contains(address) }) {
            trust.insert(.xclient)
        }
        if self.configuration.xforwardNetworks.contains(where: { $0.contains(address) }) {
            trust.insert(.xforward)
        }
        return trust
    }

    /// Whether a connection from this address counts for none: it is expected to name another client, or
    /// has no address.
    func isUncounted(_ address: IPAddress?) -> Bool {
        self.configuration.proxyProtocol || self.configuration.address.path != nil
            || self.trust(of: address).contains(.xclient)
    }

    /// The handler for a new connection; `nil` if it is refused with a reply.
    ///
    /// - Throws: ``ClientRefused`` if it is to be closed without a word.
    private func session(
        on channel: any Channel,
        server: ServerLoop
    ) throws(ClientRefused) -> SMTPSessionHandler? {
        let handler = SMTPSessionHandler(
            server: server,
            listener: self,
            client: channel.remoteAddress,
            local: channel.localAddress
        )
        guard self.isProxy(handler.clientAddress) else {
            server.strangerRefused(handler)
            throw ClientRefused()
        }
        guard let refusal = server.connectionOpened(from: handler) else {
            return handler
        }
        // A client that waits for a handshake could not read a reply.
        guard self.configuration.tls != .implicit else { throw ClientRefused() }
        let reply = channel.allocator.buffer(bytes: refusal.reply.wire)
        channel.writeAndFlush(reply).assumeIsolated().whenComplete { _ in
            channel.close(promise: nil)
        }
        return nil
    }
}

/// A client is not served; its channel is closed by NIO, which must not be done before it is registered.
private struct ClientRefused: Error {}

@available(*, unavailable)
extension SMTPListener: Sendable {}
