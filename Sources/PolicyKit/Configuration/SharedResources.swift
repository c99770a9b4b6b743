package import Configuration
public import Logging
package import NIOCore
package import Stores
import System

/// What all plugins of a worker share: its log, its folders, its control files.
public struct SharedResources: Sendable {
    /// The worker's one event loop.
    ///
    /// Plugins run on it and must not block it; clients that use it need no hop between threads.
    package let eventLoop: any EventLoop
    /// The worker's logger.
    public let logger: Logger

    /// `config/worker.toml`, with the resolver and the store that plugins share.
    package let configuration: WorkerConfiguration
    package let controlFiles: ControlFiles
    /// What ``PluginConfiguration/store(named:)`` hands out in parts.
    package let store: SharedStore
    /// What ``PluginConfiguration/resolver()`` hands out in tests; `nil`: the one of `[dns]`.
    package let resolver: (any NameResolver)?

    /// What plugins share; without a `store` it is the one of `[store]`.
    package init(
        eventLoop: any EventLoop,
        logger: Logger,
        configuration: WorkerConfiguration,
        controlFiles: ControlFiles,
        store: (any Store)? = nil,
        resolver: (any NameResolver)? = nil
    ) {
        self.eventLoop = eventLoop
        self.logger = logger
        self.configuration = configuration
        self.controlFiles = controlFiles
        self.store = SharedStore {
            store ?? configuration.store.driver(on: eventLoop)
        }
        self.resolver = resolver
    }

    /// The folder that holds the configuration folder: relative paths begin here.
    public var baseFolder: String { self.configuration.baseDirectory }

    /// The name of this mail server: the first line of `me`, else the machine's.
    public var hostname: String {
        self.controlFiles.snapshot().first("me") ?? Machine.hostname
    }
}
