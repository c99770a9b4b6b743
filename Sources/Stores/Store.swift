public import PolicyProtocol

/// What outlives a session: counters, lists, what was seen before.
///
/// ```swift
/// self.store = configuration.store()                                  // in the initialiser
/// …
/// let key = Bytes("tries \(event.session.client.ip)")
/// let tries = try await self.store.add(1, to: key, expiresIn: .seconds(3_600))
/// if tries > 20 { return .denysoft("Too many messages, try again later") }
/// ```
///
/// Keys and values are octets. A key has at most ``StoreLimits/keyOctets`` and a value at most
/// ``StoreLimits/valueOctets``. Each call is atomic, also between processes: of two that come at once, one
/// sees all of what the other did, or nothing of it. What needs more than one call is an ``update(_:expiresIn:_:)``.
/// An entry that has expired is not there any more. A lifetime is ``StoreLimits/lifetime`` at most, and one that is
/// longer is shortened to that; parts of a millisecond do not count.
///
/// What plugins do with it:
///
/// - to know what was here before, as greylisting does: ``compareAndSet(_:from:to:expiresIn:)`` from `nil`, which
///   says what is there if it is not the first;
/// - to count in a window of time: ``add(_:to:expiresIn:)``;
/// - a rate with bursts, a number of places that are taken for a while, several numbers in one entry: an update whose
///   value holds all of that, and the times that count. Its key is that of one client or user, so that few change it
///   at once.
///
/// A call ends within the time of `[store] timeout_ms`, whatever the store does. One that fails with
/// ``StoreError/Code/unavailable`` may have changed the entry or not.
///
/// A driver must be safe from any task and must pass the checks of `StoreCheck` in PolicyKitTesting.
public protocol Store: Sendable {
    /// The value of a key; `nil` if there is none.
    ///
    /// A driver that reads no faster without the time that is left has this from its ``entry(_:)``.
    ///
    /// - Throws: ``StoreError``.
    func get(_ key: Bytes) async throws -> Bytes?

    /// An entry with the time that it has left; `nil` if there is none.
    ///
    /// - Throws: ``StoreError``.
    func entry(_ key: Bytes) async throws -> StoreEntry?

    /// Sets the value of a key, whatever it was.
    ///
    /// `lifetime` is counted from now; with `nil` the entry does not expire. A time that is not
    /// positive leaves no entry.
    ///
    /// - Throws: ``StoreError``.
    func set(_ key: Bytes, to value: Bytes, expiresIn lifetime: Duration?) async throws

    /// Adds to a counter, and returns what it then is.
    ///
    /// A counter that is not there begins at 0 and expires after `lifetime`, counted from now. One that
    /// is there keeps the time at which it expires, so that a window of time has an end however often
    /// something is counted. ``get(_:)`` reads a counter as decimal digits, and ``set(_:to:expiresIn:)``
    /// can write one so.
    ///
    /// - Throws: ``StoreError``; with `.notCounter` if the value is no number, or the sum is none that
    ///   an `Int64` holds. The value is then as it was.
    func add(_ amount: Int64, to key: Bytes, expiresIn lifetime: Duration?) async throws -> Int64

    /// Changes an entry if its value is the expected one.
    ///
    /// - Parameters:
    ///   - key: The key.
    ///   - expected: The value that must be there; `nil`: there must be no entry.
    ///   - value: The value that is set then; `nil` removes the entry.
    ///   - lifetime: As of ``set(_:to:expiresIn:)``.
    /// - Returns: `.same` if the value was the expected one; else what it is, and nothing was changed.
    /// - Throws: ``StoreError``.
    @discardableResult
    func compareAndSet(
        _ key: Bytes,
        from expected: Bytes?,
        to value: Bytes?,
        expiresIn lifetime: Duration?
    ) async throws -> StoreComparison

    /// Removes a key, and returns whether it was there.
    ///
    /// - Throws: ``StoreError``.
    @discardableResult
    func delete(_ key: Bytes) async throws -> Bool

    /// Entries whose keys begin with `prefix`, in no certain order, `limit` at most.
    ///
    /// An entry that is set or removed while the store looks may be missing or not. For an operator's
    /// commands: Redis looks at every key that it has for this.
    ///
    /// - Throws: ``StoreError``.
    func scan(prefix: Bytes, limit: Int) async throws -> [StoreEntry]
}

/// What ``Store/compareAndSet(_:from:to:expiresIn:)`` found.
public enum StoreComparison: Sendable, Hashable {
    /// The expected value, which was changed.
    case same
    /// Another value, or `nil` for none; nothing was changed.
    case different(Bytes?)
}

/// A key and its value.
public struct StoreEntry: Sendable, Hashable {
    /// The key.
    public var key: Bytes
    /// Its value.
    public var value: Bytes
    /// The time until it expires; `nil`: it does not expire.
    public var expiresIn: Duration?

    /// An entry.
    public init(key: Bytes, value: Bytes, expiresIn: Duration? = nil) {
        self.key = key
        self.value = value
        self.expiresIn = expiresIn
    }
}

/// What every driver of a ``Store`` holds.
public enum StoreLimits {
    /// The most octets of a key, that of the store's own prefix included.
    public static let keyOctets = 1_024
    /// The most octets of a value.
    public static let valueOctets = 65_536
    /// The longest lifetime: a hundred years.
    public static let lifetime = Duration.seconds(3_155_760_000)
}

/// Why a store did not do what it was asked.
public struct StoreError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds of failure.
    public enum Code: Sendable, Hashable {
        /// The key or the value is longer than ``StoreLimits`` allow.
        case tooLong
        /// The value is no number to add to, or the sum is too large for one.
        case notCounter
        /// There is no room for another entry.
        case full
        /// The store does not answer, or answers nonsense.
        case unavailable
    }

    /// The kind of failure.
    public let code: Code
    /// What happened, for the log.
    public let detail: String

    /// A failure of this kind.
    public init(_ code: Code, _ detail: String) {
        self.code = code
        self.detail = detail
    }

    /// The kind, then the detail.
    public var description: String { "store \(self.code): \(self.detail)" }
}

extension StoreLimits {
    /// Looks whether a key, and a value if there is one, may be stored.
    ///
    /// Every driver calls this first.
    ///
    /// - Throws: ``StoreError`` with `.tooLong`.
    public static func check(_ key: Bytes, _ value: Bytes? = nil) throws(StoreError) {
        guard key.octets.count <= self.keyOctets else {
            throw StoreError(.tooLong, "a key of \(key.octets.count) octets")
        }
        if let value, value.octets.count > self.valueOctets {
            throw StoreError(.tooLong, "a value of \(value.octets.count) octets")
        }
    }
}
