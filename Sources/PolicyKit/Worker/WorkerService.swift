import Configuration
import Logging
import NIOCore
import PolicyProtocol
import System

/// A running worker: which frontends there are, and what becomes of all of them.
///
/// Confined to its event loop.
final class WorkerService {
    /// The longest line that a worker of PolicyKit accepts, and asks frontends to accept.
    static let maximumFrameOctets = 1_048_576
    /// How often the pool's folder is looked through for new sockets.
    static let scanInterval = TimeAmount.seconds(1)
    /// The most frontends of one pool.
    private static let maximumLinks = 256
    /// What running plugins get after they were cancelled at the end.
    private static let lastWait = TimeAmount.seconds(1)

    let loop: any EventLoop
    let executor: LoopExecutor
    let logger: Logger
    let identity: WorkerIdentity
    let pool: String
    let concurrency: Int
    let maximumFrameOctets: Int
    let chains: HookTable<HookChain>
    let pluginNames: [String]
    private let folder: String
    private let scanInterval: TimeAmount
    private let onReady: () -> Void
    private let onEnd: () -> Void
    private var links: [String: FrontendLink] = [:]
    private var scan: RepeatedTask?
    private var isReady = false
    private(set) var isLeaving = false
    private var hasEnded = false

    init(
        loop: any EventLoop,
        logger: Logger,
        identity: WorkerIdentity,
        pool: String,
        runtimeDirectory: String,
        concurrency: Int,
        maximumFrameOctets: Int = WorkerService.maximumFrameOctets,
        plugins: LoadedPlugins,
        scanInterval: TimeAmount = WorkerService.scanInterval,
        onReady: @escaping () -> Void,
        onEnd: @escaping () -> Void
    ) {
        self.loop = loop
        self.executor = LoopExecutor(loop)
        self.logger = logger
        self.identity = identity
        self.pool = pool
        self.concurrency = concurrency
        self.maximumFrameOctets = maximumFrameOctets
        self.chains = plugins.chains()
        self.pluginNames = plugins.entries.map(\.instance)
        self.folder = "\(runtimeDirectory)/pools/\(pool)"
        self.scanInterval = scanInterval
        self.onReady = onReady
        self.onEnd = onEnd
    }

    /// Begins to dial every frontend of the pool, those that come later included.
    func start() {
        let service = NIOLoopBound(self, eventLoop: self.loop)
        self.scan = self.loop.scheduleRepeatedTask(
            initialDelay: .zero,
            delay: self.scanInterval
        ) { _ in
            service.value.lookForSockets()
        }
    }

    /// Leaves: takes no more events, answers what is under way, and ends.
    ///
    /// - Parameter limit: How long that may take; then plugins are cancelled.
    func drain(within limit: Duration) {
        guard !self.isLeaving else { return }
        self.isLeaving = true
        self.scan?.cancel()
        for link in self.links.values {
            if let connection = link.connection {
                connection.drain()
            } else {
                link.end()
            }
        }
        let service = NIOLoopBound(self, eventLoop: self.loop)
        self.loop.scheduleTask(in: TimeAmount(limit)) { service.value.cancelAll() }
        self.endIfDone()
    }

    /// A frontend has taken this worker.
    func welcomed() {
        guard !self.isReady else { return }
        self.isReady = true
        self.onReady()
    }

    /// A connection is gone.
    func linkClosed() {
        self.endIfDone()
    }

    private func endIfDone() {
        guard self.isLeaving, !self.hasEnded,
            self.links.values.allSatisfy({ $0.connection == nil })
        else { return }
        self.hasEnded = true
        self.onEnd()
    }

    private func cancelAll() {
        guard !self.hasEnded else { return }
        self.logger.warning("plugins are still at work at the end of shutdown_ms: cancelled")
        for link in self.links.values {
            link.connection?.cancelAll()
        }
        let service = NIOLoopBound(self, eventLoop: self.loop)
        self.loop.scheduleTask(in: Self.lastWait) {
            for link in service.value.links.values {
                link.connection?.close()
            }
        }
    }

    private func lookForSockets() {
        let paths = Set(self.sockets())
        for (path, link) in self.links where !paths.contains(path) && link.isIdle {
            link.end()
            self.links[path] = nil
        }
        for path in paths.sorted() where self.links[path] == nil {
            guard self.links.count < Self.maximumLinks else { break }
            let link = FrontendLink(path: path, service: self)
            self.links[path] = link
            link.dial()
        }
    }

    /// `<runtime_directory>/pools/<pool>/*.sock`; none while there is no such folder.
    private func sockets() -> [String] {
        ((try? Folders.names(in: self.folder)) ?? [])
            .filter { $0.hasSuffix(".sock") && !$0.hasPrefix(".") }
            .map { "\(self.folder)/\($0)" }
    }
}

extension WorkerService {
    /// What this worker says of itself.
    var hello: WorkerHello {
        var hello = WorkerHello(
            pool: self.pool,
            name: self.identity.name,
            instance: self.identity.instance,
            version: self.identity.version,
            pid: self.identity.pid,
            concurrency: self.concurrency,
            maximumFrameOctets: self.maximumFrameOctets
        )
        hello.sdk = self.identity.sdk
        hello.plugins = self.pluginNames
        hello.goesAhead = true
        hello.wantsViolations = true
        if let queue = self.chains[.queue], !queue.isObserver {
            hello.extensions = queue.extensions
        }
        for hook in Hook.allCases {
            guard let chain = self.chains[hook] else { continue }
            hello.hooks[hook] = WorkerHello.HookRequest(
                needs: chain.needs,
                isObserver: chain.isObserver && chain.isObserved,
                isIdempotent: !chain.isObserver && chain.isIdempotent
            )
        }
        return hello
    }
}
