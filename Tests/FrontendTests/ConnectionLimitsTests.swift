import Addresses
import SMTPCore
import Testing

@testable import Frontend

struct ConnectionLimitsTests {
    private static func client(_ text: String) throws -> CountedClient {
        let address: IPAddress = try #require(IPAddress(parsing: text))
        return CountedClient(address)
    }

    /// What becomes of a session from each address in turn, of which none ends.
    private static func open(
        _ limits: inout ConnectionLimits,
        from addresses: [String],
        now: Int64 = 0
    ) throws -> [ConnectionLimits.Refusal?] {
        try addresses.map { limits.sessionOpened(from: try self.client($0), now: now) }
    }

    @Test func `the limits count sessions in and out`() throws {
        var limits = ConnectionLimits(.init(sessions: 3, perAddress: 2))
        let (a, b, c) = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
        let refusals = try Self.open(&limits, from: [a, a, a, b, c])
        #expect(refusals == [nil, nil, .tooManyFromAddress, nil, .tooManySessions])
        limits.sessionClosed(from: try Self.client(a))
        #expect(try Self.open(&limits, from: [c]) == [nil])
        for address in [a, b, c] { limits.sessionClosed(from: try Self.client(address)) }
        #expect(limits.sessions == 0)
        #expect(try Self.open(&limits, from: [a]) == [nil])
    }

    @Test(arguments: [
        // A /24 of IPv4, whatever the addresses in it.
        (
            ["192.0.2.1", "192.0.2.255", "192.0.2.0", "192.0.3.1", "192.0.1.255"],
            [true, true, false, true, true]
        ),
        // IPv4 in IPv6 is IPv4.
        (["192.0.2.1", "::ffff:192.0.2.2", "::ffff:192.0.2.3"], [true, true, false]),
        // A /48 of IPv6; a /64 is one address.
        (
            ["2001:db8:1:1::1", "2001:db8:1:ffff::1", "2001:db8:1:2::1", "2001:db8:2:1::1"],
            [true, true, false, true]
        ),
    ])
    func `sessions from one network count together`(
        addresses: [String],
        admitted: [Bool]
    ) throws {
        var limits = ConnectionLimits(.init(perNetwork: 2))
        let refusals = try Self.open(&limits, from: addresses)
        #expect(refusals == admitted.map { $0 ? nil : .tooManyFromNetwork })
        for (address, isAdmitted) in zip(addresses, admitted) where isAdmitted {
            limits.sessionClosed(from: try Self.client(address))
        }
        #expect(limits.sessions == 0)
        #expect(try Self.open(&limits, from: addresses) == refusals)
    }

