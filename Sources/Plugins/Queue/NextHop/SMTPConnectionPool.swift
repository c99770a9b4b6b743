import Logging
import NIOCore
import NIOPosix
import PolicyKit

/// The connections of one plugin to its next hop: kept open, used again, bounded.
///
/// Confined to the worker's event loop.
final class SMTPConnectionPool {
    struct Limits: Sendable {
        /// Connections at once, idle ones included.
        var connections = 20
        /// How long an unused connection is kept.
        var idleTime: TimeAmount = .seconds(30)
        /// How long connecting and the greeting may take.
        var connectTime: TimeAmount = .seconds(10)
        /// How long no connection is made after the hop refused our login: many attempts in a row might
        /// lock the account.
        var loginPause: TimeAmount = .seconds(60)
    }

    /// A connection for one transaction.
    struct Lease: Sendable {
        let handler: NIOLoopBound<SMTPClientHandler>
        let channel: any Channel
        let capabilities: SMTPCapabilities
        /// It is encrypted, and the hop's certificate is one that we trust.
        let isVerified: Bool
        /// It was used before, so the hop may have closed it without our knowing yet.
        let isUsed: Bool
    }

    private struct Waiter {
        let id: UInt64
        let promise: EventLoopPromise<Lease>
        let deadline: NIODeadline
        let timer: Scheduled<Void>
    }

    private let loop: any EventLoop
    let address: ServerAddress
    private let limits: Limits
    private let tls: NextHopTLS
    private let logger: Logger
    private let machine: SMTPClientMachine
    /// Connections that no delivery uses; the one that was used last is used next.
    private var idle: [SMTPClientHandler] = []
    /// Every connection there is or is being made.
    private var count = 0
    private var waiters: [Waiter] = []
    private var lastWaiter: UInt64 = 0
    private var isStopped = false
    /// No login is tried before this time.
    private var loginAllowed = NIODeadline.uptimeNanoseconds(0)

    init(
        loop: any EventLoop,
        address: ServerAddress,
        limits: Limits,
        tls: NextHopTLS,
        machine: SMTPClientMachine,
        logger: Logger
    ) {
        self.loop = loop
        self.address = address
        self.limits = limits
        self.tls = tls
        self.machine = machine
        self.logger = logger
    }

    /// Lends a connection that can begin a transaction.
    ///
    /// - Parameters:
    ///   - isNew: Only one that was never used will do.
    ///   - deadline: How long to wait for it.
    /// - Returns: The connection; fails with ``SMTPForwardError``.
    func lease(isNew: Bool, until deadline: NIODeadline) -> EventLoopFuture<Lease> {
        guard !self.isStopped else { return self.failed(.unreachable, "stopped") }
        if !isNew {
            while let handler = self.idle.popLast() {
                guard let lease = self.lease(of: handler, isUsed: true) else { continue }
                return self.loop.makeSucceededFuture(lease)
            }
        } else if self.count >= self.limits.connections, !self.idle.isEmpty {
            self.idle.removeFirst().quit()
        }
        guard self.count < self.limits.connections else { return self.wait(until: deadline) }
        return self.connect(until: deadline)
    }

    /// Closes what is idle; what is in use is closed when it is done.
    func stop() {
        self.isStopped = true
        for handler in self.idle { handler.quit() }
        self.idle = []
        for waiter in self.waiters {
            waiter.timer.cancel()
            waiter.promise.fail(SMTPForwardError(.unreachable, "stopped"))
        }
        self.waiters = []
    }

    func failed<Value>(_ code: SMTPForwardError.Code, _ detail: String) -> EventLoopFuture<Value> {
        self.loop.makeFailedFuture(SMTPForwardError(code, detail))
    }

    func completed<Value: Sendable>(
        _ result: Result<Value, SMTPForwardError>
    ) -> EventLoopFuture<Value> {
        self.loop.makeCompletedFuture { try result.get() }
    }

    private func lease(of handler: SMTPClientHandler, isUsed: Bool) -> Lease? {
        guard handler.isIdle, let channel = handler.channel else { return nil }
        return Lease(
            handler: NIOLoopBound(handler, eventLoop: self.loop),
            channel: channel,
            capabilities: handler.capabilities,
            isVerified: handler.isVerified,
            isUsed: isUsed
        )
    }

    // MARK: Told by connections

    /// A transaction is over and the connection can have another.
    func freed(_ handler: SMTPClientHandler) {
        guard !self.isStopped else { return handler.quit() }
        if !self.waiters.isEmpty, let lease = self.lease(of: handler, isUsed: true) {
            let waiter = self.waiters.removeFirst()
            waiter.timer.cancel()
            return waiter.promise.succeed(lease)
        }
        self.idle.append(handler)
        handler.setIdleTimer(self.limits.idleTime)
    }

    /// No delivery used the connection for its idle time.
    func expired(_ handler: SMTPClientHandler) {
        guard let index = self.idle.firstIndex(where: { $0 === handler }) else { return }
        self.idle.remove(at: index)
        handler.quit()
    }

    /// The connection is gone.
    func closed(_ handler: SMTPClientHandler) {
        self.count -= 1
        self.idle.removeAll { $0 === handler }
        self.serveNext()
    }

