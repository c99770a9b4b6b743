import PolicyKit
public import Stores

/// One thing that every driver of a ``Stores/Store`` must do: run all of them against yours.
///
/// ```swift
/// @Test(arguments: StoreCheck.all)
/// func `the memory store is a store`(check: StoreCheck) async throws {
///     let clock = TestClock()
///     try await check.run(on: MemoryStore { clock.nowMilliseconds }) { clock.advance(by: $0) }
/// }
/// ```
public struct StoreCheck: Sendable, CustomStringConvertible {
    /// Makes time pass: moves the driver's clock, or waits.
    public typealias Advance = @Sendable (Duration) async throws -> Void

    /// Something that a driver did not do.
    public struct Failure: Error, CustomStringConvertible {
        /// What it should have done.
        public let description: String
    }

    /// What is checked.
    public let description: String
    private let body: @Sendable (any Store, Advance) async throws -> Void

    /// Runs the check.
    ///
    /// - Parameters:
    ///   - store: An empty store that nothing else uses.
    ///   - advance: Makes time pass; it is asked for two seconds at most.
    /// - Throws: ``Failure``, or what the store throws.
    public func run(on store: any Store, advance: Advance) async throws {
        try await self.body(store, advance)
    }

    /// All checks.
    public static let all: [StoreCheck] = [
        values, octets, limits, expiry, timeLeft, noLifetime, settingAgain, counting, counterExpiry,
        noCounter, sums, comparing, removing, comparingExpired, updating, updatingAtOnce, deleting,
        scanning, atOnce,
    ]

    /// What a driver must do besides whose clock can be set: these checks ask for negative durations too, and
    /// for more than two seconds.
    public static let ofOwnClock: [StoreCheck] = [setBack, setForward]

    private init(
        _ description: String,
        _ body: @escaping @Sendable (any Store, Advance) async throws -> Void
    ) {
        self.description = description
        self.body = body
    }

    private static func expect(_ holds: Bool, _ text: String) throws(Failure) {
        guard holds else { throw Failure(description: text) }
    }

    private static func expect(
        _ code: StoreError.Code,
        _ text: String,
        _ body: () async throws -> Void
    ) async throws {
        do {
            try await body()
        } catch let error as StoreError where error.code == code {
            return
        }
        throw Failure(description: text)
    }

    // MARK: Values

    private static let values = Self("a value is what was set last") { store, _ in
        try expect(await store.get("a") == nil, "nothing was set")
        try await store.set("a", to: "1", expiresIn: nil)
        try await store.set("b", to: "2", expiresIn: nil)
        try await store.set("a", to: "3", expiresIn: nil)
        try expect(await store.get("a") == "3", "a is 3")
        try expect(await store.get("b") == "2", "b is 2")
        try await store.set("a", to: "", expiresIn: nil)
        try expect(await store.get("a") == "", "a is empty, which is not the same as gone")
    }

    private static let octets = Self("keys and values may have any octet") { store, _ in
        let all = Bytes(octets: Array(0...255))
        let cut = Bytes(octets: Array(0...254))
        try await store.set(all, to: all, expiresIn: nil)
        try await store.set("", to: cut, expiresIn: nil)
        try expect(await store.get(all) == all, "all octets come back")
        try expect(await store.get("") == cut, "a key may be empty")
        try expect(await store.get(cut) == nil, "keys differ in their last octet")
        try await store.set("K", to: "1", expiresIn: nil)
        try expect(await store.get("k") == nil, "no letter case is folded")
    }

    private static let limits = Self("keys and values have limits") { store, _ in
        let key = Bytes(octets: [UInt8](repeating: 7, count: StoreLimits.keyOctets))
        let value = Bytes(octets: [UInt8](repeating: 8, count: StoreLimits.valueOctets))
        let longKey = Bytes(octets: key.octets + [7])
        let longValue = Bytes(octets: value.octets + [8])
        try await store.set(key, to: value, expiresIn: nil)
        try expect(await store.get(key) == value, "the longest are taken")
        try await expect(.tooLong, "a longer value is refused") {
            try await store.set(key, to: longValue, expiresIn: nil)
        }
        try await expect(.tooLong, "a longer key is refused by set") {
            try await store.set(longKey, to: "", expiresIn: nil)
        }
        try await expect(.tooLong, "a longer key is refused by get") {
            _ = try await store.get(longKey)
        }
        try await expect(.tooLong, "a longer key is refused by add") {
            _ = try await store.add(1, to: longKey, expiresIn: nil)
        }
        try expect(await store.get(key) == value, "what was refused changed nothing")
    }

