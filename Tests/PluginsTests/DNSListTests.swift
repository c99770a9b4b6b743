import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

struct ListCodesTests {
    @Test(arguments: [
        ("127.0.0.2", ["127.0.0.2"], ["127.0.0.3", "127.0.1.2", "::2"]),
        ("127.0.0.[2..11]", ["127.0.0.2", "127.0.0.11"], ["127.0.0.1", "127.0.0.12"]),
        ("127.[0;2..3].0.[4;6]", ["127.0.0.4", "127.3.0.6"], ["127.1.0.4", "127.0.0.5"]),
        ("127.0.[0..255].0", ["127.0.255.0"], ["127.0.255.1"]),
    ])
    func `a pattern means these addresses`(text: String, yes: [String], no: [String]) throws {
        let codes = try #require(ListCodes(text))
        for address in yes { #expect(codes.contains(try #require(IPAddress(parsing: address)))) }
        for address in no { #expect(!codes.contains(try #require(IPAddress(parsing: address)))) }
    }

    @Test(arguments: [
        "", "127", "127.0.0", "127.0.0.2.3", "127.0.0.256", "127.0.0.[", "127.0.0.[]",
        "127.0.0.[2..]", "127.0.0.[..2]", "127.0.0.[5..2]", "127.0.0.[2;]", "127.0.0.2;3",
        "127.0.0.+2", "127.0.0.[2]x", "127..0.2", "a.b.c.d", "127.0.0.[2.11]", "127.0.0.[2...11]",
    ])
    func `anything else is none`(text: String) { #expect(ListCodes(text) == nil) }
}

struct DNSListTests {
    private func list(_ line: String) throws -> DNSList {
        try DNSList(ControlLine(text: line, file: "dnsbl_zones", number: 7))
    }

    @Test(arguments: [
        ("zen.example", "zen.example", 1, nil as String?, false),
        ("zen.example:Go away, %IP%", "zen.example", 1, "Go away, %IP%", false),
        ("zen.example  Go away: now", "zen.example", 1, "Go away: now", false),
        ("zen.example=127.0.0.[2..11]*3:no", "zen.example", 3, "no", true),
        ("zen.example*-2", "zen.example", -2, nil, false),
        ("ZEN.example.=127.0.0.2", "zen.example", 1, nil, true),
    ])
    func `a line names a list`(
        line: String,
        zone: String,
        weight: Int,
        text: String?,
        hasCodes: Bool
    ) throws {
        let list = try self.list(line)
        #expect(list.zone.text == zone)
        #expect(list.weight == weight)
        #expect(list.text == text)
        #expect((list.codes != nil) == hasCodes)
    }

    @Test(arguments: [
        "zen.example*x", "zen.example*", "zen.example*99999", "zen.example=127.0.0", "=127.0.0.2",
        "a..b", ".", "zen.example=",
    ])
    func `a line that is wrong names itself`(line: String) {
        let error = #expect(throws: PluginError.self) { try self.list(line) }
        #expect(error?.description.hasPrefix("dnsbl_zones:7: ") == true)
    }

    @Test func `a file has a limit`() throws {
        let lines = (1...65).map {
            ControlLine(text: "z\($0).example", file: "dnsbl_zones", number: $0)
        }
        #expect(try DNSList.lists(Array(lines.dropLast())).count == 64)
        let error = #expect(throws: PluginError.self) { try DNSList.lists(lines) }
        #expect(error?.description.hasPrefix("dnsbl_zones:65: ") == true)
    }
}

/// A DNS with lists of every kind; the client is 192.0.2.1 or 2001:db8::1.
private let lists = TestResolver { name, type in
    let reversed = "1.2.0.192"
    let reversed6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    switch (name, type) {
    case ("\(reversed).bad.example", .a), ("\(reversed6).bad.example", .a):
        return .records([.address("127.0.0.4")])
    case ("\(reversed).bad.example", .txt): return .records([.text("see https://bad.example/")])
    case ("\(reversed).policy.example", .a):
        return .records([.address("127.0.0.10"), .address("127.0.0.2")])
    case (_, .a) where name.hasSuffix(".all.example"): return .records([.address("127.0.0.2")])
    case (_, .a) where name.hasSuffix(".parked.example"):
        return .records([.address("198.51.100.9")])
    case (_, .a) where name.hasSuffix(".public.example"):
        return .records([.address("127.255.255.254")])
    case (_, .a) where name.hasSuffix(".down.example"): return .failure(.timedOut)
    case ("\(reversed).full.example", .a): return .records([.address("127.0.0.255")])
    case ("evil.example.rhs.example", .a), ("evil.example.rhs2.example", .a):
        return .records([.address("127.0.1.2")])
    case (_, .a) where name.hasSuffix(".rhsall.example"): return .records([.address("127.0.0.2")])
    default: return .nxdomain
    }
}

struct DNSBLTests {
    private static let zones = NoteKey<[String]>("dnsbl", in: .session)

    private func session(
        _ files: [String: String],
        _ arguments: String = ""
    ) async throws -> TestSession {
        try await TestSession(
            [DNSBL.self],
            plugins: "dnsbl \(arguments)",
            files: files,
            resolver: lists
        )
    }

    @Test(arguments: [
        ("bad.example", "see https://bad.example/"),
        ("bad.example:%IP% is in %ZONE% with %CODE%", "192.0.2.1 is in bad.example with 127.0.0.4"),
        ("policy.example", "Client host 192.0.2.1 is listed by policy.example"),
        // The text of the one that counts most.
        ("bad.example:bad\npolicy.example*2:policy", "policy"),
        ("gone.example\nbad.example:bad", "bad"),
        // The others say nothing.
        ("down.example\nall.example\nparked.example\npublic.example\nbad.example:bad", "bad"),
    ])
    func `a listed client is refused`(zones: String, text: String) async throws {
        let session = try await self.session(["dnsbl_zones": zones])
        #expect(try await session.connect() == .deny(text, status: "5.7.1"))
        #expect(session.note(.karma) == -1)
    }

    @Test(arguments: [
        "", "gone.example", "all.example", "parked.example", "public.example", "down.example",
        "bad.example=127.0.0.[5..9]", "bad.example*-1", "bad.example\npolicy.example*-1",
    ])
    func `any other is not`(zones: String) async throws {
        let session = try await self.session(["dnsbl_zones": zones])
        #expect(try await session.connect() == .declined)
        #expect(session.note(.karma) == nil)
    }

    @Test func `weights add up to a threshold`() async throws {
        let zones = ["dnsbl_zones": "bad.example*2\npolicy.example=127.0.0.2*3"]
        for (threshold, verdict) in [(5, Verdict.deny), (6, .declined)] {
            let session = try await self.session(zones, "threshold \(threshold)")
            #expect(try await session.connect().verdict == verdict)
            #expect(session.note(Self.zones) == ["bad.example", "policy.example"])
        }
    }

    @Test func `an IPv6 client is looked up by its nibbles`() async throws {
        let session = try await self.session(["dnsbl_zones": "bad.example:bad"])
        session.clientIP = "2001:db8::1"
        #expect(try await session.connect().verdict == .deny)
        session.clientIP = "2001:db8::2"
        #expect(try await session.connect() == .declined)
    }

    @Test(arguments: ["192.0.2.1", "192.0.2.0/24", "192.0."])
    func `dnsbl_allow leaves clients alone`(line: String) async throws {
        let files = ["dnsbl_zones": "bad.example", "dnsbl_allow": line]
        #expect(try await self.session(files).connect() == .declined)
    }

    @Test(arguments: ["127.0.0.1", "10.1.2.3", "192.168.0.9", "fe80::1", "fd00::1"])
    func `a private address is not looked up`(client: String) async throws {
        let session = try await self.session(["dnsbl_zones": "all.example"])
        session.clientIP = client
        #expect(try await session.connect() == .declined)
    }

    @Test func `relay clients are left alone`() async throws {
        let session = try await self.session(["dnsbl_zones": "bad.example"])
        session.relay = true
        #expect(try await session.connect() == .declined)
    }

    @Test func `one text for all lists`() async throws {
        let files = ["dnsbl_zones": "bad.example", "dnsbl_rejectmsg": "No: %ZONE% has %IP%"]
        let answer = try await self.session(files).connect()
        #expect(answer.reply?.text == ["No: bad.example has 192.0.2.1"])
    }

    @Test func `at rcpt the postmaster can be reached`() async throws {
        let files = ["dnsbl_zones": "bad.example:bad"]
        let session = try await self.session(files, "at rcpt reject_type temp")
        #expect(try await session.connect() == .declined)
        #expect(try await session.mail(from: "bob@example.net") == .declined)
        #expect(
            try await session.rcpt(to: "alice@example.com") == .denysoft("bad", status: "4.7.1")
        )
        for local in ["postmaster", "Abuse", "MAILER-DAEMON", "root"] {
            #expect(try await session.rcpt(to: "\(local)@example.com") == .declined)
        }
        // That one was for it alone.
        #expect(try await session.rcpt(to: "carol@example.com").verdict == .denysoft)
    }

    @Test func `at connect RCPT is not asked about`() async throws {
        let session = try await self.session(["dnsbl_zones": "bad.example"])
        #expect(session.plugins(at: .rcpt).isEmpty)
    }

    @Test func `reject 0 and naughty do not refuse`() async throws {
        for arguments in ["reject 0", "reject naughty"] {
            let session = try await self.session(["dnsbl_zones": "bad.example"], arguments)
            #expect(try await session.connect() == .declined)
            #expect(session.note(.karma) == -1)
            #expect((session.note(.naughty)?.count ?? 0) == (arguments == "reject 0" ? 0 : 1))
        }
    }
}

struct DNSWLTests {
    private func host(_ zones: String, relay: Bool = false) async throws -> JSONValue? {
        let session = try await TestSession(
            [DNSWL.self],
            plugins: "dns_whitelist_soft",
            files: ["whitelist_zones": zones],
            resolver: lists
        )
        session.relay = relay
        #expect(try await session.connect() == .declined)
        return session.note(.whitelisthost)
    }

    @Test(arguments: [
        ("bad.example", "bad.example"), ("bad.example known", "known"),
        ("gone.example\nbad.example=127.0.0.[4..5]", "bad.example"),
        ("full.example\nbad.example", "bad.example"),
    ])
    func `a client that a list vouches for is left alone`(zones: String, note: String) async throws
    {
        #expect(try await self.host(zones) == .string(note))
    }

    @Test(arguments: [
        "", "gone.example", "bad.example=127.0.0.5", "all.example", "down.example", "full.example",
    ])
    func `any other is not`(zones: String) async throws {
        #expect(try await self.host(zones) == nil)
        #expect(try await self.host("bad.example", relay: true) == nil)
    }
}

struct RHSBLTests {
    private func answer(
        _ zones: String,
        _ arguments: String = "",
        sender: String = "bob@Evil.example",
        helo: String? = nil,
        name: String? = nil
    ) async throws -> Answer {
        let session = try await TestSession(
            [RHSBL.self],
            plugins: "rhsbl \(arguments)",
            files: ["rhsbl_zones": zones],
            resolver: lists
        )
        session.clientName = name
        if let helo { _ = try await session.ehlo(helo) }
        return try await session.mail(from: sender)
    }

    @Test func `a sender of a listed domain is refused`() async throws {
        #expect(
            try await self.answer("rhs.example  %DOMAIN% is known")
                == .deny("evil.example is known", status: "5.7.1")
        )
        #expect(
            try await self.answer("rhs.example").reply?.text
                == ["Mail from evil.example is refused: see rhs.example"]
        )
    }

