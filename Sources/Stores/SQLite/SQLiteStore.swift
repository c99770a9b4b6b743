package import NIOCore
package import PolicyProtocol
import Synchronization

/// A store in a file, which several processes of one machine may use at once.
///
/// A thread of its own works on the file, because that blocks: one call after the other.
package final class SQLiteStore: StoreDriver {
    /// How the file is used.
    package struct Settings: Sendable {
        /// The absolute path of the database.
        package var path: String
        /// Whether the file, and its folder, is made if it is not there.
        package var isMade = true
        /// The most time that a call may take.
        package var timeout: Duration = .seconds(2)
        /// The most octets of the file; more is ``StoreError/Code/full``.
        package var maximumOctets: Int64 = 1_073_741_824

        package init(path: String) {
            self.path = path
        }
    }

    /// The most calls that wait for the thread.
    static let maximumWaiting = 1_024

    private let settings: Settings
    private let eventLoop: any EventLoop
    private let now: @Sendable () -> Int64
    private let thread = WorkThread(limit: SQLiteStore.maximumWaiting)
    /// Used by the thread alone; the lock says so to the compiler.
    private let file: Mutex<SQLiteFile>

    /// A store that opens its file at the first call.
    ///
    /// - Parameters:
    ///   - settings: The file.
    ///   - eventLoop: What measures the time of calls.
    ///   - now: The time in Unix milliseconds, which entries expire by.
    package init(
        _ settings: Settings,
        on eventLoop: any EventLoop,
        now: @escaping @Sendable () -> Int64
    ) {
        self.settings = settings
        self.eventLoop = eventLoop
        self.now = now
        self.file = Mutex(SQLiteFile(settings))
    }

    deinit { self.thread.close() }

    package func open() async throws {
        try await self.perform { _, _ in }
    }

    package func close() async {
        try? await self.onThread { $0.close() }
        self.thread.close()
    }

    package func entry(_ key: Bytes) async throws -> StoreEntry? {
        try StoreLimits.check(key)
        return try await self.perform { try $0.entry(key, $1) }
    }

    package func set(
        _ key: Bytes,
        to value: Bytes,
        expiresIn lifetime: Duration?
    ) async throws {
        try StoreLimits.check(key, value)
        try await self.perform { entries, now in
            try entries.set(key, to: value, lifetime, now)
            try entries.sweep(now)
        }
    }

    package func add(
        _ amount: Int64,
        to key: Bytes,
        expiresIn lifetime: Duration?
    ) async throws -> Int64 {
        try StoreLimits.check(key)
        return try await self.perform { entries, now in
            let sum = try entries.transaction {
                try entries.add(amount, to: key, lifetime, now)
            }
            try entries.sweep(now)
            return sum
        }
    }

    @discardableResult
    package func compareAndSet(
        _ key: Bytes,
        from expected: Bytes?,
        to value: Bytes?,
        expiresIn lifetime: Duration?
    ) async throws -> StoreComparison {
        try StoreLimits.check(key, value)
        return try await self.perform { entries, now in
            let comparison = try entries.transaction { () throws -> StoreComparison in
                let current = try entries.entry(key, now)?.value
                guard current == expected else { return .different(current) }
                if let value {
                    try entries.set(key, to: value, lifetime, now)
                } else {
                    _ = try entries.delete(key, now)
                }
                return .same
            }
            try entries.sweep(now)
            return comparison
        }
    }

    @discardableResult
    package func delete(_ key: Bytes) async throws -> Bool {
        try StoreLimits.check(key)
        return try await self.perform { try $0.delete(key, $1) }
    }

    package func scan(prefix: Bytes, limit: Int) async throws -> [StoreEntry] {
        try await self.perform { try $0.scan(prefix, limit, $1) }
    }

    private func perform<Value: Sendable>(
        _ body: @escaping @Sendable (SQLiteEntries, Int64) throws -> Value
    ) async throws -> Value {
        let now = self.now
        return try await self.onThread { try $0.perform(now(), body) }
    }

    /// Has the thread do `body`, unless the time is over when its turn comes.
    private func onThread<Value: Sendable>(
        _ body: @escaping @Sendable (inout SQLiteFile) throws -> Value
    ) async throws -> Value {
        let path = self.settings.path
        let call = PendingCall<Value>(
            on: self.eventLoop,
            within: self.settings.timeout,
            of: path
        )
        let isTaken = self.thread.submit {
            guard !call.isOver else { return }
            call.end(Result { try self.file.withLock { try body(&$0) } })
        }
        if !isTaken {
            call.end(.failure(StoreError(.unavailable, "\(path): too many calls wait")))
        }
        return try await call.value()
    }
}
