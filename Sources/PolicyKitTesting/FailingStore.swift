public import PolicyKit

/// A store that is not usable, for what a plugin does then.
public struct FailingStore: Store {
    /// What calls end with; `nil`: they do not end before the caller gives up.
    private let error: StoreError?

    /// A store whose calls fail at once, as where nothing listens.
    public static let dead = Self(error: StoreError(.unavailable, "test: refused"))
    /// A store that has no room.
    public static let full = Self(error: StoreError(.full, "test: no room"))
    /// A store that never answers.
    public static let silent = Self(error: nil)

    private func fail() async throws -> Never {
        if let error = self.error { throw error }
        try await Task.sleep(for: .seconds(86_400))
        throw StoreError(.unavailable, "test: a day is over")
    }

    /// Fails.
    public func entry(_ key: Bytes) async throws -> StoreEntry? { try await self.fail() }

    /// Fails.
    public func set(_ key: Bytes, to value: Bytes, expiresIn lifetime: Duration?) async throws {
        try await self.fail()
    }

    /// Fails.
    public func add(
        _ amount: Int64,
        to key: Bytes,
        expiresIn lifetime: Duration?
    ) async throws -> Int64 { try await self.fail() }

    /// Fails.
    public func compareAndSet(
        _ key: Bytes,
        from expected: Bytes?,
        to value: Bytes?,
        expiresIn lifetime: Duration?
    ) async throws -> StoreComparison { try await self.fail() }

    /// Fails.
    public func delete(_ key: Bytes) async throws -> Bool { try await self.fail() }

    /// Fails.
    public func scan(prefix: Bytes, limit: Int) async throws -> [StoreEntry] {
        try await self.fail()
    }
}
