public import PolicyProtocol
import Synchronization

/// A store in this process's memory: for tests, and for what need not outlive the worker.
///
/// It has room for so many octets. What finds no room is refused: nothing goes before its time, so
/// that a client that causes many entries cannot push out others.
public final class MemoryStore: Store {
    /// What an entry takes besides the octets of its key and its value.
    static let entryOctets = 128
    /// The most octets where nothing else is said.
    public static let usualCapacity = 67_108_864

    private let now: @Sendable () -> Int64
    private let state: Mutex<MemoryEntries>

    /// An empty store.
    ///
    /// - Parameters:
    ///   - capacity: The most octets; an entry takes those of its key and value, and 128.
    ///   - now: The time in Unix milliseconds, which entries expire by; tests give their own.
    ///     An entry gets its lifetime anew if this time goes back by more than a second.
    public init(capacity: Int = MemoryStore.usualCapacity, now: @escaping @Sendable () -> Int64) {
        self.now = now
        self.state = Mutex(MemoryEntries(capacity: capacity))
    }

    /// An entry.
    public func entry(_ key: Bytes) async throws -> StoreEntry? {
        try StoreLimits.check(key)
        return self.locked { entries, now in
            entries.entry(key, now).map { StoreEntry(key: key, $0, now: now) }
        }
    }

    /// Sets the value of a key.
    public func set(_ key: Bytes, to value: Bytes, expiresIn lifetime: Duration?) async throws {
        try StoreLimits.check(key, value)
        try self.locked { entries, now throws(StoreError) in
            try entries.set(key, to: value, lifetime, now)
        }
    }

    /// Adds to a counter.
    public func add(
        _ amount: Int64,
        to key: Bytes,
        expiresIn lifetime: Duration?
    ) async throws -> Int64 {
        try StoreLimits.check(key)
        return try self.locked { entries, now throws(StoreError) in
            guard let value = entries.entry(key, now)?.value else {
                try entries.set(key, to: Bytes("\(amount)"), lifetime, now)
                return amount
            }
            let sum = try StoreCounter.sum(value.octets, amount)
            entries.replace(key, Bytes("\(sum)"))
            return sum
        }
    }

    /// Changes an entry if its value is the expected one.
    @discardableResult
    public func compareAndSet(
        _ key: Bytes,
        from expected: Bytes?,
        to value: Bytes?,
        expiresIn lifetime: Duration?
    ) async throws -> StoreComparison {
        try StoreLimits.check(key, value)
        return try self.locked { entries, now throws(StoreError) in
            let current = entries.entry(key, now)?.value
            guard current == expected else { return .different(current) }
            if let value {
                try entries.set(key, to: value, lifetime, now)
            } else {
                entries.remove(key)
            }
            return .same
        }
    }

    /// Removes a key.
    @discardableResult
    public func delete(_ key: Bytes) async throws -> Bool {
        try StoreLimits.check(key)
        return self.locked { entries, now in
            guard entries.entry(key, now) != nil else { return false }
            entries.remove(key)
            return true
        }
    }

    /// Entries whose keys begin with `prefix`.
    public func scan(prefix: Bytes, limit: Int) async throws -> [StoreEntry] {
        self.locked { entries, now in entries.scan(prefix, limit, now) }
    }

    /// Entries that take room, for tests.
    var entryCount: Int { self.state.withLock { $0.entries.count } }

    /// Times of expiry that take room, for tests.
    var rememberedExpiries: Int { self.state.withLock { $0.expiries.count } }

    private func locked<Value: Sendable, Failure: Error>(
        _ body: (inout MemoryEntries, Int64) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try self.state.withLock { entries throws(Failure) in
            let now = self.now()
            entries.notice(now)
            return try body(&entries, now)
        }
    }
}
