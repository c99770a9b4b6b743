import Stores
import Testing

@testable import PolicyKit
@testable import PolicyKitTesting

/// Counts the hellos of each client.
private struct Counter: HeloHook {
    static let name = "counter"

    private let store: any Store

    init(configuration: PluginConfiguration) {
        self.store = configuration.store()
    }

    func helo(_ event: HeloEvent) async throws -> Answer {
        let key = Bytes(event.session.client.ip)
        let count = try await self.store.add(1, to: key, expiresIn: .seconds(60))
        return count > 2 ? .denysoft("slower") : .declined
    }
}

@Suite struct StoreTests {
    @Test(arguments: StoreCheck.all + StoreCheck.ofOwnClock)
    func `a part of a store is a store`(check: StoreCheck) async throws {
        guard check.description != "keys and values have limits" else { return }
        let clock = TestClock()
        let store = MemoryStore { clock.nowMilliseconds }
        try await store.set("a", to: "other", expiresIn: nil)
        try await store.set("part", to: "other", expiresIn: nil)
        let part = PrefixedStore(store: store, prefix: "part/")
        try await check.run(on: part) { clock.advance(by: $0) }
        #expect(try await store.get("a") == "other")
    }

    @Test func `a plugin's entries are its own, and expire by the session's time`() async throws {
        let session = try await TestSession([Counter.self], plugins: "counter")
        for expected in [Verdict.declined, .declined, .denysoft] {
            #expect(try await session.helo("a").verdict == expected)
        }
        #expect(try await session.store.get("counter/192.0.2.1") == "3")
        session.nowMilliseconds += 60_000
        #expect(try await session.helo("a") == .declined)
    }
}