    // MARK: Time

    private static let expiry = Self("an entry expires at its time") { store, advance in
        try await store.set("a", to: "1", expiresIn: .seconds(1))
        try await store.set("b", to: "2", expiresIn: .seconds(10))
        try expect(await store.get("a") == "1", "a is there")
        try await advance(.seconds(2))
        try expect(await store.get("a") == nil, "a has expired")
        try expect(await store.delete("a") == false, "what has expired cannot be deleted")
        try expect(await store.get("b") == "2", "b is still there")
        try expect(await store.scan(prefix: "", limit: 9).map(\.key) == ["b"], "only b is found")
    }

    private static let timeLeft = Self("an entry says the time that it has") { store, advance in
        try await store.set("a", to: "1", expiresIn: .seconds(100))
        try await store.set("b", to: "2", expiresIn: nil)
        let first = try await store.entry("a")
        let left = first?.expiresIn ?? .zero
        try expect(left <= .seconds(100) && left > .seconds(90), "all of it at first")
        try expect(first?.key == "a" && first?.value == "1", "with key and value")
        try await advance(.seconds(2))
        let later = try await store.entry("a")?.expiresIn ?? .zero
        try expect(later <= .seconds(98) && later > .seconds(80), "less later")
        try expect(await store.entry("b") == StoreEntry(key: "b", value: "2"), "no end")
        try expect(await store.entry("c") == nil, "no entry")
        for entry in try await store.scan(prefix: "", limit: 9) {
            let hasEnd = entry.expiresIn.map { $0 <= .seconds(98) && $0 > .seconds(80) }
            try expect(hasEnd == (entry.key == "a" ? true : nil), "a scan says it too")
        }
    }

    private static let setBack = Self("no entry outlives its time by a clock set back") {
        store,
        advance in
        try await store.set("a", to: "1", expiresIn: .seconds(100))
        try await store.set("b", to: "1", expiresIn: nil)
        for key in 0..<500 {
            try await store.set(Bytes("k\(key)"), to: "", expiresIn: .seconds(100))
        }
        try await advance(.seconds(-30_000_000))
        try expect(await store.get("a") == "1", "it is still there")
        try await store.set("c", to: "1", expiresIn: .seconds(200))
        // A driver may need some calls to see to all entries.
        for _ in 0..<10 { _ = try await store.get("a") }
        try await advance(.seconds(101))
        try expect(await store.get("a") == nil, "its lifetime is over, by the new time")
        let left = try await store.scan(prefix: "", limit: 999).map(\.key)
        try expect(Set(left) == ["b", "c"], "and that of all others: \(left)")
    }

    private static let setForward = Self("a clock set forward expires entries") { store, advance in
        try await store.set("a", to: "1", expiresIn: .seconds(100))
        try await store.set("b", to: "1", expiresIn: nil)
        try await advance(.seconds(30_000_000))
        try expect(await store.get("a") == nil, "a has expired")
        try await store.set("a", to: "2", expiresIn: .seconds(100))
        try await advance(.seconds(-500))
        try expect(await store.get("a") == "2", "what was set then is there when it is set back")
        for _ in 0..<10 { _ = try await store.get("a") }
        try await advance(.seconds(101))
        try expect(await store.get("a") == nil, "and not for longer")
        try expect(await store.get("b") == "1", "what has no end stays")
    }

    private static let noLifetime = Self("without time there is no entry") { store, _ in
        try await store.set("a", to: "1", expiresIn: nil)
        try await store.set("a", to: "2", expiresIn: .zero)
        try expect(await store.get("a") == nil, "a lifetime of nothing removes the entry")
        try await store.set("b", to: "2", expiresIn: .seconds(-1))
        try expect(await store.get("b") == nil, "a lifetime that is over leaves no entry")
        try expect(await store.add(1, to: "c", expiresIn: .zero) == 1, "the sum is returned")
        try expect(await store.get("c") == nil, "and the counter is gone")
    }

    private static let settingAgain = Self("setting gives a new lifetime") { store, advance in
        for (key, first, second) in [
            ("longer", Duration.seconds(1), Duration.seconds(10)), ("forever", .seconds(1), nil),
            ("shorter", .seconds(10), .seconds(1)),
        ] as [(Bytes, Duration, Duration?)] {
            try await store.set(key, to: "1", expiresIn: first)
            try await store.set(key, to: "2", expiresIn: second)
        }
        try await advance(.seconds(2))
        try expect(await store.get("longer") == "2", "the later, longer lifetime counts")
        try expect(await store.get("forever") == "2", "the later lifetime without end counts")
        try expect(await store.get("shorter") == nil, "the later, shorter lifetime counts")
    }

