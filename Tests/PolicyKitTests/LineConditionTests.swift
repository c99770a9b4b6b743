import PolicyKitTesting
import PolicyProtocol
import Testing

@testable import PolicyKit

/// Refuses at every hook where it can, so that a reply shows that it was asked.
private struct Refuser: ConnectHook, MailHook, RcptHook, DataHook {
    static let name = "refuser"

    init(configuration: PluginConfiguration) { _ = configuration.refusal() }

    func connect(_ event: ConnectEvent) async throws -> Answer { .deny }
    func mail(_ event: MailEvent) async throws -> Answer { .deny }
    func rcpt(_ event: RcptEvent) async throws -> Answer { .deny }
    func data(_ event: DataEvent) async throws -> Answer { .deny }
}

/// Accepts every recipient.
private struct Accepter: RcptHook {
    static let name = "accepter"

    init(configuration: PluginConfiguration) {}

    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }
}

/// `if` and `unless` at the end of a line of `config/plugins`.
struct LineConditionTests {
    private struct Facts: Sendable {
        var relay = false
        var user = false
        var ip = "192.0.2.1"
        var country: String?
        var note: JSONValue?
        var sender = "bob@a.test"
    }

    /// What is looked at, when it holds and when it does not; the line of the second is asked otherwise.
    private static let rows: [(condition: String, holds: Facts, differs: Facts)] = [
        ("relay", Facts(relay: true), Facts()),
        ("RELAY", Facts(relay: true), Facts()),
        ("auth", Facts(user: true), Facts()),
        ("immune", Facts(relay: true), Facts()),
        ("network=192.0.2.0/24", Facts(), Facts(ip: "198.51.100.1")),
        ("network=2001:db8::/32,192.0.2.1", Facts(ip: "2001:db8::1"), Facts(ip: "192.0.2.2")),
        ("country=de,AT", Facts(country: "AT"), Facts(country: "US")),
        ("country=DE", Facts(country: "de"), Facts()),
        ("note=vip", Facts(note: .int(1)), Facts(note: .int(0))),
        ("note=vip", Facts(note: .string("x")), Facts()),
        ("sender_domain=a.test", Facts(sender: "bob@A.test"), Facts(sender: "bob@b.a.test")),
        (
            "sender_domain=.a.test,b.test", Facts(sender: "bob@c.a.test"),
            Facts(sender: "bob@a.test")
        ),
        ("null_sender", Facts(sender: ""), Facts()),
    ]

    private func isAsked(_ line: String, _ facts: Facts) async throws -> Bool {
        let session = try await TestSession([Refuser.self], plugins: line)
        session.relay = facts.relay
        session.clientIP = facts.ip
        if facts.user { session.authentication = .init(mechanism: "PLAIN", user: "bob") }
        session.setNote(NoteKey<String>("geoip_country", in: .session), to: facts.country)
        session.setNote(NoteKey<JSONValue>("vip", in: .session), to: facts.note)
        return try await session.mail(from: facts.sender).verdict == .deny
    }

    @Test(arguments: Self.rows.indices)
    func `a line counts if its condition holds`(index: Int) async throws {
        let row = Self.rows[index]
        #expect(try await self.isAsked("refuser if \(row.condition)", row.holds))
        #expect(try await !self.isAsked("refuser if \(row.condition)", row.differs))
        #expect(try await !self.isAsked("refuser UNLESS \(row.condition)", row.holds))
        #expect(try await self.isAsked("refuser unless \(row.condition)", row.differs))
    }

    @Test func `all conditions of a line must hold`() async throws {
        let line = "refuser reject 1 if network=192.0.2.0/24 unless relay unless auth"
        #expect(try await self.isAsked(line, Facts()))
        #expect(try await !self.isAsked(line, Facts(relay: true)))
        #expect(try await !self.isAsked(line, Facts(user: true)))
        #expect(try await !self.isAsked(line, Facts(ip: "198.51.100.1")))
    }

    @Test func `a recipient's domain is one recipient's at rcpt and all recipients' later`()
        async throws
    {
        let session = try await TestSession(
            [Refuser.self],
            plugins: "refuser if recipient_domain=a.test"
        )
        _ = try await session.mail(from: "bob@x.test")
        #expect(try await session.rcpt(to: "amy@a.test").verdict == .deny)
        #expect(try await session.rcpt(to: "amy@b.test").verdict == .declined)
        for (recipients, verdict) in [
            (["amy@a.test", "eve@A.test"], Verdict.deny),
            (["amy@a.test", "eve@b.test"], .declined),
        ] {
            // The first line accepts, so the second is asked at `data` alone.
            let all = try await TestSession(
                [Accepter.self, Refuser.self],
                plugins: "accepter\nrefuser if recipient_domain=a.test"
            )
            try await all.mail(from: "bob@x.test")
            for recipient in recipients { try await all.rcpt(to: recipient) }
            #expect(try await all.data().verdict == verdict)
        }
    }

    @Test func `what is not known yet does not hold`() async throws {
        for (line, verdict) in [
            ("refuser if sender_domain=a.test", Verdict.declined),
            ("refuser unless sender_domain=a.test", .deny), ("refuser if tls", .declined),
        ] {
            let session = try await TestSession([Refuser.self], plugins: line)
            #expect(try await session.connect().verdict == verdict)
        }
    }

    @Test(arguments: [
        ("refuser if", "if has no condition after it: it must be relay, "),
        ("refuser unless reley", "condition reley is unknown: it must be relay, "),
        ("refuser if network=192.0.2.0/33", "condition network=192.0.2.0/33 is unknown"),
        ("refuser if country=", "condition country= is unknown"),
        ("refuser if listener=mx,", "condition listener=mx, is unknown"),
        (
            "refuser if relay reject 0",
            "if stands before other arguments; put the conditions at the end"
        ),
    ])
    func `a condition that cannot be read is a problem of its line`(
        line: String,
        expected: String
    ) async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await TestSession([Refuser.self], plugins: line)
        }
        let text = "\(try #require(error))"
        #expect(text.contains(expected), "\(text)")
        #expect(text.contains("plugins:1"))
    }
}
