package import Stores
import Synchronization

/// The store that all plugins of a worker share, made when the first of them asks for it.
package final class SharedStore: Sendable {
    private let make: @Sendable () -> any Store
    private let made = Mutex<(any Store)?>(nil)

    package init(_ make: @escaping @Sendable () -> any Store) {
        self.make = make
    }

    /// The store.
    package var store: any Store {
        self.made.withLock { made in
            if let made { return made }
            let store = self.make()
            made = store
            return store
        }
    }

    /// The store if a plugin asked for it.
    var usedDriver: (any StoreDriver)? { self.made.withLock { $0 as? any StoreDriver } }
}
