import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

@Suite struct GreylistingTests {
    private static let denied = Answer.denysoft("This mail is temporarily denied", status: "4.7.1")

    private func session(
        _ line: String = "greylisting",
        _ files: [String: String] = [:]
    ) async throws -> TestSession {
        try await TestSession([Greylisting.self], plugins: line, files: files)
    }

    private static let bob = "bob@example.net"

    // MARK: The record

    private static let times = GreylistRecord.Times(
        black: .seconds(3_000),
        window: .seconds(14_400),
        white: .seconds(3_110_400)
    )

    @Test(arguments: [
        (Int64(0), GreylistRecord.Outcome.early(.seconds(3_000))),
        (2_999_999, .early(.milliseconds(1))), (3_000_000, .passed), (14_400_000, .passed),
        (14_400_001, .new), (-1, .new),
    ])
    func `a second try`(after: Int64, outcome: GreylistRecord.Outcome) {
        let first = GreylistRecord.tried(nil, at: 1_000_000, Self.times)
        #expect(first.outcome == .new && first.lifetime == Self.times.window)
        let second = GreylistRecord.tried(first.record, at: 1_000_000 + after, Self.times)
        #expect(second.outcome == outcome)
        if case .early = outcome {
            #expect(second.lifetime == Self.times.window - .milliseconds(after))
            #expect(second.record.refused == 2)
        }
    }

    @Test func `a white record counts once an hour, and lasts as long as its last pass`() {
        var record = GreylistRecord(first: 0)
        record.passed = 1
        record.last = 1_000
        let soon = GreylistRecord.tried(record, at: 3_600_999, Self.times)
        #expect(soon.outcome == .known && soon.record == record)
        let later = GreylistRecord.tried(record, at: 3_601_000, Self.times)
        #expect(later.record.passed == 2 && later.record.last == 3_601_000)
        #expect(later.lifetime == Self.times.white)
        let late = GreylistRecord.tried(record, at: 3_110_401_001, Self.times)
        #expect(late.outcome == .new)
    }

