import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

struct AliasesTests {
    private static let file = """
        # who gets what
        info@example.com: jo@example.com, Ann@example.com
        sales@example.com info@example.com,carl@elsewhere.test info@example.com # and others
        self@example.com self@example.com archive@example.com
        loop@example.com: back@example.com
        back@example.com: other@example.com
        other@example.com: loop@example.com
        lists+news@example.com news@example.com
        lists@example.com list-owner
        root: jo@example.com
        both@example.com: jo@example.com
        Postmaster root
        @old.example @example.com
        @catch.example catcher
        kept@catch.example: kept@catch.example
        away@example.com @elsewhere.test
        shop@bücher.example: jo@bücher.example
        """

    private func session(
        _ arguments: String = "",
        file: String = Self.file,
        _ others: String = ""
    ) async throws -> TestSession {
        let session = try await TestSession(
            [Aliases.self, RcptMap.self, RcptOK.self],
            plugins: "aliases \(arguments)\n\(others)\nrcpt_ok",
            files: [
                "aliases": file, "me": "mx.example.com",
                "rcpthosts": "example.com\nold.example\ncatch.example\nbücher.example",
                "users": "jo@example.com OK\nroot@example.com DENY",
            ]
        )
        try await session.mail(from: "bob@example.net")
        return session
    }

    /// The envelope at the end of DATA.
    private func envelope(
        _ recipients: [String],
        _ arguments: String = "",
        file: String = Self.file
    ) async throws -> [String] {
        let session = try await self.session(arguments, file: file)
        for recipient in recipients {
            #expect(try await session.rcpt(to: recipient) == .ok)
        }
        #expect(session.recipients.map { "\($0.address)" } == recipients)
        #expect(try await session.data() == .declined)
        return session.recipients.map { "\($0.address)" }
    }

    @Test(
        arguments: [
            (["jo@example.com"], ["jo@example.com"]),
            (["info@example.com"], ["jo@example.com", "Ann@example.com"]),
            (["INFO@EXAMPLE.COM"], ["jo@example.com", "Ann@example.com"]),
            (
                ["sales@example.com"],
                ["jo@example.com", "Ann@example.com", "carl@elsewhere.test"]
            ),
            (["self@example.com"], ["self@example.com", "archive@example.com"]),
            // Two that lead to one mailbox.
            (["both@example.com", "root@example.com"], ["jo@example.com"]),
            (["jo@example.com", "info@example.com"], ["jo@example.com", "Ann@example.com"]),
            // With detail: its own line, then the one without.
            (["lists+news@example.com"], ["news@example.com"]),
            (["lists+sport@example.com"], ["list-owner@example.com"]),
            (["+lists@example.com"], ["+lists@example.com"]),
            // A local part counts in our domains.
            (["root@old.example"], ["jo@example.com"]),
            (["root+x@old.example"], ["jo@example.com"]),
            (["Postmaster"], ["jo@example.com"]),
            (["info@old.example"], ["jo@example.com", "Ann@example.com"]),
            (["x+y@old.example"], ["x+y@example.com"]),
            (["any@catch.example"], ["catcher@catch.example"]),
            (["kept@catch.example"], ["kept@catch.example"]),
            (["away@example.com"], ["away@elsewhere.test"]),
            (["shop@xn--bcher-kva.example"], ["jo@xn--bcher-kva.example"]),
        ] as [([String], [String])]
    )
    func `a recipient becomes its targets at DATA`(
        recipients: [String],
        left: [String]
    )
        async throws
    {
        #expect(try await self.envelope(recipients) == left)
    }

    @Test(arguments: [
        ("", "lists+sport@example.com", "list-owner@example.com"),
        ("keep_detail 1", "lists+sport@example.com", "list-owner+sport@example.com"),
        ("keep_detail 1", "lists+news@example.com", "news@example.com"),
        ("delimiter -", "lists-sport@example.com", "list-owner@example.com"),
        ("delimiter -", "lists+sport@example.com", "lists+sport@example.com"),
        ("delimiter none", "lists+sport@example.com", "lists+sport@example.com"),
        ("delimiter none", "lists+news@example.com", "news@example.com"),
    ])
    func `the arguments say what a detail is`(
        arguments: String,
        recipient: String,
        left: String
    )
        async throws
    {
        #expect(try await self.envelope([recipient], arguments) == [left])
    }

    @Test(arguments: [
        // A local part with @ is no address of the file.
        ("x@example.com", nil), ("a b", "\"a b\"@example.com"), ("a\"b", "\"a\\\"b\"@example.com"),
    ])
    func `local parts in quotes stay in quotes`(local: String, text: Bytes?) throws {
        let lines = [
            "x@example.com jo@example.com", text == nil ? "x jo" : "@old.example @example.com",
        ]
        let table = try AliasTable(
            lines.enumerated().map { ControlLine(text: $1, file: "aliases", number: $0 + 1) }
        )
        let address = AliasAddress(local: Array(local.utf8), domain: Array("old.example".utf8))
        let expansion = table.expand(address, AliasRules(), isOurs: { _ in true })
        guard case .targets(let targets) = expansion else {
            #expect(expansion == .none && text == nil)
            return
        }
        #expect(targets.map(\.text) == [text])
    }

    @Test func `a line does not let mail in for a domain that is not ours`() async throws {
        let session = try await self.session(file: "jo@elsewhere.test: jo@example.com")
        let answer = try await session.rcpt(to: "jo@elsewhere.test")
        #expect(answer == .deny("Relaying denied", status: "5.7.1"))
        // A line without a domain is not about it either, nor a refused recipient's target in the envelope.
        #expect(try await session.rcpt(to: "root@elsewhere.test").verdict == .deny)
        #expect(session.recipients.isEmpty)
    }

