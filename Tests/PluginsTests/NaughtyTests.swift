import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

/// Refuses at the hook that its line names.
private struct Refuser: ConnectHook, HeloHook, MailHook, RcptHook, DataHook {
    static let name = "refuser"

    private let hook: String
    private let refusal: Refusal
    private let text: String

    init(configuration: PluginConfiguration) throws {
        self.hook = try configuration.requiredPositional("hook", as: .text)
        self.text = configuration.argument("text", as: .text, default: "no \(self.hook)")
        self.refusal = configuration.refusal()
    }

    func subscription(at hook: Hook) -> Subscription? {
        hook.rawValue == self.hook ? Subscription() : nil
    }

    private func refuse<Stage>(_ event: HookEvent<Stage>) -> Answer {
        event.refuse(self.refusal, self.text, detail: "1.8")
    }

    func connect(_ event: ConnectEvent) async throws -> Answer { self.refuse(event) }
    func helo(_ event: HeloEvent) async throws -> Answer { self.refuse(event) }
    func rcpt(_ event: RcptEvent) async throws -> Answer { self.refuse(event) }
    func data(_ event: DataEvent) async throws -> Answer { self.refuse(event) }

    func mail(_ event: MailEvent) async throws -> Answer {
        event.sender.address == "bad@example.net" ? self.refuse(event) : .declined
    }
}

@Suite struct NaughtyTests {
    private static let types: [any Plugin.Type] = [Refuser.self, Naughty.self, RcptOK.self]

    private func session(_ lines: String...) async throws -> TestSession {
        try await TestSession(
            Self.types,
            plugins: lines.joined(separator: "\n"),
            files: ["rcpthosts": "example.com"]
        )
    }

    private static let bob = "bob@example.net"
    private static let jo = "jo@example.com"
    private static let message = "From: <a@b.example>\r\n\r\nhello\r\n"

    @Test(arguments: [
        ("naughty", Hook.rcpt), ("naughty reject connect", .connect),
        ("naughty reject mail", .mail),
        ("naughty reject data", .data), ("naughty reject data_post", .data_post),
        ("naughty reject 1", .rcpt),
    ])
    func `a flagged session is refused where the line says`(line: String, hook: Hook) async throws {
        let session = try await self.session("refuser connect reject naughty", line, "rcpt_ok")
        var answers: [(Hook, Answer)] = [(.connect, try await session.connect())]
        answers.append((.mail, try await session.mail(from: Self.bob)))
        answers.append((.rcpt, try await session.rcpt(to: Self.jo)))
        answers.append((.data, try await session.data()))
        answers.append((.data_post, try await session.message(Self.message)))
        let refused = Answer.deny("no connect", status: "5.1.8")
        for (asked, answer) in answers {
            let isNet = asked == .data_post
            #expect((answer == refused) == (asked == hook || isNet), "\(asked) \(answer)")
        }
    }

    @Test func `the reply has a line for each flag, and the first says how`() async throws {
        let session = try await self.session(
            "refuser connect reject naughty reject_type temp_disconnect",
            "refuser:1 helo reject naughty text \"second line\"",
            "naughty"
        )
        try await session.connect()
        try await session.helo("a")
        try await session.mail(from: Self.bob)
        let answer = try await session.rcpt(to: Self.jo)
        #expect(answer.verdict == .denysoft_disconnect)
        #expect(answer.reply?.text == ["no connect", "second line"])
        #expect(answer.reply?.status == "4.1.8")
    }

    @Test func `its own reject_type wins`() async throws {
        let session = try await self.session(
            "refuser connect reject naughty reject_type temp",
            "naughty reject_type disconnect"
        )
        try await session.connect()
        try await session.mail(from: Self.bob)
        #expect(try await session.rcpt(to: Self.jo).verdict == .deny_disconnect)
    }

    @Test func `reject 0 refuses nothing`() async throws {
        let session = try await self.session("refuser connect reject naughty", "naughty reject 0")
        try await session.connect()
        try await session.mail(from: Self.bob)
        #expect(try await session.rcpt(to: Self.jo) == .declined)
        #expect(try await session.message(Self.message) == .declined)
    }