    // MARK: Counters

    private static let counting = Self("a counter begins at 0 and is read as digits") { store, _ in
        try expect(await store.add(2, to: "a", expiresIn: nil) == 2, "0 + 2")
        try expect(await store.add(-5, to: "a", expiresIn: nil) == -3, "2 - 5")
        try expect(await store.get("a") == "-3", "read as digits")
        try await store.set("a", to: "40", expiresIn: nil)
        try expect(await store.add(2, to: "a", expiresIn: nil) == 42, "digits are a counter")
    }

    private static let counterExpiry = Self("a counter keeps its end") { store, advance in
        try expect(await store.add(1, to: "a", expiresIn: .seconds(2)) == 1, "begins")
        try await advance(.seconds(1))
        try expect(await store.add(1, to: "a", expiresIn: .seconds(10)) == 2, "goes on")
        try await advance(.seconds(2))
        try expect(await store.get("a") == nil, "it ends when it first was to")
        try expect(await store.add(1, to: "a", expiresIn: .seconds(2)) == 1, "and begins anew")
    }

    private static let noCounter = Self("only a number can be added to") { store, _ in
        for value in ["", "x", "1.5", "007", "+1", " 1", "-0", "9223372036854775808"] as [Bytes] {
            try await store.set("a", to: value, expiresIn: nil)
            try await expect(.notCounter, "\(value) is no counter") {
                _ = try await store.add(1, to: "a", expiresIn: nil)
            }
            try expect(await store.get("a") == value, "\(value) is as it was")
        }
    }

    private static let sums = Self("a sum has an end") { store, _ in
        try expect(await store.add(.max, to: "a", expiresIn: nil) == .max, "the largest")
        try expect(await store.add(.min, to: "b", expiresIn: nil) == .min, "the smallest")
        try await expect(.notCounter, "more is refused") {
            _ = try await store.add(1, to: "a", expiresIn: nil)
        }
        try await expect(.notCounter, "less is refused") {
            _ = try await store.add(-1, to: "b", expiresIn: nil)
        }
        try expect(await store.add(.min, to: "a", expiresIn: nil) == -1, "it is as it was")
    }

    // MARK: Comparing

    private static let comparing = Self("a value is changed if it is the expected one") {
        store,
        _ in
        try expect(await set("a", nil, "1", store) == .same, "there was none")
        try expect(await set("a", nil, "2", store) == .different("1"), "there is one")
        try expect(await set("a", "2", "3", store) == .different("1"), "it is another one")
        try expect(await set("a", "1", "2", store) == .same, "it is that one")
        try expect(await store.get("a") == "2", "and was changed")
        try expect(await set("b", "", "1", store) == .different(nil), "none is not empty")
        try expect(await set("b", nil, "", store) == .same, "one may be empty")
        try expect(await set("b", nil, "1", store) == .different(""), "which is not none")
        let all = Bytes(octets: Array(0...255))
        let cut = Bytes(octets: Array(0...254))
        try expect(await set("c", nil, all, store) == .same, "any octets")
        try expect(await set("c", cut, "", store) == .different(all), "compared to the last")
        try expect(await store.add(5, to: "d", expiresIn: nil) == 5, "a counter")
        try expect(await set("d", "5", "7", store) == .same, "compares as digits")
        try expect(await store.add(1, to: "d", expiresIn: nil) == 8, "and goes on")
        let long = Bytes(octets: [UInt8](repeating: 8, count: StoreLimits.valueOctets + 1))
        try await expect(.tooLong, "a longer value is refused") {
            _ = try await set("a", "2", long, store)
        }
    }

    private static let removing = Self("a value is removed if it is the expected one") {
        store,
        _ in
        try await store.set("a", to: "1", expiresIn: nil)
        try expect(await set("a", "2", nil, store) == .different("1"), "it is another one")
        try expect(await set("a", "1", nil, store) == .same, "it is that one")
        try expect(await store.get("a") == nil, "and it is gone")
        try expect(await set("a", nil, nil, store) == .same, "nothing becomes nothing")
    }