    // MARK: Making connections

    private func wait(until deadline: NIODeadline) -> EventLoopFuture<Lease> {
        let promise = self.loop.makePromise(of: Lease.self)
        self.lastWaiter += 1
        let id = self.lastWaiter
        let timer = self.loop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.waiters.removeAll { $0.id == id }
            promise.fail(SMTPForwardError(.busy, "no connection free in time"))
        }
        self.waiters.append(Waiter(id: id, promise: promise, deadline: deadline, timer: timer))
        return promise.futureResult
    }

    private func serveNext() {
        guard !self.waiters.isEmpty, self.count < self.limits.connections else { return }
        let waiter = self.waiters.removeFirst()
        waiter.timer.cancel()
        self.connect(until: waiter.deadline).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let lease): waiter.promise.succeed(lease)
            case .failure(let error): waiter.promise.fail(error)
            }
        }
    }

    /// Makes a connection; if its handshake fails where TLS is only wanted, another one in clear text.
    ///
    /// The first is being closed then and counts until it is.
    private func connect(until deadline: NIODeadline) -> EventLoopFuture<Lease> {
        guard .now() >= self.loginAllowed else {
            return self.failed(.login, "the login failed a short time ago")
        }
        guard self.tls.level.usesDANE else { return self.connect(self.tls, until: deadline) }
        // It counts while its records are looked up.
        self.count += 1
        let (tls, address) = (self.tls, self.address)
        let latest = min(deadline, .now() + self.limits.connectTime)
        let resolved = self.loop.makeFutureWithTask {
            try await tls.resolved(address, until: latest)
        }
        .assumeIsolated()
        resolved.whenFailure { _ in
            self.count -= 1
            self.serveNext()
        }
        return resolved.flatMap { tls in
            self.count -= 1
            return self.connect(tls, until: deadline)
        }.nonisolated()
    }

    private func connect(_ tls: NextHopTLS, until deadline: NIODeadline) -> EventLoopFuture<Lease> {
        self.connect(tls, tls.encryption, until: deadline).assumeIsolated().flatMapError { error in
            guard tls.level == .may, (error as? SMTPForwardError)?.code == .encryption else {
                return self.loop.makeFailedFuture(error)
            }
            self.logger.warning(
                "no TLS to the next mail server; trying without",
                metadata: ["hop": "\(self.address)", "error": "\(error)"]
            )
            return self.connect(tls, .never, until: deadline)
        }.nonisolated()
    }

    private func connect(
        _ tls: NextHopTLS,
        _ encryption: SMTPClientMachine.Encryption,
        until deadline: NIODeadline
    ) -> EventLoopFuture<Lease> {
        self.count += 1
        let latest = min(deadline, .now() + self.limits.connectTime)
        let greeting = self.loop.makePromise(of: Void.self)
        let handler = SMTPClientHandler(
            machine: self.machine.fresh(encryption),
            pool: self,
            tls: tls,
            greeting: greeting
        )
        let promise = self.loop.makePromise(of: Lease.self)
        self.channel(tls.addresses, latest)
            .assumeIsolated()
            .flatMapThrowing { channel in
                do {
                    try channel.pipeline.syncOperations.addHandler(handler)
                } catch {
                    channel.close(promise: nil)
                    throw error
                }
                // From here on the handler says when the connection is gone: it must not be counted out twice.
                handler.setTimer(latest, "no greeting in time")
                if encryption == .implicit { handler.startTLS() }
                do {
                    try channel.syncOptions?.setOption(.autoRead, value: true)
                } catch {
                    channel.close(promise: nil)
                }
            }
            .whenFailure { error in
                self.count -= 1
                greeting.fail(SMTPForwardError(.unreachable, "\(error)"))
                self.serveNext()
            }
        greeting.futureResult.assumeIsolated().whenComplete { result in
            switch (result, self.lease(of: handler, isUsed: false)) {
            case (.success, let lease?): promise.succeed(lease)
            case (.success, nil): promise.fail(SMTPForwardError(.closed, "the hop closed"))
            case (.failure(let error), _):
                if (error as? SMTPForwardError)?.code == .login {
                    self.loginAllowed = .now() + self.limits.loginPause
                }
                promise.fail(error)
            }
        }
        return promise.futureResult
    }

    private func channel(
        _ addresses: [IPAddress],
        _ latest: NIODeadline
    ) -> EventLoopFuture<any Channel> {
        let bootstrap = ClientBootstrap(group: self.loop)
            .connectTimeout(max(latest - .now(), .milliseconds(1)))
            // Nothing is read before the handler is there; of several addresses one gets it.
            .channelOption(.autoRead, value: false)
        switch self.address {
        case .unix(let path):
            return bootstrap.connect(unixDomainSocketPath: path)
        case .tcp(let host, let port):
            let known = addresses.isEmpty ? nil : KnownAddresses(addresses, port, self.loop)
            return bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1).resolver(known)
                .connect(host: host, port: port)
        }
    }
}

@available(*, unavailable)
extension SMTPConnectionPool: Sendable {}
