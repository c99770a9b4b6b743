import PolicyKitTesting
import PolicyProtocol
import Testing

@testable import Stores

@Suite struct MemoryStoreTests {
    @Test(arguments: StoreCheck.all + StoreCheck.ofOwnClock)
    func `the store in memory is a store`(check: StoreCheck) async throws {
        let clock = TestClock()
        try await check.run(on: MemoryStore { clock.nowMilliseconds }) { clock.advance(by: $0) }
    }

    /// Room for two entries with a key and a value of one octet.
    private let room = 2 * (MemoryStore.entryOctets + 2)

    @Test func `a full store takes nothing new until something expires`() async throws {
        let clock = TestClock()
        let store = MemoryStore(capacity: self.room) { clock.nowMilliseconds }
        try await store.set("a", to: "1", expiresIn: .seconds(5))
        try await store.set("b", to: "2", expiresIn: nil)
        for _ in 1...2 {
            await #expect(throws: StoreError(.full, "\(self.room) octets")) {
                try await store.set("c", to: "3", expiresIn: nil)
            }
            await #expect(throws: StoreError.self) {
                try await store.add(1, to: "c", expiresIn: nil)
            }
        }
        await #expect(throws: StoreError.self) {
            try await store.set("b", to: "22", expiresIn: nil)
        }
        try await store.set("b", to: "4", expiresIn: nil)
        #expect(try await store.get("a") == "1")
        #expect(try await store.get("b") == "4")
        clock.advance(by: .seconds(5))
        try await store.set("c", to: "3", expiresIn: nil)
        #expect(try await store.delete("b"))
        try await store.set("d", to: "5", expiresIn: nil)
        #expect(try await store.scan(prefix: "", limit: 9).count == 2)
    }

    @Test func `a key that is set again and again takes no more room`() async throws {
        let clock = TestClock()
        let store = MemoryStore(capacity: self.room) { clock.nowMilliseconds }
        for count in 1...10_000 {
            try await store.set("a", to: "1", expiresIn: .seconds(count % 7 + 1))
        }
        #expect(store.rememberedExpiries <= 2 * 1 + 64)
    }

    @Test func `entries expire in the order of their times, however they came`() async throws {
        let clock = TestClock()
        let start = clock.nowMilliseconds
        let store = MemoryStore { clock.nowMilliseconds }
        // 997 is prime: every number from 1 to 996 once, in no order.
        for index in 1...996 {
            let time = index * 577 % 997
            try await store.set(Bytes("\(time)"), to: "", expiresIn: .milliseconds(time))
        }
        for time in stride(from: 1, through: 996, by: 83) {
            clock.nowMilliseconds = start + Int64(time)
            try await store.set("x", to: "", expiresIn: .milliseconds(1))
            #expect(store.entryCount == 996 - time + 1)
        }
    }

    @Test func `a lifetime beyond all numbers is one without end`() async throws {
        let clock = TestClock()
        let store = MemoryStore { clock.nowMilliseconds }
        for lifetime in [Duration.seconds(Int64.max), .milliseconds(Int64.max)] {
            try await store.set("a", to: "1", expiresIn: lifetime)
            clock.advance(by: .seconds(1_000_000_000))
            #expect(try await store.get("a") == "1")
        }
        try await store.set("a", to: "1", expiresIn: .seconds(Int64.min))
        #expect(try await store.get("a") == nil)
    }
}
