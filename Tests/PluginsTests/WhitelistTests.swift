import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

@Suite struct WhitelistTests {
    private static let files = [
        "whitelisthosts": "192.0.2.1\n198.51.100.0/24\n203.0.113.\n2001:db8::/32\n",
        "whitelisthelo": "Mail.Example.NET\n",
        "whitelistsenders": "bob@example.net\nexample.org\n@bücher.example\n",
        "whitelistrcpt": "abuse@example.com\nexample.edu\n",
        "rcpthosts": "example.com\n",
    ]

    private func session(
        _ lines: String = "whitelist\nrcpt_ok",
        _ files: [String: String] = Self.files
    ) async throws -> TestSession {
        try await TestSession(
            [Whitelist.self, RcptOK.self, BadRcptTo.self],
            plugins: lines,
            files: files
        )
    }

    @Test(arguments: [
        ("192.0.2.1", true), ("192.0.2.10", false), ("198.51.100.255", true), ("203.0.113.9", true),
        ("203.0.11.3", false), ("2001:db8:ffff::1", true), ("2001:db9::1", false),
        ("::ffff:192.0.2.1", true),
    ])
    func `hosts`(ip: String, isListed: Bool) async throws {
        let session = try await self.session()
        session.clientIP = ip
        #expect(try await session.connect() == .declined)
        #expect((session.note(.whitelisthost) != nil) == isListed)
        #expect(session.note(.karma) == (isListed ? 5 : nil))
    }

    @Test func `names of HELO are told and make no session immune`() async throws {
        let session = try await self.session()
        let key = NoteKey<Bool>("whitelisthelo", in: .session)
        try await session.helo("other.example.net")
        #expect(session.note(key) == nil)
        try await session.ehlo("mail.example.net")
        #expect(session.note(key) == true)
        try await session.helo("x")
        #expect(session.note(key) == nil)
        #expect(session.note(.whitelisthost) == nil)
    }

    @Test(arguments: [
        ("Bob@Example.NET", true), ("al@example.net", false), ("any@example.org", true),
        ("any@sub.example.org", false), ("x@xn--bcher-kva.example", true), ("", false),
    ])
    func `senders`(sender: String, isListed: Bool) async throws {
        let session = try await self.session()
        #expect(try await session.mail(from: sender) == .declined)
        #expect((session.note(.whitelistsender) != nil) == isListed)
    }

    @Test func `a listed recipient is immune alone, and nothing grants relaying`() async throws {
        let session = try await self.session()
        let count = NoteKey<Int>("whitelistrcpt", in: .transaction)
        session.clientIP = "192.0.2.1"
        try await session.connect()
        try await session.mail(from: "bob@example.net")
        #expect(try await session.rcpt(to: "far@elsewhere.example").verdict == .deny)
        #expect(try await session.rcpt(to: "jo@example.edu").verdict == .deny)
        #expect(session.note(.whitelistRecipient) == true && session.note(count) == 1)
        #expect(try await session.rcpt(to: "abuse@example.com") == .ok)
        #expect(session.note(count) == 2)
        try await session.data()
        #expect(session.note(.whitelistRecipient) == true)
        #expect(try await session.rcpt(to: "jo@example.com") == .ok)
        #expect(session.note(.whitelistRecipient) == nil)
        #expect(try await session.rcpt(to: "abuse@example.com") == .ok)
        #expect(session.note(.whitelistRecipient) == true)
        try await session.data()
        #expect(session.note(.whitelistRecipient) == nil)
    }

    @Test func `per_recipient lines count for their recipient`() async throws {
        var files = Self.files
        files["whitelisthosts"] = "192.0.2.1 jo@example.com\n192.0.2.2\n"
        files["whitelistsenders"] = "bob@example.net example.com\n"
        let session = try await self.session("whitelist per_recipient 1\nrcpt_ok", files)
        session.clientIP = "192.0.2.1"
        try await session.connect()
        #expect(session.note(.whitelisthost) == nil && session.note(.karma) == nil)
        try await session.mail(from: "al@example.net")
        try await session.rcpt(to: "jo@example.com")
        #expect(session.note(.whitelistRecipient) == true)
        try await session.rcpt(to: "al@example.com")
        #expect(session.note(.whitelistRecipient) == nil)
        try await session.mail(from: "bob@example.net")
        #expect(session.note(.whitelistsender) == nil)
        try await session.rcpt(to: "al@example.com")
        #expect(session.note(.whitelistRecipient) == true)
    }

    @Test func `a recipient's own files count for it`() async throws {
        let files = ["worker.toml": "recipient_directory = \"config/own/%h/%u\"\n"]
        for line in ["whitelist per_recipient 1", "whitelist"] {
            let isRead = line != "whitelist"
            let session = try await self.session(line, files)
            try session.write("192.0.2.1\n", to: "own/example.com/jo/whitelisthosts")
            try session.write("bob@example.net\n", to: "own/example.com/al/whitelistsenders")
            for (recipient, sender, ip, isListed) in [
                ("jo@example.com", "x@y.example", "192.0.2.1", true),
                ("jo@example.com", "bob@example.net", "192.0.2.2", false),
                ("al@example.com", "bob@example.net", "192.0.2.2", true),
                ("al@example.com", "x@y.example", "192.0.2.1", false),
            ] {
                session.clientIP = ip
                try await session.mail(from: sender)
                try await session.rcpt(to: recipient)
                let isImmune = session.note(.whitelistRecipient) == true
                #expect(isImmune == (isListed && isRead), "\(recipient) \(sender) \(ip)")
            }
        }
    }

    @Test(arguments: [
        ("whitelisthosts", "192.168.1"), ("whitelistrcpt", "@"), ("whitelistrcpt", "b@"),
        ("whitelistsenders", "bad..name"),
    ])
    func `lines that cannot be read are named`(file: String, line: String) async throws {
        await #expect(throws: PluginProblems.self) {
            try await self.session("whitelist", [file: line])
        }
    }
}