    @Test(arguments: [
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], [true, false, true]),
        (["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1"], [true, true, false]),
    ])
    func `a slash 64 of IPv6 is one address`(addresses: [String], admitted: [Bool]) throws {
        var limits = ConnectionLimits(.init(perAddress: 1))
        let refusals = try Self.open(&limits, from: addresses)
        #expect(refusals == admitted.map { $0 ? nil : .tooManyFromAddress })
    }

    @Test func `a session counts for an address only when it is known whose it is`() throws {
        var limits = ConnectionLimits(.init(sessions: 2, perAddress: 1, perNetwork: 1))
        let client = try Self.client("192.0.2.1")
        let opened = (0..<3).map { _ in limits.sessionOpened(from: nil, now: 0) }
        #expect(opened == [nil, nil, .tooManySessions])
        let named = (0..<2).map { _ in limits.clientNamed(client, isNew: true, now: 0) }
        #expect(named == [nil, .tooManyFromAddress])
        limits.sessionClosed(from: nil)
        limits.sessionClosed(from: client)
        #expect(limits.sessions == 0)
        #expect(try Self.open(&limits, from: ["192.0.2.1"]) == [nil])
    }

    @Test func `new sessions of a minute have limits, of an address and of a network`() throws {
        var limits = ConnectionLimits(.init(newPerAddress: 2, newPerNetwork: 3))
        func open(_ address: String, now: Int64) throws -> ConnectionLimits.Refusal? {
            let client = try Self.client(address)
            let refusal = limits.sessionOpened(from: client, now: now)
            // That a session has ended gives nothing back.
            if refusal == nil { limits.sessionClosed(from: client) }
            return refusal
        }
        #expect(try open("192.0.2.1", now: 0) == nil)
        #expect(try open("192.0.2.1", now: 10) == nil)
        #expect(try open("192.0.2.1", now: 20) == .tooManyNewFromAddress)
        #expect(try open("192.0.2.2", now: 30) == nil)
        #expect(try open("192.0.2.3", now: 40) == .tooManyNewFromNetwork)
        #expect(try open("192.0.3.1", now: 50) == nil)
        #expect(try open("192.0.2.1", now: 59_999) == .tooManyNewFromAddress)
        #expect(try open("192.0.2.1", now: 60_000) == nil)
        #expect(limits.sessions == 0)
    }

    @Test func `a proxy that speaks for itself is no new session`() throws {
        var limits = ConnectionLimits(.init(perAddress: 2, newPerAddress: 1))
        let proxy = try Self.client("192.0.2.1")
        let refusals = [false, false, false, true].map {
            limits.clientNamed(proxy, isNew: $0, now: 0)
        }
        #expect(refusals == [nil, nil, .tooManyFromAddress, .tooManyFromAddress])
        let later = [true, true, false].map {
            limits.sessionClosed(from: proxy)
            return limits.clientNamed(proxy, isNew: $0, now: 0)
        }
        #expect(later == [nil, .tooManyNewFromAddress, nil])
    }

    @Test func `no limit is a limit of 0, and a refusal names its key`() throws {
        var limits = ConnectionLimits(.init())
        let client = try Self.client("192.0.2.1")
        let refused = (0..<1_000).filter { _ in limits.sessionOpened(from: client, now: 0) != nil }
        #expect(refused.isEmpty)
        #expect(limits.sessions == 1_000)
        let refusals: [ConnectionLimits.Refusal] = [
            .tooManySessions, .tooManyFromAddress, .tooManyFromNetwork, .tooManyNewFromAddress,
            .tooManyNewFromNetwork, .memoryUsedUp,
        ]
        let keys = [
            "max_sessions", "max_sessions_per_ip", "max_sessions_per_network",
            "max_new_sessions_per_ip", "max_new_sessions_per_network", "memory_octets",
        ]
        #expect(refusals.map { "\($0.key)" } == keys)
        #expect(refusals.allSatisfy { $0.reply.code.rawValue == 421 })
    }
}

struct ConnectionRatesTests {
    private static func address(_ number: Int) -> IPAddress {
        IPAddress(ipv4: UInt32(truncatingIfNeeded: number))
    }

    @Test func `a client's minute begins with its first connection`() {
        var rates = ConnectionRates()
        let admitted = [0, 30_000, 59_999, 60_000, 60_001, 60_002, 119_999, 120_000].map {
            rates.admits(Self.address(1), most: 2, now: $0)
        }
        #expect(admitted == [true, true, false, true, true, false, false, true])
    }

    @Test func `no limit counts nothing, and a lower one holds at once`() {
        var rates = ConnectionRates()
        let mosts = [0, 0, 0, 0, 3, 3, 3, 3, 2, 4]
        let admitted = mosts.map { rates.admits(Self.address(1), most: $0, now: 1) }
        #expect(admitted == [true, true, true, true, true, true, true, false, false, true])
    }

    @Test func `a full table forgets the client with the fewest connections, and refuses none`() {
        var rates = ConnectionRates(groups: 1)
        for _ in 0..<5 { _ = rates.admits(Self.address(0), most: 5, now: 0) }
        // Each stands in the table once; seven places are left to a thousand.
        let refused = (1..<1_000).filter { !rates.admits(Self.address($0), most: 5, now: 1) }
        #expect(refused.isEmpty)
        let isLargestAdmitted = rates.admits(Self.address(0), most: 5, now: 2)
        #expect(!isLargestAdmitted, "the largest count is kept")
        // The last ones pushed out the first ones, whose counts begin again.
        let again = (0..<6).map { _ in rates.admits(Self.address(1), most: 5, now: 3) }
        #expect(again == [true, true, true, true, true, false])
    }

    @Test func `a place whose minute is over is free`() {
        var rates = ConnectionRates(groups: 1)
        for number in 0..<8 {
            for _ in 0..<2 { _ = rates.admits(Self.address(number), most: 2, now: Int64(number)) }
        }
        // At 60,000 the first client's minute is over, and no other's.
        let admitted = [8, 1, 2, 3, 4, 5, 6, 7].filter {
            rates.admits(Self.address($0), most: 2, now: 60_000)
        }
        #expect(admitted == [8])
    }
}
