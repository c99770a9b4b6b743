import PolicyProtocol
public import Stores

/// A part of a store: its keys begin with a prefix, which the plugin does not see.
struct PrefixedStore: Store {
    let store: any Store
    let prefix: Bytes

    func get(_ key: Bytes) async throws -> Bytes? {
        try await self.store.get(self.full(key))
    }

    func entry(_ key: Bytes) async throws -> StoreEntry? {
        try await self.store.entry(self.full(key)).map(self.shortened)
    }

    func set(_ key: Bytes, to value: Bytes, expiresIn lifetime: Duration?) async throws {
        try await self.store.set(self.full(key), to: value, expiresIn: lifetime)
    }

    func add(_ amount: Int64, to key: Bytes, expiresIn lifetime: Duration?) async throws -> Int64 {
        try await self.store.add(amount, to: self.full(key), expiresIn: lifetime)
    }

    func compareAndSet(
        _ key: Bytes,
        from expected: Bytes?,
        to value: Bytes?,
        expiresIn lifetime: Duration?
    ) async throws -> StoreComparison {
        try await self.store.compareAndSet(
            self.full(key),
            from: expected,
            to: value,
            expiresIn: lifetime
        )
    }

    func delete(_ key: Bytes) async throws -> Bool {
        try await self.store.delete(self.full(key))
    }

    func scan(prefix: Bytes, limit: Int) async throws -> [StoreEntry] {
        try await self.store.scan(prefix: self.full(prefix), limit: limit).map(self.shortened)
    }

    private func shortened(_ entry: StoreEntry) -> StoreEntry {
        var entry = entry
        entry.key = Bytes(octets: Array(entry.key.octets.dropFirst(self.prefix.octets.count)))
        return entry
    }

    private func full(_ key: Bytes) -> Bytes { Bytes(octets: self.prefix.octets + key.octets) }
}

extension PluginConfiguration {
    /// The worker's store, the part with this name.
    ///
    /// Plugins that give the same name share what they store; without a name it is the plugin's own,
    /// shared by all lines of `config/plugins` that name it.
    ///
    /// `[store] url` of `worker.toml` says where it is. It is opened at the first call, and a store that does
    /// not answer makes calls fail with ``StoreError`` and never wait: what a plugin does then is its own
    /// decision, which operators know as the argument `on_store_failure`: ``guardedStore(named:onFailure:)`` takes it.
    public func store(named name: String? = nil) -> any Store {
        PrefixedStore(store: self.shared.store.store, prefix: Bytes("\(name ?? self.name)/"))
    }
}
