import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

struct BadMailFromTests {
    private func answer(
        _ file: String,
        _ sender: String,
        _ line: String = "badmailfrom"
    )
        async throws -> Answer
    {
        let files = ["badmailfrom": file]
        let session = try await TestSession([BadMailFrom.self], plugins: line, files: files)
        return try await session.mail(from: sender)
    }

    @Test(arguments: [
        ("bob@example.net", "Bob@Example.NET"), ("@example.net", "a@EXAMPLE.net"),
        (".example.net", "a@x.example.net"), (#"^b.b@.*\.net$"#, "bob@example.net"),
        (#"\d{3}@"#, "x123@example.net"), ("B.*B@", "bob@example.net"),
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("@xn--bcher-kva.example", "a@Bücher.example"),
        (".bücher.example", "a@x.xn--bcher-kva.example"), ("^bob@bü", "bob@bücher.example"),
    ])
    func `a listed sender is refused`(entry: String, sender: String) async throws {
        let text = "Your envelope sender is in my badmailfrom list"
        #expect(try await self.answer(entry, sender) == .deny(text, status: "5.7.1"))
    }

    @Test(arguments: [
        ("bob@example.net", "rob@example.net"), ("@example.net", "a@x.example.net"),
        (".example.net", "a@example.net"), ("^x", "bob@example.net"), ("!", "bob@example.net"),
        ("^$", ""),
    ])
    func `any other is not`(entry: String, sender: String) async throws {
        #expect(try await self.answer(entry, sender) == .declined)
    }

    @Test func `the rest of the line is the reply`() async throws {
        let answer = try await self.answer("bob@example.net   go away, Bob", "bob@example.net")
        #expect(answer.reply?.text == ["go away, Bob"])
    }

    @Test func `a relay client is not asked`() async throws {
        let session = try await TestSession(
            [BadMailFrom.self],
            plugins: "check_badmailfrom",
            files: ["badmailfrom": "bob@example.net"]
        )
        session.relay = true
        #expect(try await session.mail(from: "bob@example.net") == .declined)
    }

    @Test(arguments: ["a@b\n([a-z]+$ broken", "a@b\nexample.com", "a@b\n/^x/"])
    func `a line that cannot be read names itself`(file: String) async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await self.answer(file, "bob@example.net")
        }
        #expect(error?.description.contains("badmailfrom:2: ") == true)
    }

    @Test func `a pattern made to hang costs a bounded time and no consent`() async throws {
        await #expect(throws: TestFailure.self) {
            try await self.answer("^(a+)+$", String(repeating: "a", count: 60) + "!@example.net")
        }
    }

    @Test func `a file that breaks keeps its last good content`() async throws {
        let session = try await TestSession(
            [BadMailFrom.self],
            plugins: "badmailfrom",
            files: ["badmailfrom": "bob@example.net"]
        )
        #expect(try await session.mail(from: "bob@example.net").verdict == .deny)
        try session.write("bob@example.net\n([a-z", to: "badmailfrom")
        #expect(try await session.mail(from: "bob@example.net").verdict == .deny)
        try session.write("rob@example.net", to: "badmailfrom")
        #expect(try await session.mail(from: "bob@example.net") == .declined)
    }
}

struct BadRcptToTests {
    private func session(_ file: String) async throws -> TestSession {
        let files = ["badrcptto": file]
        let session = try await TestSession([BadRcptTo.self], plugins: "badrcptto", files: files)
        try await session.mail(from: "bob@example.net")
        return session
    }

    @Test func `a listed recipient is refused like an unknown user`() async throws {
        let session = try await self.session("Alice@example.com")
        let text = "mail to Alice@example.com not accepted here"
        #expect(try await session.rcpt(to: "alice@example.com") == .deny(text, status: "5.1.1"))
        #expect(session.note(.karma) == -2)
    }

    @Test func `a text of its own is a refusal by policy`() async throws {
        let session = try await self.session("alice@example.com moved")
        let answer = try await session.rcpt(to: "alice@example.com")
        #expect(answer == .deny("moved", status: "5.7.1"))
    }

    @Test func `patterns are kept as written`() async throws {
        let session = try await self.session(#"^\S+alice@"#)
        #expect(try await session.rcpt(to: "xalice@example.com").verdict == .deny)
        #expect(try await session.rcpt(to: "alice@example.com") == .declined)
    }

    @Test func `relay clients are refused as well`() async throws {
        let session = try await self.session("@example.com")
        session.relay = true
        #expect(try await session.rcpt(to: "alice@example.com").verdict == .deny)
    }
}