    @Test(arguments: ["bob@good.example", "", "bob@[192.0.2.1]", "bob@localhost"])
    func `any other is not`(sender: String) async throws {
        #expect(try await self.answer("rhs.example", sender: sender) == .declined)
        #expect(try await self.answer("rhsall.example", sender: "bob@evil.example") == .declined)
    }

    @Test func `names of the client are asked about where the operator wants`() async throws {
        let good = "bob@good.example"
        #expect(
            try await self.answer("rhs.example", sender: good, helo: "evil.example") == .declined
        )
        #expect(
            try await self.answer("rhs.example", "helo 1", sender: good, helo: "evil.example")
                .verdict == .deny
        )
        #expect(
            try await self.answer(
                "rhs.example",
                "client_name 1",
                sender: good,
                name: "evil.example"
            )
            .verdict == .deny
        )
        #expect(
            try await self.answer("rhs.example", "helo 1", sender: "", helo: "evil.example")
                .verdict == .deny
        )
    }

    @Test func `a list counts once, however many names it has`() async throws {
        let both = ("evil.example", "evil.example")
        #expect(
            try await self.answer("rhs.example", "threshold 2 helo 1", helo: both.0) == .declined
        )
        #expect(
            try await self.answer("rhs.example\nrhs2.example", "threshold 2").verdict == .deny
        )
    }
}
