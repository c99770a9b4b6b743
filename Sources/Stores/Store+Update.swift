public import PolicyProtocol

/// What an entry becomes.
public struct StoreChange: Sendable, Hashable {
    /// The new value; `nil`: the entry is removed.
    public var value: Bytes?
    /// As of ``Store/set(_:to:expiresIn:)``, counted from the change.
    public var lifetime: Duration?

    /// A change.
    public init(to value: Bytes?, expiresIn lifetime: Duration?) {
        self.value = value
        self.lifetime = lifetime
    }
}

extension Store {
    /// The value of a key; `nil` if there is none.
    ///
    /// - Throws: ``StoreError``.
    public func get(_ key: Bytes) async throws -> Bytes? { try await self.entry(key)?.value }

    /// Changes an entry by what it is: reads it, and sets what `change` makes of it if it is the same still,
    /// else begins again.
    ///
    /// ```swift
    /// // Of many tasks and processes, one at a time finds the place free.
    /// var isMine = false
    /// try await store.update("place", expiresIn: .seconds(60)) { holder in
    ///     isMine = holder == nil
    ///     return holder ?? name
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - key: The key.
    ///   - lifetime: As of ``set(_:to:expiresIn:)``, counted from the change.
    ///   - change: Gets the value, `nil` if there is none, and returns the new one, `nil` to remove the
    ///     entry. It is called again if another change came between. An equal value leaves the entry as it is,
    ///     and the time at which it expires.
    /// - Returns: The new value.
    /// - Throws: What `change` throws; ``StoreError``, with `.unavailable` if other changes came between
    ///   ``StoreLimits/updateAttempts`` times.
    @discardableResult
    public func update(
        _ key: Bytes,
        expiresIn lifetime: Duration?,
        _ change: (Bytes?) throws -> Bytes?
    ) async throws -> Bytes? {
        try await self.update(key) { StoreChange(to: try change($0), expiresIn: lifetime) }
    }

    /// Changes an entry by what it is, as ``update(_:expiresIn:_:)`` does, with a lifetime that follows from it too.
    ///
    /// - Parameters:
    ///   - key: The key.
    ///   - change: Gets the value, `nil` if there is none, and returns what the entry becomes. An equal value leaves
    ///     the entry as it is, and the time at which it expires.
    /// - Returns: The new value.
    /// - Throws: As of ``update(_:expiresIn:_:)``.
    @discardableResult
    public func update(
        _ key: Bytes,
        _ change: (Bytes?) throws -> StoreChange
    ) async throws -> Bytes? {
        var current = try await self.get(key)
        for attempt in 1...StoreLimits.updateAttempts {
            let changed = try change(current)
            guard changed.value != current else { return current }
            let comparison = try await self.compareAndSet(
                key,
                from: current,
                to: changed.value,
                expiresIn: changed.lifetime
            )
            guard case .different(let found) = comparison else { return changed.value }
            current = found
            // Many at once: each goes at a time of its own.
            guard attempt > 4 else { continue }
            try await Task.sleep(for: .microseconds(Int.random(in: 0...500 * attempt)))
            current = try await self.get(key)
        }
        throw StoreError(.unavailable, "the entry changed \(StoreLimits.updateAttempts) times")
    }
}

extension StoreLimits {
    /// How often an ``Store/update(_:expiresIn:_:)`` begins at most.
    public static let updateAttempts = 100
}
