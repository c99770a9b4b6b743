package import Configuration
package import NIOCore
import System

/// A store of `[store]`.
package protocol StoreDriver: Store {
    /// A mistake of the configuration, with its key, for which no call can succeed.
    var problem: String? { get }

    /// Connects, or opens the file.
    ///
    /// - Throws: ``StoreError`` if that is not possible now; later calls try again.
    func open() async throws

    /// Ends what is open; calls fail from then on.
    func close() async
}

extension StoreDriver {
    package var problem: String? { nil }
}

extension MemoryStore: StoreDriver {
    package func open() async throws {}
    package func close() async {}
}

extension WorkerConfiguration.Store {
    /// The store; it is opened at its first call.
    ///
    /// - Parameters:
    ///   - eventLoop: What measures the time of calls.
    ///   - isMade: Whether a file that is not there is made.
    /// - Returns: The store, not opened yet.
    package func driver(on eventLoop: any EventLoop, isMade: Bool = true) -> any StoreDriver {
        switch self.place {
        case .memory:
            let capacity = min(Int(self.maximumOctets), MemoryStore.usualCapacity)
            return MemoryStore(capacity: capacity) { UnixTime.milliseconds }

        case .sqlite(let path):
            var settings = SQLiteStore.Settings(path: path)
            settings.isMade = isMade
            settings.timeout = .milliseconds(self.timeoutMS)
            settings.maximumOctets = self.maximumOctets
            return SQLiteStore(settings, on: eventLoop) { UnixTime.milliseconds }

        case .redis(let server):
            return RedisStore(server, timeout: .milliseconds(self.timeoutMS), on: eventLoop)
        }
    }
}