    @Test(arguments: ["loop@example.com", "back@example.com", "loop+x@example.com"])
    func `a loop is refused for now`(recipient: String) async throws {
        let session = try await self.session()
        let answer = try await session.rcpt(to: recipient)
        #expect(
            answer
                == .denysoft("The alias of this recipient is broken", code: 451, status: "4.3.5")
        )
    }

    @Test func `a plugin that accepted the recipient before cannot hide a loop`() async throws {
        let session = try await TestSession(
            [Aliases.self, RcptMap.self],
            plugins: "rcpt_map domain example.com file users\naliases",
            files: ["aliases": Self.file, "users": "loop@example.com OK"]
        )
        try await session.mail(from: "bob@example.net")
        #expect(try await session.rcpt(to: "loop@example.com") == .ok)
        #expect(try await session.data().reply?.code == 451)
    }

    /// `a0 → a1 → … → a<count>`.
    private static func chain(_ count: Int) -> String {
        (0..<count).map { "a\($0)@example.com a\($0 + 1)@example.com" }.joined(separator: "\n")
    }

    /// One alias of so many targets, by two lines.
    private static func list(_ name: String, _ count: Int) -> String {
        let names = (0..<count).map { "\(name)\($0)@example.com" }
        return "\(name)@example.com \(names.prefix(60).joined(separator: " ")) \(name).more\n"
            + "\(name).more@example.com \(names.dropFirst(60).joined(separator: ","))"
    }

    @Test func `so many lines may follow from each other`() async throws {
        #expect(
            try await self.envelope(["a0@example.com"], file: Self.chain(10)) == ["a10@example.com"]
        )
        let session = try await self.session(file: Self.chain(11))
        #expect(try await session.rcpt(to: "a0@example.com").reply?.code == 451)
        #expect(try await session.rcpt(to: "a1@example.com") == .ok)
    }

    @Test func `a recipient may have a hundred targets and a message two hundred`() async throws {
        let file = ["p", "q", "r"].map { Self.list($0, 100) }.joined(separator: "\n")
        let session = try await self.session(file: file)
        #expect(try await session.rcpt(to: "p@example.com") == .ok)
        #expect(try await session.rcpt(to: "q@example.com") == .ok)
        let answer = try await session.rcpt(to: "r@example.com")
        #expect(answer == .denysoft("Too many recipients", code: 452, status: "4.5.3"))
        #expect(try await session.rcpt(to: "jo@example.com") == .ok)
        #expect(try await session.data() == .declined)
        #expect(session.recipients.count == 201)
        let tooMany = try await self.session(file: Self.list("p", 101))
        #expect(try await tooMany.rcpt(to: "p@example.com").reply?.code == 451)
    }

    @Test func `lines that lead to each other many times cost little`() async throws {
        // 10 levels, each address of one leads to all five of the next: 5^10 ways, 50 addresses.
        let file = (0..<10).flatMap { level in
            (0..<5).map { "l\(level)n\($0)@example.com" }.map { name in
                let next = (0..<5).map { level < 9 ? "l\(level + 1)n\($0)" : "end\($0)" }
                return "\(name) \(next.joined(separator: " "))"
            }
        }
        let left = try await self.envelope(["l0n0@example.com"], file: file.joined(separator: "\n"))
        #expect(left == (0..<5).map { "end\($0)@example.com" })
    }

    @Test func `the map knows aliases`() async throws {
        let session = try await self.session("", "rcpt_map domain example.com file users")
        #expect(try await session.rcpt(to: "info@example.com") == .ok)
        // A line of the map counts, and the note is about one recipient alone.
        #expect(try await session.rcpt(to: "root@example.com").verdict == .deny)
        #expect(try await session.rcpt(to: "nobody@example.com").verdict == .deny)
    }

    @Test(arguments: [
        "info@example.com", "info@example.com:", "info@example.com # nobody", "info@example.com ,",
        "info@example.com /dev/null", "info@example.com |/bin/cat", "info@example.com :include:/x",
        #"info@example.com "|cat""#, "info@example.com a@b@c", "info@example.com @",
        "info@example.com a@",
        "info@example.com jo@a_b.test", "info@example.com jo@-a.test",
        "info@example.com jo@a.test.",
        "info@example.com jo@[192.0.2.1]", "info@example.com jö@example.com",
        "info@example.com .jo",
        "info@example.com \(String(repeating: "x", count: 65))@example.com", "@ jo", "a@b@c jo",
        "a@ jo",
        #""a b"@example.com jo"#, "a@b..c jo", "a@x: b\nA@X: c", "root jo\nROOT ann", "@x a\n@X b",
    ])
    func `a line that cannot be read names itself`(lines: String) async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await self.session(file: "good@example.com: jo@example.com\n\(lines)")
        }
        let number = lines.split(separator: "\n").count + 1
        #expect(error?.description.contains("aliases:\(number): ") == true)
    }

    @Test(arguments: ["file a/b", "delimiter ++", "delimiter @", "keep_detail maybe", "x y"])
    func `arguments that do not do are said`(arguments: String) async throws {
        await #expect(throws: PluginProblems.self) { try await self.session(arguments) }
    }

    @Test func `another file, and none`() async throws {
        let session = try await TestSession(
            [Aliases.self, RcptOK.self],
            plugins: "aliases file other\nrcpt_ok",
            files: ["other": "a@example.com b@example.com", "rcpthosts": "example.com"]
        )
        try await session.mail(from: "bob@example.net")
        #expect(try await session.rcpt(to: "a@example.com") == .ok)
        #expect(try await session.data() == .declined)
        #expect(session.recipients.map { "\($0.address)" } == ["b@example.com"])
        #expect(try await self.envelope(["a@example.com"], file: "") == ["a@example.com"])
    }
}
