import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

@Suite struct LimitRuleTests {
    private func rule(_ text: String) throws -> LimitRule {
        try LimitRule(words: text.split(separator: " ").map { String($0) })
    }

    @Test func `a rule is read`() throws {
        let rule = try self.rule("Recipients per sender,CLIENT 100/2h burst 10 Slow down, please")
        #expect(rule.subject == .recipients && rule.keys == [.client, .sender])
        #expect(rule.count == 100 && rule.window == 7_200 && rule.burst == 10)
        #expect(rule.text == "Slow down, please")
        #expect(rule.description == "Recipients per sender,CLIENT 100/2h burst 10")
    }

    @Test(
        arguments: [
            ("60", 60), ("30s", 30), ("10m", 600), ("1h", 3_600), ("31d", 2_678_400),
            ("minute", 60),
            ("hour", 3_600), ("day", 86_400), ("week", 604_800),
        ] as [(String, Int64)]
    )
    func `times`(text: String, seconds: Int64) throws {
        #expect(try self.rule("messages per client 5/\(text)").window == seconds)
    }

    @Test(arguments: [
        "", "messages", "messages per client", "messages for client 5/1h", "mails per client 5/1h",
        "messages per host 5/1h", "messages per client 5", "messages per client 0/1h",
        "messages per client 5/0h", "messages per client 5/32d", "messages per client 5/1y",
        "messages per client -5/1h", "messages per client 1000001/1h", "messages per , 5/1h",
        "messages per client 5/1h burst", "messages per client 5/1h burst 6",
        "messages per client 5/1h burst 0", "messages per recipient 5/1h",
        "messages per all,client 5/1h",
        "connections per helo 5/1h", "connections per user 5/1h", "errors per sender 5/1h",
        "errors per client 5/1h burst 2", "messages per client 5/99999999999999999999d",
    ])
    func `what is no rule is named`(text: String) {
        #expect(throws: PluginError.self) { try self.rule(text) }
    }

    @Test func `a bucket holds a burst and empties evenly`() throws {
        let rule = try self.rule("messages per client 60/1m burst 3")
        var value: Int64?
        for _ in 0..<3 { value = rule.fill(value, at: 1_000_000) }
        #expect(rule.fill(value, at: 1_000_000) == nil)
        #expect(rule.fill(value, at: 1_999_999) == nil)
        value = rule.fill(value, at: 2_000_000)
        #expect(rule.fill(value, at: 2_000_000) == nil)
        // After a rest it holds no more than a burst.
        value = nil
        for _ in 0..<3 { value = rule.fill(value, at: 100_000_000) }
        #expect(rule.fill(value, at: 100_000_000) == nil)
        // A time that another clock left is not waited for.
        value = .max / 2
        #expect(rule.fill(value, at: 0) == nil)
        #expect(rule.fill(4_000_000, at: 1_000_000) == nil)
        #expect(rule.fill(3_000_000, at: 1_000_000) == 4_000_000)
    }
}

@Suite struct RateLimitTests {
    private func session(
        _ line: String = "limit",
        limits: String = ""
    ) async throws -> TestSession {
        try await TestSession([RateLimit.self], plugins: line, files: ["limits": limits])
    }

    private static let bob = "bob@example.net"

    private func refused(_ what: String, _ code: Int? = 451) -> Answer {
        .denysoft("Too many \(what), try again later", code: code, status: "4.7.0")
    }

