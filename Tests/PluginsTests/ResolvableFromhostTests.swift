import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

@Suite struct ResolvableFromhostTests {
    private typealias Fake = FakeDNSServer

    private static let table: [Fake.Question: Fake.Response] = [
        .init("mx.test", 15): .records([Fake.mx(10, "a.mx.test"), Fake.mx(20, "b.mx.test")]),
        .init("a.mx.test", 1): .records([[192, 0, 2, 1]]),
        .init("a.mx.test", 28): .nodata,
        .init("b.mx.test", 1): .records([[198, 51, 100, 1]]),
        .init("b.mx.test", 28): .nodata,
        .init("six.test", 15): .records([Fake.mx(10, "six.mx.test")]),
        .init("six.mx.test", 1): .nodata,
        .init("six.mx.test", 28): .records([
            [0x20, 1, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [1]
        ]),
        .init("a.test", 15): .nodata,
        .init("a.test", 1): .records([[192, 0, 2, 1], [203, 0, 113, 7]]),
        .init("a.test", 28): .nodata,
        .init("null.test", 15): .records([Fake.mx(0, "")]),
        .init("nothing.test", 15): .nodata,
        .init("nothing.test", 1): .nodata,
        .init("nothing.test", 28): .nodata,
        .init("dangling.test", 15): .records([Fake.mx(10, "gone.test")]),
        .init("servfail.test", 15): .servfail,
        .init("half.test", 15): .records([Fake.mx(10, "broken.test")]),
        .init("broken.test", 1): .servfail,
        .init("broken.test", 28): .nodata,
        .init("silent.test", 15): .silence,
        .init("ip.test", 15): .records([Fake.mx(10, "192.0.2.9")]),
        .init("xn--bcher-kva.test", 15): .records([Fake.mx(10, "a.mx.test")]),
    ]

    private func session(
        _ arguments: String = "",
        invalid: String = "",
        timeout: Int = 30_000
    ) async throws -> (TestSession, FakeDNSServer) {
        let server = try FakeDNSServer(Self.table)
        let session = try await TestSession(
            [ResolvableFromhost.self],
            plugins: "resolvable_fromhost \(arguments)",
            files: [
                "invalid_resolvable_fromhost": invalid,
                "worker.toml":
                    "[dns]\nservers = [\"\(server.address)\"]\ntimeout_ms = \(timeout)\n",
            ]
        )
        return (session, server)
    }

    private static let result = NoteKey<String>("resolvable_fromhost", in: .transaction)
    private static let host = NoteKey<String>("resolvable_fromhost_host", in: .transaction)

    @Test func `a resolver for tests stands in for the DNS`() async throws {
        let resolver = TestResolver { name, type in
            switch (name, type) {
            case ("example.net", .mx): .records([.mx(20, "b.example"), .mx(10, "a.example")])
            case ("a.example", .a): .records([.address("192.0.2.1")])
            case ("a.example", .aaaa): .nodata
            case ("slow.example", _): .failure(.timedOut)
            default: .nxdomain
            }
        }
        let session = try await TestSession(
            [ResolvableFromhost.self],
            plugins: "resolvable_fromhost",
            resolver: resolver
        )
        #expect(try await session.mail(from: "bob@Example.NET") == .declined)
        #expect(resolver.questions.first == .init(name: "example.net", type: .mx))
        #expect(Set(resolver.questions.dropFirst().map(\.name)) == ["a.example"])
        #expect(try await session.mail(from: "bob@slow.example").reply?.code == 451)
        #expect(try await session.mail(from: "bob@absent.example").reply?.code == 450)
    }

    @Test(arguments: [
        ("bob@mx.test", "mx"), ("bob@MX.test", "mx"), ("bob@six.test", "mx"), ("bob@a.test", "a"),
        ("bob@ip.test", "mx"), ("bob@bücher.test", "mx"), ("", "null"), ("bob@[192.0.2.1]", "ip"),
        ("bob@[IPv6:2001:db8::1]", "ip"),
    ])
    func `a sender who could get an answer passes`(sender: String, note: String) async throws {
        let (session, server) = try await self.session()
        defer { server.stop() }
        #expect(try await session.mail(from: sender) == .declined)
        #expect(session.note(Self.result) == note)
        #expect(session.note(.karma) == nil)
        await session.stop()
    }

    @Test(arguments: [
        "bob@absent.test", "bob@nothing.test", "bob@dangling.test", "bob@a..b", "bob@[x]",
    ])
    func `a sender who could not is refused, by default for now`(sender: String) async throws {
        for (arguments, verdict, code, status) in [
            ("", Verdict.denysoft, 450, "4.1.8"), ("reject_type perm", .deny, 550, "5.1.8"),
            ("reject_type disconnect", .deny_disconnect, 550, "5.1.8"),
        ] {
            let (session, server) = try await self.session(arguments)
            defer { server.stop() }
            let answer = try await session.mail(from: sender)
            #expect(answer.verdict == verdict)
            #expect(answer.reply?.code == code && answer.reply?.status == status)
            #expect(answer.reply?.text == ["FQDN required in the envelope sender"])
            #expect(session.note(.karma) == -1)
            await session.stop()
        }
    }

    @Test func `reject 0 and naughty do not refuse`() async throws {
        for arguments in ["reject 0", "reject naughty"] {
            let (session, server) = try await self.session(arguments)
            defer { server.stop() }
            #expect(try await session.mail(from: "bob@absent.test") == .declined)
            #expect(session.note(.karma) == -1)
            #expect((session.note(.naughty)?.count ?? 0) == (arguments == "reject 0" ? 0 : 1))
            await session.stop()
        }
    }

    @Test func `a null MX is refused for good, whatever the type`() async throws {
        let (session, server) = try await self.session("reject_type temp")
        defer { server.stop() }
        let answer = try await session.mail(from: "bob@null.test")
        #expect(answer.verdict == .deny)
        #expect(answer.reply?.code == 550 && answer.reply?.status == "5.7.27")
        await session.stop()
    }

    @Test(arguments: ["bob@servfail.test", "bob@half.test", "bob@silent.test"])
    func `while the DNS is failing the answer is 451, whatever the type`(
        sender: String
    ) async throws {
        for arguments in ["", "reject_type perm", "reject naughty"] {
            let (session, server) = try await self.session(arguments, timeout: 300)
            defer { server.stop() }
            let answer = try await session.mail(from: sender)
            #expect(answer.verdict == .denysoft)
            #expect(answer.reply?.code == 451 && answer.reply?.status == "4.4.3")
            #expect(session.note(.karma) == nil)
            await session.stop()
        }
        let (session, server) = try await self.session("reject 0", timeout: 300)
        defer { server.stop() }
        #expect(try await session.mail(from: sender) == .declined)
        await session.stop()
    }

    @Test func `addresses in invalid networks do not count, any other does`() async throws {
        for (invalid, sender, verdict) in [
            ("192.0.2.0/24", "bob@mx.test", Verdict.declined),
            ("192.0.2.0/24\n198.51.100.1", "bob@mx.test", .denysoft),
            ("192.0.2.0/24", "bob@a.test", .declined),
            ("192.0.2.1\n203.0.113.0/24", "bob@a.test", .denysoft),
            ("2001:db8::/32", "bob@six.test", .denysoft),
            ("2001:db8::2", "bob@six.test", .declined),
            ("192.0.2.9", "bob@ip.test", .denysoft),
        ] {
            let (session, server) = try await self.session(invalid: invalid)
            defer { server.stop() }
            #expect(try await session.mail(from: sender).verdict == verdict, "\(invalid) \(sender)")
            await session.stop()
        }
    }

    @Test func `the domain is noted, and immune sessions are not asked about`() async throws {
        let (session, server) = try await self.session()
        defer { server.stop() }
        try await session.mail(from: "bob@mx.test")
        #expect(session.note(Self.host) == "mx.test")
        session.relay = true
        let before = server.questions.count
        #expect(try await session.mail(from: "bob@absent.test") == .declined)
        #expect(server.questions.count == before)
        await session.stop()
    }

    @Test func `the best MX is asked for alone, and the others only if they are needed`()
        async throws
    {
        let (session, server) = try await self.session()
        defer { server.stop() }
        try await session.mail(from: "bob@mx.test")
        #expect(!server.questions.contains(.init("b.mx.test", 1)))
        await session.stop()
    }

    @Test func `the old name loads it, and a bad list is an error at start`() async throws {
        await #expect(throws: (any Error).self) {
            _ = try await self.session(invalid: "300.0.0.0/8")
        }
        #expect(ResolvableFromhost.aliases == ["require_resolvable_fromhost"])
    }
}
