import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

struct BadMailFromToTests {
    private func answer(
        _ file: String,
        from sender: String,
        to recipient: String,
        relay: Bool = false
    ) async throws -> Answer {
        let session = try await TestSession(
            [BadMailFromTo.self],
            plugins: "check_badmailfromto",
            files: ["badmailfromto": file]
        )
        session.relay = relay
        try await session.mail(from: sender)
        return try await session.rcpt(to: recipient)
    }

    @Test(arguments: [
        "bob@example.net alice@example.com", "@example.net @example.com",
        "rob@x alice@example.com\n^b.b@ ^al",
        // Each pair counts, not only the last of a sender.
        "bob@example.net alice@example.com\nbob@example.net carol@example.com",
    ])
    func `a listed pair is refused like an unknown user`(file: String) async throws {
        let answer = try await self.answer(file, from: "Bob@example.net", to: "alice@EXAMPLE.com")
        #expect(answer.verdict == .deny)
        #expect(answer.reply?.status == "5.1.1")
        #expect(
            try await self.answer(
                file,
                from: "bob@example.net",
                to: "alice@example.com",
                relay: true
            )
                == .declined
        )
    }

    @Test(arguments: [
        ("rob@example.net", "alice@example.com"), ("bob@example.net", "dave@example.com"),
        ("", "x@y"),
    ])
    func `any other is not`(sender: String, recipient: String) async throws {
        let file = "bob@example.net alice@example.com"
        #expect(try await self.answer(file, from: sender, to: recipient) == .declined)
    }

    @Test(arguments: ["bob@example.net", "bob@example.net ([a", "word alice@example.com"])
    func `a line that cannot be read names itself`(line: String) async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await self.answer("a@b c@d\n\(line)", from: "a@b", to: "c@d")
        }
        #expect(error?.description.contains("badmailfromto:2: ") == true)
    }
}

struct RcptMapTests {
    private static let map = """
        Alice@Example.com OK
        bob@example.com   DENY \t Bob left
        carol@example.com DENYSOFT
        dave@example.com DECLINED
        eve@example.com DENY_DISCONNECT Go
        """

    private func answer(
        to recipient: String,
        _ arguments: String = "domain example.com domain \"bücher.example\" file users"
    ) async throws -> Answer {
        let session = try await TestSession(
            [RcptMap.self],
            plugins: "rcpt_map \(arguments)",
            files: ["users": Self.map]
        )
        try await session.mail(from: "x@example.net")
        return try await session.rcpt(to: recipient)
    }

    @Test(
        arguments: [
            ("alice@example.COM", .ok), ("bob@example.com", .deny("Bob left", status: "5.1.1")),
            ("carol@example.com", .denysoft("Recipient refused", status: "4.1.1")),
            ("dave@example.com", .declined), ("other@example.net", .declined),
            ("nobody@example.com", .deny("No such user.", status: "5.1.1")),
            ("nobody@xn--bcher-kva.example", .deny("No such user.", status: "5.1.1")),
        ] as [(String, Answer)]
    )
    func `a map decides about its domains`(recipient: String, answer: Answer) async throws {
        #expect(try await self.answer(to: recipient) == answer)
    }

    @Test(arguments: [
        ("OK", Answer.ok), ("DECLINED", .declined),
        ("DENYSOFT=Come_back", .denysoft("Come back", status: "4.1.1")),
    ])
    func `who is not in the map gets the default`(code: String, answer: Answer) async throws {
        let arguments = "domain example.com file users default \(code)"
        #expect(try await self.answer(to: "nobody@example.com", arguments) == answer)
    }

    @Test(arguments: [
        "", "domain example.com", "file users", "domain example.com file a/b",
        "domain example.com file users default NO",
    ])
    func `arguments that do not do are said`(arguments: String) async throws {
        await #expect(throws: PluginProblems.self) {
            try await self.answer(to: "alice@example.com", arguments)
        }
    }

    @Test func `a recipient's own map counts in place of the common one`() async throws {
        let session = try await TestSession(
            [RcptMap.self],
            plugins: "rcpt_map domain example.com file users",
            files: [
                "users": Self.map, "worker.toml": "recipient_directory = \"config/own/%h/%u\"\n",
            ]
        )
        try session.write("bob@example.com OK\n", to: "own/example.com/bob/users")
        try session.write("", to: "own/example.com/alice/users")
        try await session.mail(from: "x@example.net")
        #expect(try await session.rcpt(to: "bob@example.com") == .ok)
        let missing = Answer.deny("No such user.", status: "5.1.1")
        #expect(try await session.rcpt(to: "alice@example.com") == missing)
        #expect(try await session.rcpt(to: "dave@example.com") == .declined)
    }

    @Test(arguments: ["alice OK", "a@b", "a@b MAYBE", "a@b OK\nA@B DENY"])
    func `a line that cannot be read names itself`(lines: String) async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await TestSession(
                [RcptMap.self],
                plugins: "rcpt_map domain b file users",
                files: ["users": lines]
            )
        }
        #expect(error?.description.contains("users:") == true)
    }
}