    @Test func `values are read whole or not at all`() {
        var record = GreylistRecord(first: 1_732_322_669_123)
        record.last = 5
        record.refused = 2
        record.passed = 7
        let octets = record.value.octets
        #expect(GreylistRecord(record.value) == record)
        for count in octets.indices where octets[..<count].filter({ $0 == 0x3A }).count < 3 {
            #expect(GreylistRecord(Bytes(octets: Array(octets[..<count]))) == nil)
        }
        for index in octets.indices {
            for octet in UInt8.min...UInt8.max {
                var damaged = octets
                damaged[index] = octet
                let read = GreylistRecord(Bytes(octets: damaged))
                let isDigit = (0x30...0x39).contains(octet)
                #expect(
                    (read != nil) == (octets[index] == octet || isDigit && octets[index] != 0x3A)
                )
            }
        }
        for text in ["", ":::", "1:2:3", "1:2:3:4:5", "-1:0:0:0", "1234567890123456789:0:0:0"] {
            #expect(GreylistRecord(Bytes(text)) == nil, "\(text)")
        }
    }

    // MARK: The plugin

    @Test func `a client is refused, then in time let in and known`() async throws {
        let session = try await self.session()
        #expect(try await session.mail(from: Self.bob) == Self.denied)
        session.clock.advance(by: .seconds(2_999))
        #expect(try await session.mail(from: Self.bob) == Self.denied)
        session.clock.advance(by: .seconds(1))
        #expect(try await session.mail(from: "other@example.net") == .declined)
        let key = Bytes("greylisting/ip=192.0.2.1")
        #expect(try await session.store.entry(key)?.expiresIn == .seconds(36 * 86_400))
        // Each pass makes it last longer.
        for _ in 0..<3 {
            session.clock.advance(by: .seconds(35 * 86_400))
            #expect(try await session.mail(from: Self.bob) == .declined)
        }
        session.clock.advance(by: .seconds(36 * 86_400))
        #expect(try await session.mail(from: Self.bob) == Self.denied)
        session.clientIP = "192.0.2.2"
        #expect(try await session.mail(from: Self.bob) == Self.denied)
        #expect(session.note(.karma) == nil)
    }

    @Test func `a try after the window is a first one`() async throws {
        let session = try await self.session("greylisting retry_window 2h")
        #expect(try await session.mail(from: Self.bob) == Self.denied)
        session.clock.advance(by: .seconds(7_200))
        #expect(try await session.mail(from: Self.bob) == Self.denied)
        session.clock.advance(by: .seconds(3_000))
        #expect(try await session.mail(from: Self.bob) == .declined)
    }

    @Test(arguments: [
        ("greylisting", "ip=192.0.2.1"), ("greylisting ipv4_prefix 24", "ip=192.0.2.0/24"),
        ("greylisting sender 1", "ip=192.0.2.1 sender=bob@example.net"),
        (
            "greylisting remote_ip 0 sender 1 recipient 1",
            "sender=bob@example.net recipient=jo@example.com"
        ),
        ("greylisting recipient 1 ipv4_prefix 16", "ip=192.0.0.0/16 recipient=jo@example.com"),
    ])
    func `a record has one entry, by what is told apart`(line: String, key: String) async throws {
        let session = try await self.session(line)
        try await session.mail(from: "Bob@Example.NET")
        try await session.rcpt(to: "jo@EXAMPLE.com")
        let keys = try await session.store.scan(prefix: "greylisting/", limit: 10).map(\.key)
        #expect(keys == [Bytes("greylisting/\(key)")])
    }

    @Test(arguments: [
        ("2001:db8::1", "2001:db8::2", true), ("2001:db8::1", "2001:db8:0:1::1", false),
        ("192.0.2.1", "192.0.2.2", false), ("::ffff:192.0.2.1", "192.0.2.1", true),
    ])
    func `an IPv6 client is its network`(one: String, other: String, isSame: Bool) async throws {
        let session = try await self.session()
        session.clientIP = one
        #expect(try await session.mail(from: Self.bob) == Self.denied)
        session.clock.advance(by: .seconds(3_000))
        session.clientIP = other
        #expect((try await session.mail(from: Self.bob) == .declined) == isSame)
    }

    @Test func `a long address has a key of its own`() async throws {
        let session = try await self.session("greylisting sender 1")
        let long = String(repeating: "é", count: 300)
        #expect(try await session.mail(from: "\(long)a@example.net") == Self.denied)
        session.clock.advance(by: .seconds(3_000))
        #expect(try await session.mail(from: "\(long)b@example.net") == Self.denied)
        #expect(try await session.mail(from: "\(long)a@example.net") == .declined)
    }

    @Test func `a client that passed often passes with every sender`() async throws {
        let session = try await self.session("greylisting sender 1 auto_whitelist 2")
        for sender in ["a@example.net", "b@example.net"] {
            #expect(try await session.mail(from: sender) == Self.denied)
            session.clock.advance(by: .seconds(3_600))
            #expect(try await session.mail(from: sender) == .declined)
        }
        #expect(try await session.mail(from: "c@example.net") == .declined)
        session.clientIP = "192.0.2.2"
        #expect(try await session.mail(from: "c@example.net") == Self.denied)
    }

    @Test func `refused at DATA where that is wanted`() async throws {
        let session = try await self.session("greylisting deny_late 1")
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.data() == Self.denied)
        session.clock.advance(by: .seconds(3_000))
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.data() == .declined)
    }

    @Test func `the null sender is answered about recipients, and refused at DATA`() async throws {
        let session = try await self.session("greylisting recipient 1")
        try await session.mail(from: "")
        #expect(try await session.rcpt(to: "jo@example.com") == .declined)
        #expect(try await session.data() == Self.denied)
        try await session.mail(from: Self.bob)
        #expect(try await session.rcpt(to: "al@example.com") == Self.denied)
    }

    @Test func `reject 0 learns`() async throws {
        let session = try await self.session("greylisting reject 0")
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.store.get("greylisting/ip=192.0.2.1") != nil)
    }

    @Test func `only recipients that want it`() async throws {
        let session = try await self.session(
            "greylisting per_recipient 1",
            ["greylist_recipients": "jo@example.com\n@example.org\n"]
        )
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.rcpt(to: "al@example.com") == .declined)
        #expect(try await session.store.scan(prefix: "", limit: 1).isEmpty)
        #expect(try await session.rcpt(to: "Jo@example.com") == Self.denied)
        #expect(try await session.rcpt(to: "al@example.org") == Self.denied)
    }

    @Test func `a recipient's own files count in place of the common ones`() async throws {
        let session = try await self.session(
            "greylisting per_recipient 1",
            [
                "greylist_recipients": "@example.com\n", "greylist_exclude": "192.0.2.1\n",
                "worker.toml": "recipient_directory = \"config/own/%h/%u\"\n",
            ]
        )
        try session.write("", to: "own/example.com/off/greylist_recipients")
        try session.write("", to: "own/example.com/off/greylist_exclude")
        try session.write("198.51.100.1\n", to: "own/example.com/strict/greylist_exclude")
        try session.write("on@example.org\n", to: "own/example.org/on/greylist_recipients")
        try session.write("", to: "own/example.org/on/greylist_exclude")
        _ = try await session.mail(from: Self.bob)
        for (recipient, answer) in [
            ("jo@example.com", Answer.declined), ("off@example.com", .declined),
            ("strict@example.com", Self.denied), ("on@example.org", Self.denied),
            ("al@example.org", .declined),
        ] {
            #expect(try await session.rcpt(to: recipient) == answer, "\(recipient)")
        }
    }

    @Test(
        arguments: [
            ("192.0.2.0/24", nil, true), ("192.0.2.9", nil, false),
            ("example.net", "mail.example.net", true), (".example.net", "example.net", true),
            ("example.net", "badexample.net", false), ("example.net", nil, false),
            (#"/^mx\d+\.example\.net$/"#, "mx12.example.net", true),
            (#"/^mx\d+\.example\.net$/"#, "mxa.example.net", false),
        ] as [(String, String?, Bool)]
    )
    func `clients of files are left alone`(
        line: String,
        name: String?,
        isExcluded: Bool
    ) async throws {
        for file in ["greylist_exclude", "friends"] {
            let session = try await self.session(
                "greylisting",
                [file: line, "greylist_exclude_files": "friends"]
            )
            session.clientName = name
            #expect((try await session.mail(from: Self.bob) == .declined) == isExcluded)
        }
    }

    @Test(arguments: ["", "exempt_tls 1", "exempt_whitelisthost 0"])
    func `exemptions are switches`(words: String) async throws {
        let session = try await self.session("greylisting \(words)")
        session.encrypt(fingerprint: nil)
        #expect((try await session.mail(from: Self.bob) == .declined) == (words == "exempt_tls 1"))
        session.setNote(.whitelisthost, to: .string("listed"))
        #expect(
            (try await session.mail(from: Self.bob) == Self.denied)
                == (words == "exempt_whitelisthost 0")
        )
        session.relay = true
        #expect(try await session.mail(from: Self.bob) == .declined)
    }

    @Test func `only countries and systems that are named`() async throws {
        let session = try await self.session("greylisting geoip de,ZZ p0f genre,Windows")
        let country = NoteKey<String>("geoip_country", in: .session)
        let system = NoteKey<JSONValue>("p0f", in: .session)
        #expect(try await session.mail(from: Self.bob) == .declined)
        session.setNote(country, to: "DE")
        #expect(try await session.mail(from: Self.bob) == .declined)
        session.setNote(system, to: .object(["genre": .string("windows")]))
        #expect(try await session.mail(from: Self.bob) == Self.denied)
        session.setNote(country, to: "FR")
        #expect(try await session.mail(from: Self.bob) == .declined)
    }

    @Test func `a session that is refused anyway teaches nothing`() async throws {
        let session = try await self.session()
        session.setNote(
            NoteKey<JSONValue>("naughty", in: .session),
            to: .array([
                .object([
                    "plugin": .string("dnsbl"), "text": .string("x"),
                    "reject_type": .string("perm"),
                ])
            ])
        )
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.store.scan(prefix: "", limit: 1).isEmpty)
    }

    @Test(arguments: [
        "greylisting remote_ip 0", "greylisting black_timeout 5h", "greylisting reject_type perm",
        "greylisting p0f genre", "greylisting ipv4_prefix 33", "greylisting black_timeout soon",
    ])
    func `mistakes are named`(line: String) async throws {
        await #expect(throws: PluginProblems.self) { try await self.session(line) }
    }

    @Test(arguments: [
        ["greylist_exclude": "bad..name"], ["greylist_exclude": "/(/"],
        ["greylist_exclude_files": "/etc/other"], ["greylist_recipients": "b@"],
    ])
    func `lines that cannot be read are named`(files: [String: String]) async throws {
        await #expect(throws: PluginProblems.self) { try await self.session("greylisting", files) }
    }

    @Test func `old arguments and the old name are taken`() async throws {
        let line = "denysoft_greylist db_dir /var/x nfslock 1 redis localhost:6379 black_timeout 60"
        let session = try await self.session(line)
        #expect(try await session.mail(from: Self.bob) == Self.denied)
        session.clock.advance(by: .seconds(60))
        #expect(try await session.mail(from: Self.bob) == .declined)
    }
}
