import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

struct HeloTests {
    private static let resolver = TestResolver { name, type in
        func named(_ names: String...) -> DNSAnswer {
            .records(names.compactMap { DNSName($0) }.map { .name($0) })
        }
        switch (name, type) {
        case ("good.test", .a): return .records([.address("192.0.2.1")])
        case ("near.test", .a): return .records([.address("192.0.2.99")])
        case ("six.test", .aaaa): return .records([.address("2001:db8::1")])
        case ("far.test", .a), ("out.mail.test", .a), ("a.b.mail.test", .a), ("x.co.uk", .a):
            return .records([.address("198.51.100.1")])
        case ("slow.test", _): return .failure(.timedOut)
        case ("half.test", .a): return .records([.address("192.0.2.1")])
        case ("half.test", .aaaa): return .failure(.server(rcode: 2))
        case ("1.2.0.192.in-addr.arpa", .ptr):
            return named("x.example", "good.test", "in.mail.test", "y.co.uk")
        case ("2.2.0.192.in-addr.arpa", .ptr): return .nodata
        case ("3.2.0.192.in-addr.arpa", .ptr): return .failure(.server(rcode: 2))
        case ("4.2.0.192.in-addr.arpa", .ptr): return named("other.example")
        case (let name, .ptr) where name.hasSuffix("8.b.d.0.1.0.0.2.ip6.arpa"):
            return named("six.test")
        default: return .nxdomain
        }
    }

    private static func session(
        _ arguments: String,
        client: String = "192.0.2.1",
        badhelo: String = ""
    ) async throws -> TestSession {
        let session = try await TestSession(
            [Helo.self],
            plugins: "helo \(arguments)",
            files: ["badhelo": badhelo],
            resolver: Self.resolver
        )
        session.clientIP = client
        return session
    }

    /// A name, a client, and the first policy that refuses it.
    @Test(arguments: [
        ("good.test", "192.0.2.1", nil as String?), ("GOOD.test.", "192.0.2.1", nil),
        ("192.0.2.1", "192.0.2.1", "lenient"), ("198.51.100.1", "192.0.2.1", "lenient"),
        ("2001:db8::1", "2001:db8::1", "lenient"), ("[192.0.2.1]", "192.0.2.1", "strict"),
        ("[IPv6:2001:db8::1]", "2001:db8::1", "strict"),
        ("[ipv6:2001:db8::2]", "2001:db8::1", "lenient"),
        ("[198.51.100.1]", "192.0.2.1", "lenient"), ("[192.168.1.2]", "192.0.2.1", "strict"),
        ("[127.0.0.1]", "192.0.2.1", "lenient"), ("[x]", "192.0.2.1", "rfc"),
        ("localhost", "192.0.2.1", "lenient"), ("LOCALHOST.localdomain", "192.0.2.1", "lenient"),
        ("localhost", "127.0.0.1", nil), ("localhost", "::1", nil), ("host", "192.0.2.1", "rfc"),
        ("a b.test", "192.0.2.1", "rfc"), ("absent.test", "192.0.2.1", "rfc"),
        ("good.test", "192.0.2.2", "rfc"), ("good.test", "192.0.2.3", nil),
        ("far.test", "192.0.2.3", nil), ("slow.test", "192.0.2.4", nil),
        ("slow.test", "192.0.2.2", "rfc"),
        ("half.test", "192.0.2.1", nil), ("six.test", "2001:db8::1", nil),
        ("near.test", "192.0.2.4", nil),
        ("far.test", "192.0.2.4", "strict"), ("out.mail.test", "192.0.2.1", nil),
        ("a.b.mail.test", "192.0.2.1", nil),
        ("x.co.uk", "192.0.2.1", "strict"),
    ])
    func `each policy refuses more`(name: String, client: String, first: String?) async throws {
        let policies = ["lenient", "rfc", "strict"]
        for policy in policies {
            let session = try await Self.session("policy \(policy)", client: client)
            let answer = try await session.ehlo(name)
            let isRefused = first.map {
                (policies.firstIndex(of: $0) ?? 9) <= (policies.firstIndex(of: policy) ?? 0)
            }
            #expect(
                answer.verdict == (isRefused == true ? .deny_disconnect : .declined),
                "\(policy) \(name) \(client)"
            )
            if isRefused == true {
                #expect(answer.reply?.status == "5.7.1" && session.note(.karma) == -1)
            }
            let other = try await Self.session("policy \(policy)", client: client)
            #expect(try await other.helo(name) == answer)
        }
    }

    @Test func `a full match is worth karma once`() async throws {
        for (name, karma) in [("good.test", 1 as Int?), ("near.test", nil), ("far.test", nil)] {
            let session = try await Self.session("policy rfc")
            try await session.ehlo(name)
            try await session.ehlo(name)
            #expect(session.note(.karma) == karma, "\(name)")
            #expect(session.note(.heloForwardMatch) == (name != "far.test"))
            #expect(session.note(.heloReverseMatch) == (name == "good.test"))
        }
        let session = try await Self.session("policy lenient")
        try await session.ehlo("good.test")
        #expect(session.note(.karma) == nil && session.note(.heloForwardMatch) == nil)
    }

    @Test(arguments: [
        ("bad.test", true), ("BAD.test", true), ("x.bad.test", false), ("dyn-12.test", true),
        ("xdyn-12.test", false), ("good.test", false), ("good.invalid", true),
    ])
    func `badhelo names names and patterns`(name: String, isBad: Bool) async throws {
        let session = try await Self.session(
            "reject_type perm",
            badhelo: "bad.test\n^dyn-[0-9]+\n!\\.test$\n"
        )
        let answer = try await session.helo(name)
        #expect(answer.verdict == (isBad ? .deny : .declined))
    }

    @Test func `a pattern that does not compile is named with its line`() async throws {
        await #expect(throws: (any Error).self) { _ = try await Self.session("", badhelo: "a\n(") }
    }

    @Test func `reject and reject_type are honoured`() async throws {
        for (arguments, verdict) in [
            ("reject 0", Verdict.declined), ("reject naughty", .declined),
            ("reject_type temp", .denysoft),
            ("reject_type perm", .deny), ("", .deny_disconnect),
        ] {
            let session = try await Self.session(arguments)
            #expect(try await session.ehlo("localhost").verdict == verdict, "\(arguments)")
            #expect((session.note(.naughty)?.count ?? 0) == (arguments == "reject naughty" ? 1 : 0))
        }
        let session = try await Self.session("policy strict")
        session.relay = true
        #expect(try await session.ehlo("localhost") == .declined)
    }

    @Test func `the field X-HELO is optional, and takes the place of others`() async throws {
        let without = try await Self.session("")
        #expect(without.plugins(at: .data_post).isEmpty)
        let session = try await Self.session("x_helo 1 reject 0")
        try await session.ehlo("good\u{7}.test")
        try await session.mail(from: "bob@example.org")
        try await session.message("x-helo: forged\r\nSubject: x\r\n\r\n")
        #expect(session.headers.map(\.name) == ["X-HELO", "Subject"])
        #expect(session.headers.first?.value == " good?.test")
    }
}
