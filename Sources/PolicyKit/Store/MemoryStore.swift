import Synchronization

/// A store in this process's memory: for tests, and for what need not outlive the worker.
///
/// It has room for so many octets. What finds no room is refused: nothing goes before its time, so
/// that a client that causes many entries cannot push out others.
public final class MemoryStore: Store {
    /// What an entry takes besides the octets of its key and its value.
    static let entryOctets = 128

    private let capacity: Int
    private let now: @Sendable () -> Int64
    private let state = Mutex(State())

    /// An empty store.
    ///
    /// - Parameters:
    ///   - capacity: The most octets; an entry takes those of its key and value, and 128.
    ///   - now: The time in Unix milliseconds, which entries expire by; tests give their own.
    public init(capacity: Int = 67_108_864, now: @escaping @Sendable () -> Int64) {
        self.capacity = capacity
        self.now = now
    }

    /// The value of a key.
    public func get(_ key: Bytes) async throws -> Bytes? {
        try StoreLimits.check(key)
        return self.state.withLock { $0.value(key, self.now()) }
    }

    /// Sets the value of a key.
    public func set(_ key: Bytes, to value: Bytes, expiresIn lifetime: Duration?) async throws {
        try StoreLimits.check(key, value)
        try self.state.withLock { state in
            let now = self.now()
            try state.set(key, value, Self.expiry(lifetime, now), now, self.capacity)
        }
    }

    /// Adds to a counter.
    public func add(
        _ amount: Int64,
        to key: Bytes,
        expiresIn lifetime: Duration?
    ) async throws -> Int64 {
        try StoreLimits.check(key)
        return try self.state.withLock { state in
            let now = self.now()
            guard let value = state.value(key, now) else {
                let expiry = Self.expiry(lifetime, now)
                try state.set(key, Bytes("\(amount)"), expiry, now, self.capacity)
                return amount
            }
            guard let before = value.string.flatMap({ Int64($0) }) else {
                throw StoreError(.notCounter, "the value is no number")
            }
            let (sum, isOver) = before.addingReportingOverflow(amount)
            guard !isOver else { throw StoreError(.notCounter, "the sum is too large") }
            state.replace(key, Bytes("\(sum)"))
            return sum
        }
    }

    /// Removes a key.
    @discardableResult
    public func delete(_ key: Bytes) async throws -> Bool {
        try StoreLimits.check(key)
        return self.state.withLock { state in
            guard state.value(key, self.now()) != nil else { return false }
            state.remove(key)
            return true
        }
    }

    /// Entries whose keys begin with `prefix`.
    public func scan(prefix: Bytes, limit: Int) async throws -> [StoreEntry] {
        self.state.withLock { $0.scan(prefix, limit, self.now()) }
    }

    /// Entries that take room, for tests.
    var entryCount: Int { self.state.withLock { $0.entries.count } }

    /// Times of expiry that take room, for tests.
    var rememberedExpiries: Int { self.state.withLock { $0.expiries.count } }

    /// When an entry expires: `nil` is never.
    private static func expiry(_ lifetime: Duration?, _ now: Int64) -> Int64? {
        guard let lifetime else { return nil }
        let (seconds, attoseconds) = lifetime.components
        let (whole, isOver) = seconds.multipliedReportingOverflow(by: 1_000)
        let milliseconds = whole.addingReportingOverflow(attoseconds / 1_000_000_000_000_000)
        let expiry = now.addingReportingOverflow(milliseconds.partialValue)
        let isFar = isOver || milliseconds.overflow || expiry.overflow
        return isFar ? (seconds > 0 ? .max : now) : expiry.partialValue
    }
}

/// The entries, and which of them expire next.
private struct State {
    struct Entry {
        var value: Bytes
        let expiry: Int64?
    }

    private(set) var entries: [Bytes: Entry] = [:]
    /// What the entries take.
    private var octets = 0
    /// Keys by when they expire, the next first: a binary heap.
    ///
    /// What stands here and not so in ``entries`` was set again or removed since.
    private(set) var expiries: [(time: Int64, key: Bytes)] = []

    func value(_ key: Bytes, _ now: Int64) -> Bytes? {
        guard let entry = self.entries[key], entry.expiry.map({ $0 > now }) ?? true else {
            return nil
        }
        return entry.value
    }

    mutating func set(
        _ key: Bytes,
        _ value: Bytes,
        _ expiry: Int64?,
        _ now: Int64,
        _ capacity: Int
    ) throws(StoreError) {
        self.removeExpired(now)
        if let expiry, expiry <= now { return self.remove(key) }
        let before = self.entries[key].map { Self.size(key, $0.value) } ?? 0
        let after = self.octets - before + Self.size(key, value)
        guard after <= capacity else { throw StoreError(.full, "\(capacity) octets") }
        self.octets = after
        self.entries[key] = Entry(value: value, expiry: expiry)
        guard let expiry else { return }
        self.expiries.append((expiry, key))
        self.moveUp()
        // Without this a key that is set again and again would fill the heap.
        if self.expiries.count > 2 * self.entries.count + 64 { self.rebuild() }
    }

    /// Changes the value of a key that is there, and not when it expires.
    mutating func replace(_ key: Bytes, _ value: Bytes) {
        guard let before = self.entries[key]?.value else { return }
        self.octets += value.octets.count - before.octets.count
        self.entries[key]?.value = value
    }

    mutating func remove(_ key: Bytes) {
        guard let entry = self.entries.removeValue(forKey: key) else { return }
        self.octets -= Self.size(key, entry.value)
    }

    private static func size(_ key: Bytes, _ value: Bytes) -> Int {
        key.octets.count + value.octets.count + MemoryStore.entryOctets
    }

    func scan(_ prefix: Bytes, _ limit: Int, _ now: Int64) -> [StoreEntry] {
        var found: [StoreEntry] = []
        for key in self.entries.keys where key.octets.starts(with: prefix.octets) {
            guard found.count < limit else { break }
            guard let value = self.value(key, now) else { continue }
            found.append(StoreEntry(key: key, value: value))
        }
        return found
    }

    private mutating func removeExpired(_ now: Int64) {
        while let next = self.expiries.first, next.time <= now {
            if self.entries[next.key]?.expiry == next.time { self.remove(next.key) }
            self.expiries.swapAt(0, self.expiries.count - 1)
            self.expiries.removeLast()
            self.moveDown()
        }
    }

    private mutating func rebuild() {
        self.expiries = self.entries.compactMap { key, entry in entry.expiry.map { ($0, key) } }
        // A sorted array is a heap.
        self.expiries.sort { $0.time < $1.time }
    }

    /// Puts the last element where it belongs.
    private mutating func moveUp() {
        var index = self.expiries.count - 1
        while index > 0 {
            let parent = (index - 1) / 2
            guard self.expiries[index].time < self.expiries[parent].time else { return }
            self.expiries.swapAt(index, parent)
            index = parent
        }
    }

    /// Puts the first element where it belongs.
    private mutating func moveDown() {
        var index = 0
        while true {
            var least = index
            for child in 2 * index + 1...2 * index + 2 where child < self.expiries.count {
                if self.expiries[child].time < self.expiries[least].time { least = child }
            }
            guard least != index else { return }
            self.expiries.swapAt(index, least)
            index = least
        }
    }
}