    private static let comparingExpired = Self("what has expired is none") { store, advance in
        let result = try await store.compareAndSet("a", from: nil, to: "1", expiresIn: .seconds(1))
        try expect(result == .same, "set")
        try await store.set("b", to: "1", expiresIn: nil)
        _ = try await store.compareAndSet("b", from: "1", to: "2", expiresIn: .seconds(1))
        try await store.set("c", to: "1", expiresIn: .seconds(1))
        _ = try await store.compareAndSet("c", from: "1", to: "2", expiresIn: .seconds(100))
        try await advance(.seconds(2))
        try expect(await set("a", "1", "2", store) == .different(nil), "a has expired")
        try expect(await set("a", nil, "2", store) == .same, "so it can be set")
        try expect(await store.get("b") == nil, "the new lifetime counts")
        try expect(await store.get("c") == "2", "also a longer one")
        let last = try await store.compareAndSet("c", from: "2", to: "3", expiresIn: .zero)
        try expect(last == .same, "without a lifetime")
        try expect(await store.get("c") == nil, "there is no entry")
    }

    private static let updating = Self("an update sets what it makes of a value") { store, _ in
        let first = try await store.update("a", expiresIn: nil) { $0 == nil ? "1" : "?" }
        try expect(first == "1", "of none")
        let second = try await store.update("a", expiresIn: nil) { $0 == "1" ? "2" : "?" }
        try expect(second == "2", "of the one before")
        try expect(await store.get("a") == "2", "which is set")
        try await store.update("a", expiresIn: .zero) { $0 }
        try expect(await store.get("a") == "2", "the same value is no change")
        let last = try await store.update("a", expiresIn: nil) { _ in nil }
        try expect(last == nil, "none")
        try expect(await store.get("a") == nil, "removes it")
    }

    private static let updatingAtOnce = Self("updates at once all count") { store, _ in
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    try await store.update("a", expiresIn: .seconds(60)) { value in
                        Bytes(octets: (value?.octets ?? []) + [0x78])
                    }
                }
            }
            try await group.waitForAll()
        }
        try expect(await store.get("a")?.octets.count == 20, "each added one octet")
    }

    private static func set(
        _ key: Bytes,
        _ expected: Bytes?,
        _ value: Bytes?,
        _ store: any Store
    ) async throws -> StoreComparison {
        try await store.compareAndSet(key, from: expected, to: value, expiresIn: nil)
    }

    // MARK: Many entries

    private static let deleting = Self("what is deleted is gone") { store, _ in
        try await store.set("a", to: "1", expiresIn: nil)
        try await store.set("b", to: "2", expiresIn: nil)
        try expect(await store.delete("a"), "it was there")
        try expect(await store.delete("a") == false, "it is not there any more")
        try expect(await store.get("a") == nil, "it cannot be read")
        try expect(await store.get("b") == "2", "nothing else went")
        try expect(await store.add(1, to: "a", expiresIn: nil) == 1, "a counter begins at 0 again")
    }

    private static let scanning = Self("a scan finds what begins with the prefix") { store, _ in
        let keys: [Bytes] = ["a/1", "a/2", "a/", "a", "b/1", "A/1", "a%", "a/*"]
        for key in keys { try await store.set(key, to: key, expiresIn: nil) }
        try await store.set(Bytes(octets: [0x61, 0x2F, 0xFF]), to: "", expiresIn: nil)
        let found = try await store.scan(prefix: "a/", limit: 100)
        let expected: Set<Bytes> = ["a/1", "a/2", "a/", "a/*", Bytes(octets: [0x61, 0x2F, 0xFF])]
        try expect(Set(found.map(\.key)) == expected, "by octets")
        try expect(found.count == expected.count, "once each")
        try expect(found.allSatisfy { $0.key == $0.value || $0.value == "" }, "with their values")
        try expect(await store.scan(prefix: "a/", limit: 2).count == 2, "not more than the limit")
        try expect(await store.scan(prefix: "a/", limit: 0).isEmpty, "none at all")
        try expect(await store.scan(prefix: "a%", limit: 9).map(\.key) == ["a%"], "no wildcard")
        try expect(await store.scan(prefix: "", limit: 100).count == 9, "everything")
    }

    private static let atOnce = Self("additions at once are all counted") { store, _ in
        try await withThrowingTaskGroup(of: Int64.self) { group in
            for _ in 0..<100 {
                group.addTask { try await store.add(1, to: "a", expiresIn: .seconds(60)) }
            }
            var sums: Set<Int64> = []
            for try await sum in group { sums.insert(sum) }
            try expect(sums == Set(1...100), "each addition returns a sum of its own")
        }
        try expect(await store.get("a") == "100", "and together they are 100")
    }
}