    @Test func `connections of a client`() async throws {
        let session = try await self.session(limits: "connections per client 2/1h\n")
        for _ in 0..<2 { #expect(try await session.connect() == .declined) }
        #expect(try await session.connect() == self.refused("connections", nil))
        session.clientIP = "192.0.2.2"
        #expect(try await session.connect() == .declined)
        session.clientIP = "192.0.2.1"
        session.clock.advance(by: .seconds(3_600))
        #expect(try await session.connect() == .declined)
        #expect(try await session.store.get("limit/connections 3600s client=192.0.2.1") == "1")
    }

    @Test(arguments: [
        ("client", "192.0.2.1", "192.0.2.2", false), ("network", "192.0.2.1", "192.0.2.2", true),
        ("network", "192.0.2.1", "192.0.3.1", false),
        ("client", "2001:db8::1", "2001:db8::2", true),
        ("client", "2001:db8::1", "2001:db8:0:1::1", false),
        ("network", "2001:db8::1", "2001:db8:0:1::1", true),
        ("all", "192.0.2.1", "2001:db8::1", true),
    ])
    func `clients and networks`(
        key: String,
        one: String,
        other: String,
        isTogether: Bool
    ) async throws {
        let session = try await self.session(limits: "connections per \(key) 1/1h\n")
        session.clientIP = one
        #expect(try await session.connect() == .declined)
        session.clientIP = other
        #expect((try await session.connect().verdict == .denysoft) == isTogether)
    }

    @Test func `messages by sender and its domain`() async throws {
        let limits = "messages per sender 1/1h\nmessages per sender_domain 2/1h slow down\n"
        let session = try await self.session(limits: limits)
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.mail(from: "BOB@example.NET") == self.refused("messages"))
        #expect(
            try await session.mail(from: "al@example.net")
                == .denysoft("slow down", code: 451, status: "4.7.0")
        )
        for _ in 0..<2 {
            let answer = try await session.mail(from: "")
            #expect([.declined, self.refused("messages")].contains(answer))
        }
    }

    @Test func `recipients by any combination`() async throws {
        let session = try await self.session(limits: "recipients per helo,sender,recipient 1/1h\n")
        try await session.helo("a.example")
        try await session.mail(from: Self.bob)
        #expect(try await session.rcpt(to: "jo@example.com") == .declined)
        #expect(try await session.rcpt(to: "al@example.com") == .declined)
        #expect(try await session.rcpt(to: "JO@example.com") == self.refused("recipients"))
        try await session.mail(from: "other@example.net")
        #expect(try await session.rcpt(to: "jo@example.com") == .declined)
        try await session.helo("b.example")
        try await session.mail(from: Self.bob)
        #expect(try await session.rcpt(to: "jo@example.com") == .declined)
    }

    @Test func `what is not known is not limited`() async throws {
        let limits = "messages per user 1/1h\nmessages per asn 1/1h\nmessages per helo 1/1h\n"
        let session = try await self.session(limits: limits)
        for _ in 0..<3 { #expect(try await session.mail(from: Self.bob) == .declined) }
        session.setNote(NoteKey<String>("geoip_asn", in: .session), to: "AS64496")
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.mail(from: Self.bob) == self.refused("messages"))
        session.setNote(NoteKey<Int>("geoip_asn", in: .session), to: 64_497)
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.mail(from: Self.bob) == self.refused("messages"))
    }

    @Test func `immune sessions are limited as users alone, or wholly`() async throws {
        let limits = "messages per user 2/1h\nmessages per client 1/1h\n"
        for line in ["limit", "limit immune count"] {
            let session = try await self.session(line, limits: limits)
            session.authentication = .init(mechanism: "PLAIN", user: "Jo")
            session.relay = true
            #expect(try await session.mail(from: Self.bob) == .declined)
            let second = try await session.mail(from: Self.bob)
            #expect((second == .declined) == (line == "limit"))
            #expect(try await session.mail(from: Self.bob) == self.refused("messages"))
            #expect(session.note(.karma) == nil)
        }
    }

    @Test func `errors of plugins and of SMTP`() async throws {
        let session = try await self.session(limits: "errors per client 3/1h\n")
        func denied(_ verdict: String, by plugin: String) async throws {
            try await session.notify(
                .deny,
                ["hook": .string("rcpt"), "verdict": .string(verdict), "plugin": .string(plugin)]
            )
        }
        try await denied("deny", by: "rcpt_ok")
        try await denied("deny_disconnect", by: "rcpt_ok")
        try await denied("denysoft", by: "greylisting")
        try await denied("deny", by: "limit:1")
        #expect(try await session.connect() == .declined)
        try await denied("deny", by: "badrcptto")
        #expect(try await session.connect() == self.refused("errors", nil))
        session.clock.advance(by: .seconds(3_600))
        #expect(try await session.connect() == .declined)
    }

    @Test func `errors by what is known later are looked at at MAIL`() async throws {
        let session = try await self.session(limits: "errors per helo 1/1h\n")
        try await session.helo("a.example")
        try await session.notify(
            .deny,
            ["hook": .string("rcpt"), "verdict": .string("deny"), "plugin": .string("x")]
        )
        #expect(try await session.connect() == .declined)
        #expect(try await session.mail(from: Self.bob) == self.refused("errors"))
    }

    @Test func `karma is lost once a session`() async throws {
        let session = try await self.session(limits: "recipients per client 1/1h\n")
        try await session.mail(from: Self.bob)
        for _ in 0..<5 { try await session.rcpt(to: "jo@example.com") }
        #expect(session.note(.karma) == -1)
    }

    @Test func `a burst`() async throws {
        let session = try await self.session(limits: "messages per client 60/1h burst 2\n")
        for _ in 0..<2 { #expect(try await session.mail(from: Self.bob) == .declined) }
        #expect(try await session.mail(from: Self.bob) == self.refused("messages"))
        session.clock.advance(by: .seconds(60))
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.mail(from: Self.bob) == self.refused("messages"))
    }

    @Test func `words of clients make no other client's key`() async throws {
        let session = try await self.session(limits: "messages per helo,sender 1/1h\n")
        try await session.helo("a sender=b%20")
        try await session.mail(from: "x@y.example")
        let keys = try await session.store.scan(prefix: "", limit: 9).map(\.key)
        #expect(keys == ["limit/messages 3600s helo=a%20sender=b%2520 sender=x@y.example"])
    }

    @Test func `rules of the line, another file, other replies`() async throws {
        let session = try await TestSession(
            [RateLimit.self],
            plugins:
                #"limit rule "messages per client 1/1h Enough" file mine reject_type disconnect"#,
            files: ["mine": "recipients per client 1/1h\n", "limits": "nonsense\n"]
        )
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(
            try await session.mail(from: Self.bob) == .denyDisconnect("Enough", status: "5.7.0")
        )
        #expect(try await session.rcpt(to: "jo@example.com") == .declined)
        #expect(try await session.rcpt(to: "jo@example.com").verdict == .deny_disconnect)
    }

    @Test func `reject 0 and naughty`() async throws {
        let limits = "messages per client 1/1h\n"
        for (words, count) in [("reject 0", 0), ("reject naughty", 1)] {
            let session = try await self.session("limit \(words)", limits: limits)
            for _ in 0..<2 { #expect(try await session.mail(from: Self.bob) == .declined) }
            #expect(session.note(.naughty)?.count ?? 0 == count)
        }
    }

    @Test(arguments: ["messages per client", "messages per client 1/1h\nmessages of all 1/1h"])
    func `mistakes have their line`(limits: String) async throws {
        await #expect(throws: PluginProblems.self) { try await self.session(limits: limits) }
        await #expect(throws: PluginProblems.self) {
            try await self.session(#"limit rule "messages per client 0/1h""#)
        }
    }

    @Test func `a file of too many rules is a mistake`() async throws {
        let limits = String(repeating: "messages per client 1/1h\n", count: 65)
        await #expect(throws: PluginProblems.self) { try await self.session(limits: limits) }
    }
}
