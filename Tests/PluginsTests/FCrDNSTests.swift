import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

struct FCrDNSTests {
    private static let iprev = NoteKey<String>("iprev", in: .session)

    private static let resolver = TestResolver { name, type in
        func named(_ names: String...) -> DNSAnswer {
            .records(names.compactMap { DNSName($0) }.map { .name($0) })
        }
        switch (name, type) {
        case ("1.2.0.192.in-addr.arpa", .ptr): return named("other.example", "mx.example")
        case ("mx.example", .a): return .records([.address("192.0.2.9"), .address("192.0.2.1")])
        case ("other.example", .a): return .records([.address("198.51.100.1")])
        case ("2.2.0.192.in-addr.arpa", .ptr): return named("near.example")
        case ("near.example", .a): return .records([.address("192.0.2.200")])
        case ("3.2.0.192.in-addr.arpa", .ptr): return named("other.example", "none.example")
        case ("4.2.0.192.in-addr.arpa", .ptr): return .nodata
        case ("5.2.0.192.in-addr.arpa", .ptr): return .failure(.timedOut)
        case ("6.2.0.192.in-addr.arpa", .ptr): return named("other.example", "slow.example")
        case ("slow.example", .a): return .failure(.server(rcode: 2))
        case (
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", .ptr
        ):
            return named("six.example")
        case ("six.example", .aaaa): return .records([.address("2001:db8::1")])
        // Ten names that lead nowhere before the one that leads back.
        case ("7.2.0.192.in-addr.arpa", .ptr):
            let names = (1...10).map { "n\($0).example" } + ["back.example"]
            return .records(names.compactMap { DNSName($0) }.map { .name($0) })
        case ("back.example", .a): return .records([.address("192.0.2.7")])
        default: return .nxdomain
        }
    }

    @Test(arguments: [
        ("192.0.2.1", "", "pass", "mx.example" as String?, 1 as Int?),
        ("2001:db8::1", "", "pass", "six.example", 1),
        ("192.0.2.2", "", "fail", nil, -1),
        ("192.0.2.2", "match network", "pass", "near.example", nil),
        ("192.0.2.3", "", "fail", nil, -1),
        ("192.0.2.4", "", "permerror", nil, -1),
        ("192.0.2.5", "reject 1", "temperror", nil, nil),
        ("192.0.2.6", "reject 1", "temperror", nil, nil),
        ("192.0.2.7", "", "fail", nil, -1),
        ("192.0.2.99", "", "permerror", nil, -1),
    ])
    func `a client has the name that leads back to it`(
        client: String,
        arguments: String,
        result: String,
        name: String?,
        karma: Int?
    ) async throws {
        let session = try await TestSession(
            [FCrDNS.self],
            plugins: "fcrdns \(arguments)",
            resolver: Self.resolver
        )
        session.clientIP = client
        #expect(try await session.connect() == .declined)
        #expect(session.note(Self.iprev) == result)
        #expect(session.clientName == name)
        #expect(session.note(.karma) == karma)
    }

    @Test(arguments: [("192.0.2.2", "match exact"), ("192.0.2.3", ""), ("192.0.2.4", "")])
    func `reject 1 refuses a client without one`(client: String, arguments: String) async throws {
        let session = try await TestSession(
            [FCrDNS.self],
            plugins: "fcrdns reject 1 reject_type temp \(arguments)",
            resolver: Self.resolver
        )
        session.clientIP = client
        let text = "Client host \(client) has no name that leads back to it"
        #expect(try await session.connect() == .denysoft(text, status: "4.7.25"))
    }

    @Test func `relay clients are left alone`() async throws {
        let session = try await TestSession(
            [FCrDNS.self],
            plugins: "fcrdns reject 1",
            resolver: Self.resolver
        )
        session.relay = true
        session.clientIP = "192.0.2.4"
        #expect(try await session.connect() == .declined)
    }
}
