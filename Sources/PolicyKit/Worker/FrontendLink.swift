import Logging
import NIOCore
import NIOPosix
import System

/// One frontend's socket: dials it, and dials again for ever.
///
/// Confined to the worker's event loop.
final class FrontendLink {
    private enum State {
        case waiting(Scheduled<Void>)
        case dialling
        case connected(FrontendConnection)
        case ended
    }

    let path: String
    private let service: WorkerService
    private var state: State = .ended
    private var backoff = Backoff()
    private var generator = SystemRandomNumberGenerator()

    init(path: String, service: WorkerService) {
        self.path = path
        self.service = service
    }

    /// The connection, if there is one.
    var connection: FrontendConnection? {
        guard case .connected(let connection) = self.state else { return nil }
        return connection
    }

    /// Whether nothing would be lost by forgetting this link.
    var isIdle: Bool {
        switch self.state {
        case .waiting, .ended: true
        case .dialling, .connected: false
        }
    }

    func dial() {
        self.state = .dialling
        let handler = NIOLoopBound(FrontendConnection(self.service), eventLoop: self.service.loop)
        let link = NIOLoopBound(self, eventLoop: self.service.loop)
        ClientBootstrap(group: self.service.loop)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 16_384,
                    initial: 65_536,
                    maximum: 262_144
                )
            )
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(handler.value)
                }
            }
            .connect(unixDomainSocketPath: self.path)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel): link.value.connected(handler.value, channel)
                case .failure(let error): link.value.failed(error)
                }
            }
    }

    /// Dials no more; an open connection is the service's to drain.
    func end() {
        if case .waiting(let timer) = self.state {
            timer.cancel()
        }
        self.state = .ended
    }

    private func connected(_ connection: FrontendConnection, _ channel: any Channel) {
        guard case .dialling = self.state else {
            channel.close(promise: nil)
            return
        }
        // A program that a plugin starts must not keep the connection open when this worker is gone.
        ProcessSignals.closeDescriptorsOnExec()
        self.state = .connected(connection)
        let link = NIOLoopBound(self, eventLoop: self.service.loop)
        channel.closeFuture.assumeIsolated().whenComplete { _ in
            link.value.closed(connection)
        }
    }

    private func closed(_ connection: FrontendConnection) {
        guard case .connected = self.state else { return }
        if connection.wasWelcome {
            self.backoff.reset()
        }
        self.waitAndDial(atLeast: connection.retryDelay)
        self.service.linkClosed()
    }

    /// No socket, a socket at which no frontend listens, a full backlog: each is a reason to try again.
    private func failed(_ error: any Error) {
        guard case .dialling = self.state else { return }
        self.service.logger.debug(
            "frontend not reached",
            metadata: ["socket": "\(self.path)", "error": "\(error)"]
        )
        self.waitAndDial(atLeast: .zero)
    }

    private func waitAndDial(atLeast delay: Duration) {
        guard !self.service.isLeaving else {
            self.state = .ended
            return
        }
        let delay = max(delay, self.backoff.next(using: &self.generator))
        let link = NIOLoopBound(self, eventLoop: self.service.loop)
        self.state = .waiting(
            self.service.loop.scheduleTask(in: TimeAmount(delay)) { link.value.dial() }
        )
    }
}