    @Test func `a session that is clean or immune passes`() async throws {
        let session = try await self.session("refuser connect reject naughty", "naughty")
        try await session.mail(from: Self.bob)
        #expect(try await session.rcpt(to: Self.jo) == .declined)
        try await session.connect()
        session.setNote(.whitelisthost, to: .bool(true))
        #expect(try await session.rcpt(to: Self.jo) == .declined)
        #expect(session.note(.naughty)?.count == 1)
    }

    @Test func `a login makes the session forget its flags`() async throws {
        let session = try await self.session("refuser connect reject naughty", "naughty")
        try await session.connect()
        session.authentication = .init(mechanism: "PLAIN", user: "jo")
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(session.note(.naughty) == nil)
        #expect(try await session.rcpt(to: Self.jo) == .declined)
    }

    @Test func `at rcpt it is asked before rcpt_ok wherever it stands`() async throws {
        let session = try await self.session("refuser connect reject naughty", "rcpt_ok", "naughty")
        #expect(session.plugins(at: .rcpt) == ["naughty", "rcpt_ok"])
        try await session.connect()
        try await session.mail(from: Self.bob)
        #expect(try await session.rcpt(to: Self.jo).verdict == .deny)
        let usual = try await self.session("refuser rcpt", "naughty", "refuser:1 rcpt", "rcpt_ok")
        #expect(usual.plugins(at: .rcpt) == ["refuser", "naughty", "refuser:1", "rcpt_ok"])
    }

    // MARK: delay_deny

    @Test(arguments: ["delay_deny", "naughty delay_deny 1"])
    func `refusals before RCPT wait for it`(line: String) async throws {
        let session = try await self.session(
            "refuser connect",
            "refuser:1 helo reject_type temp",
            line,
            "rcpt_ok"
        )
        #expect(try await session.connect() == .declined)
        #expect(try await session.helo("a") == .declined)
        #expect(try await session.mail(from: Self.bob) == .declined)
        let answer = try await session.rcpt(to: Self.jo)
        #expect(answer == .deny("no connect\nno helo", status: "5.1.8"))
        session.authentication = .init(mechanism: "PLAIN", user: "jo")
        session.relay = true
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.rcpt(to: Self.jo) == .ok)
    }

    @Test func `a refused sender is refused with its recipients, and no other sender`() async throws
    {
        let session = try await self.session("refuser mail", "delay_deny", "rcpt_ok")
        #expect(try await session.mail(from: "bad@example.net") == .declined)
        #expect(try await session.rcpt(to: Self.jo) == .deny("no mail", status: "5.1.8"))
        #expect(try await session.mail(from: Self.bob) == .declined)
        #expect(try await session.rcpt(to: Self.jo) == .ok)
    }

    @Test func `after a login nothing is put off`() async throws {
        let session = try await self.session("refuser mail", "delay_deny", "rcpt_ok")
        session.relay = true
        #expect(try await session.mail(from: "bad@example.net").verdict == .deny)
    }

    @Test(arguments: [
        ("delay_deny excluded_plugins refuser", false),
        ("delay_deny included_plugins other", false),
        ("delay_deny included_plugins other,refuser", true),
        ("delay_deny excluded_plugins other", true),
    ])
    func `plugins can be named`(line: String, isPutOff: Bool) async throws {
        let session = try await self.session("refuser:1 connect", line)
        #expect((try await session.connect() == .declined) == isPutOff)
    }

    @Test(arguments: ["naughty delay_deny 1 if tls", "naughty delay_deny 1 unless tls"])
    func `a line that does not count puts nothing off`(line: String) async throws {
        let session = try await self.session("refuser connect", line)
        #expect((try await session.connect() == .declined) == line.contains("unless"))
    }

    @Test func `refusals at rcpt and later are not put off`() async throws {
        let session = try await self.session("refuser rcpt", "refuser:1 data", "delay_deny")
        try await session.mail(from: Self.bob)
        #expect(try await session.rcpt(to: Self.jo).verdict == .deny)
        #expect(try await session.data().verdict == .deny)
    }

    @Test(arguments: [
        "naughty reject queue_post", "naughty reject_type maybe", "naughty excluded_plugins a",
        "delay_deny reject mail", "delay_deny reject connect",
    ])
    func `mistakes are named`(line: String) async throws {
        await #expect(throws: PluginProblems.self) { try await self.session(line) }
    }
}