struct RcptRegexpTests {
    private static let rules = #"""
        postmaster@example.com OK
        /^spam[ /]\/?trap@/i DENY Not you
        /^x\d+@/ DENYSOFT
        /^y/ DECLINED
        /./ DENY_DISCONNECT
        """#

    private func answer(_ file: String, to recipient: String) async throws -> Answer {
        let session = try await TestSession(
            [RcptRegexp.self],
            plugins: "rcpt_regexp",
            files: ["rcpt_regexp": file]
        )
        try await session.mail(from: "x@example.net")
        return try await session.rcpt(to: recipient)
    }

    @Test(arguments: [
        ("POSTMASTER@example.com", Verdict.ok, nil as String?),
        ("x12@example.com", .denysoft, "Recipient refused"), ("y@example.com", .declined, nil),
        ("a@b", .deny_disconnect, "Recipient refused"),
    ])
    func `the first line that matches decides`(
        recipient: String,
        verdict: Verdict,
        text: String?
    ) async throws {
        // A slash may not stand in brackets unescaped: that ends the expression.
        let rules = Self.rules.replacing("[ /]", with: #"[ \/]"#)
        let answer = try await self.answer(rules, to: recipient)
        #expect(answer.verdict == verdict)
        #expect(answer.reply?.text.first == text)
    }

    @Test func `an expression may have white space and escaped slashes`() async throws {
        let answer = try await self.answer(#"/^a \/b@/i  DENY  gone"#, to: #""a /b"@example.com"#)
        #expect(answer == .declined)
        let quoted = try await self.answer(#"/^"a \/b"@/ DENY  gone"#, to: #""a /b"@example.com"#)
        #expect(quoted == .deny("gone", status: "5.1.1"))
    }

    @Test(arguments: ["a@b", "/x DENY", "/x/g DENY", "/([a-/ DENY", "/x/", "a@b MAYBE"])
    func `a line that cannot be read names itself`(line: String) async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await self.answer("c@d OK\n\(line)", to: "a@b")
        }
        #expect(error?.description.contains("rcpt_regexp:2: ") == true)
    }

    @Test func `a pattern made to hang costs a bounded time and no consent`() async throws {
        await #expect(throws: TestFailure.self) {
            try await self.answer(
                "/^(a+)+$/ OK",
                to: String(repeating: "a", count: 60) + "!@example.com"
            )
        }
    }
}

struct BogusBounceTests {
    private func answer(
        _ arguments: String,
        sender: String = "",
        recipients: Int = 1,
        header: String = ""
    ) async throws -> Answer {
        let session = try await TestSession(
            [BogusBounce.self, RcptOK.self],
            plugins: "rcpt_ok\ncheck_bogus_bounce \(arguments)",
            files: ["rcpthosts": "example.com"]
        )
        try await session.mail(from: sender)
        for number in 0..<recipients { try await session.rcpt(to: "r\(number)@example.com") }
        return try await session.message("\(header)Subject: x\r\n\r\nbody\r\n")
    }

    @Test(arguments: [
        ("deny", Verdict.deny), ("denysoft", .denysoft), ("reject 1", .deny),
        ("reject 1 reject_type temp", .denysoft), ("log", .declined), ("", .declined),
        ("deny reject_type disconnect", .deny_disconnect),
    ])
    func `a bounce to several recipients is none`(arguments: String, verdict: Verdict) async throws
    {
        #expect(try await self.answer(arguments, recipients: 2).verdict == verdict)
        let path = "Return-Path: <bob@example.net>\r\n"
        #expect(try await self.answer(arguments, header: path).verdict == verdict)
    }

    @Test func `a bounce passes`() async throws {
        #expect(try await self.answer("deny") == .declined)
        #expect(try await self.answer("deny", header: "Return-Path: <>\r\n") == .declined)
        #expect(
            try await self.answer("deny", sender: "bob@example.net", recipients: 2) == .declined
        )
    }
}
