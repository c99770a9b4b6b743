import PolicyKit
import PolicyKitTesting
import Synchronization
import Testing

@testable import NetworkPlugins

@Suite struct SpamdReplyTests {
    private static let header = """
        Received: from x\r
        X-Spam-Flag: YES\r
        X-Spam-Status: Yes, score=15.2 required=5.0 tests=GTUBE,\r
        \tNO_RELAYS autolearn=spam\r
        \tautolearn_force=no version=4.0.0\r
        X-Spam-Report: \r
        \t* 1000 GTUBE BODY: test\r
        \t* -0.0 NO_RELAYS\r
        Subject: x\r
         folded X-Spam-Not: a field\r
        X-Spam-Checker-Version: SpamAssassin 4.0.0 on x\r
        \r

        """

    private static let reply = Array(
        """
        SPAMD/1.1 0 EX_OK\r
        Content-length: \(header.utf8.count)\r
        Spam: True ; 15.2 / 5.0\r
        \r
        \(header)
        """.utf8
    )

    @Test func `the verdict and the X-Spam fields are taken, folds kept`() throws {
        let reply = try SpamdReply(Self.reply)
        #expect(reply.isSpam && reply.score == 15.2 && reply.required == 5)
        #expect(
            reply.fields.map(\.name) == [
                "X-Spam-Flag", "X-Spam-Status", "X-Spam-Report", "X-Spam-Checker-Version",
            ]
        )
        let report = try #require(reply.fields.first { $0.name == "X-Spam-Report" })
        #expect(report.value == Array(" \r\n\t* 1000 GTUBE BODY: test\r\n\t* -0.0 NO_RELAYS".utf8))
        let status = SpamStatus(reply.fields[1].value)
        #expect(status.autolearn == "spam" && status.tests == "GTUBE,NO_RELAYS")
        #expect(status.version == "4.0.0")
    }

    @Test func `cut anywhere it is an error or lacks only fields`() throws {
        let whole = Self.reply
        for count in 0..<whole.count {
            #expect(throws: SpamdError.self, "cut at \(count)") {
                try SpamdReply(Array(whole[..<count]))
            }
        }
    }

    @Test(arguments: [
        "", "\r\n", "HTTP/1.1 200 OK\r\n\r\n", "SPAMD/1.1\r\n\r\n", "SPAMD/1.1 x y\r\n\r\n",
        "SPAMD/1.1 0 EX_OK\r\n\r\n", "SPAMD/1.1 0 EX_OK\r\nSpam: Maybe ; 1 / 5\r\n\r\n",
        "SPAMD/1.1 0 EX_OK\r\nSpam: True ; nan / 5\r\n\r\n",
        "SPAMD/1.1 0 EX_OK\r\nSpam: True ; 1\r\n\r\n",
        "SPAMD/1.1 0 EX_OK\r\nSpam: True ; 0x1 / 5\r\n\r\n",
        "SPAMD/1.1 0 EX_OK\r\nContent-length: 99\r\nSpam: True ; 1 / 5\r\n\r\n",
    ])
    func `what is no reply is an error`(text: String) {
        let error = #expect(throws: SpamdError.self) { try SpamdReply(Array(text.utf8)) }
        #expect(error?.code == .malformed)
    }

    @Test func `an error that spamd reports is one`() {
        let error = #expect(throws: SpamdError.self) {
            try SpamdReply(Array("SPAMD/1.0 76 Bad header line\r\n".utf8))
        }
        #expect(error?.code == .refused)
    }

    @Test func `control octets do not get into a field`() throws {
        let head = "SPAMD/1.1 0 EX_OK\r\nSpam: False ; 1 / 5\r\n\r\n"
        let reply = try SpamdReply(Array((head + "X-Spam-A: b\u{0}\rX: c\n\u{1}\r\n").utf8))
        #expect(reply.fields == [.init(name: "X-Spam-A", value: Array(" bX: c".utf8))])
    }

    @Test func `fields and their length are limited`() {
        let head = "SPAMD/1.1 0 EX_OK\r\nSpam: False ; 1 / 5\r\n\r\n"
        func fields(_ count: Int) -> [UInt8] {
            Array((head + String(repeating: "X-Spam-A: b\r\n", count: count)).utf8)
        }
        #expect(throws: Never.self) { try SpamdReply(fields(SpamdReply.maximumFields)) }
        #expect(throws: SpamdError.self) { try SpamdReply(fields(SpamdReply.maximumFields + 1)) }
        let value = String(repeating: "b", count: SpamdReply.maximumValueOctets)
        #expect(throws: Never.self) { try SpamdReply(Array((head + "X-Spam-A:\(value)\r\n").utf8)) }
        #expect(throws: SpamdError.self) {
            try SpamdReply(Array((head + "X-Spam-A:\(value)b\r\n").utf8))
        }
    }
}

@Suite struct SpamAssassinTests {
    private static let message =
        "Subject: hello\r\nX-Spam-Status: No, forged\r\nX-SPAM-Level: *\r\n\r\nbody\r\n"

    private static func reply(_ score: String, spam: Bool) -> String {
        """
        SPAMD/1.1 0 EX_OK\r
        Spam: \(spam ? "True" : "False") ; \(score) / 5.0\r
        \r
        X-Spam-Flag: \(spam ? "YES" : "NO")\r
        X-Spam-Status: \(spam ? "Yes" : "No"), score=\(score) required=5.0 tests=A,B\r
        \tautolearn=\(spam ? "spam" : "ham") version=4.0.0\r
        \r

        """
    }

    private final class Requests: Sendable {
        let list = Mutex<[(head: [String], body: String)]>([])
    }

    /// A spamd that answers everything with `reply`.
    private func spamd(
        _ reply: String,
        _ requests: Requests = Requests(),
        unixPath: String? = nil
    ) throws -> FakeTCPServer {
        try FakeTCPServer(unixPath: unixPath) { connection in
            var head: [String] = []
            while let line = connection.readLine(), line != "\r\n" { head.append(line) }
            let length =
                head.first { $0.hasPrefix("Content-length: ") }
                .flatMap { Int($0.dropFirst(16).dropLast()) } ?? 0
            let body = connection.read(length)
            requests.list.withLock { $0.append((head, String(decoding: body, as: UTF8.self))) }
            connection.write(reply)
        }
    }

    private func session(_ address: String, _ arguments: String = "") async throws -> TestSession {
        let session = try await TestSession(
            [SpamAssassin.self, AcceptEveryone.self],
            plugins: "accept_everyone\nspamassassin spamd_socket \(address) \(arguments)"
        )
        try await session.mail(from: "bob@example.net")
        try await session.rcpt(to: "alice@example.org")
        return session
    }

    private func fields(_ session: TestSession) -> [String] {
        session.headers.map { "\($0.name.string ?? "?"):\($0.value.string ?? "?")" }
    }

    @Test func `spamd gets the message, and its fields get into the header`() async throws {
        let requests = Requests()
        let spamd = try self.spamd(Self.reply("1.5", spam: false), requests)
        defer { spamd.stop() }
        let session = try await self.session(spamd.address, "spamd_user joe")
        #expect(try await session.message(Self.message) == .declined)
        let request = try #require(requests.list.withLock { $0.first })
        let body = "X-Envelope-From: <bob@example.net>\r\n" + Self.message
        #expect(
            request.head == [
                "HEADERS SPAMC/1.4\r\n", "Content-length: \(body.utf8.count)\r\n", "User: joe\r\n",
            ]
        )
        #expect(request.body == body)
        #expect(
            self.fields(session) == [
                "X-Spam-Flag: NO",
                "X-Spam-Status: No, score=1.5 required=5.0 tests=A,B\r\n\tautolearn=ham version=4.0.0",
                "Subject: hello", "X-Old-Spam-Status: No, forged", "X-Old-SPAM-Level: *",
            ]
        )
        #expect(session.note(.karma) == 1)
        let note = try #require(session.note(NoteKey<JSONValue>("spamassassin", in: .transaction)))
        #expect(note["is_spam"] == .string("No") && note["score"] == .double(1.5))
        #expect(note["tests"] == .string("A,B") && note["autolearn"] == .string("ham"))
        await session.stop()
    }

    @Test func `a Unix socket will do`() async throws {
        let folder = try ScratchFolder()
        let spamd = try self.spamd(Self.reply("1.5", spam: false), unixPath: "\(folder.path)/spamd")
        defer { spamd.stop() }
        let session = try await self.session(spamd.address)
        #expect(try await session.message(Self.message) == .declined)
        #expect(session.headers.first?.name == "X-Spam-Flag")
        await session.stop()
    }

    @Test func `a score at the threshold is refused, below it not`() async throws {
        for (arguments, score, verdict) in [
            ("reject 8", "8.0", Verdict.deny), ("reject 8", "7.9", .declined),
            ("reject_threshold 8", "8.0", .deny), ("reject 8 reject_type temp", "8.0", .denysoft),
            ("reject userprefs", "99.0", .declined), ("reject 0", "99.0", .declined),
            ("", "99.0", .declined),
        ] {
            let spamd = try self.spamd(Self.reply(score, spam: true))
            defer { spamd.stop() }
            let session = try await self.session(spamd.address, arguments)
            let answer = try await session.message(Self.message)
            #expect(answer.verdict == verdict, "\(arguments) \(score)")
            if verdict != .declined {
                #expect(answer.reply?.text == ["spam score exceeded threshold"])
            }
            #expect(session.note(.karma) == -2)
            await session.stop()
        }
    }

    @Test func `the subject is marked above both thresholds only`() async throws {
        for (arguments, score, subject) in [
            ("munge_subject_threshold 8", "8.1", " *** SPAM *** hello"),
            ("munge_subject_threshold 8", "8.0", " hello"),
            ("munge_subject_threshold 3", "4.0", " hello"),
            ("munge_subject_threshold 3", "5.0", " hello"), ("", "99.0", " hello"),
            (
                #"munge_subject_threshold 3 subject_prefix "[junk mail]""#, "6.0",
                " [junk mail] hello"
            ),
        ] {
            let spamd = try self.spamd(Self.reply(score, spam: true))
            defer { spamd.stop() }
            let session = try await self.session(spamd.address, arguments)
            try await session.message(Self.message)
            #expect(
                session.headers.first { $0.name == "Subject" }?.value.string == subject,
                "\(score)"
            )
            await session.stop()
        }
    }

    @Test func `old fields are dropped, renamed or kept, and none added`() async throws {
        for (arguments, names) in [
            ("headers none leave_old_headers drop", ["Subject"]),
            ("headers none", ["Subject", "X-Old-Spam-Status", "X-Old-SPAM-Level"]),
            ("headers none leave_old_headers keep", ["Subject", "X-Spam-Status", "X-SPAM-Level"]),
        ] {
            let spamd = try self.spamd(Self.reply("1.0", spam: false))
            defer { spamd.stop() }
            let session = try await self.session(spamd.address, arguments)
            try await session.message(Self.message)
            #expect(session.headers.map { $0.name.string } == names)
            await session.stop()
        }
    }

    @Test func `vpopmail is the recipient, if there is one`() async throws {
        let requests = Requests()
        let spamd = try self.spamd(Self.reply("1.0", spam: false), requests)
        defer { spamd.stop() }
        let session = try await self.session(spamd.address, "spamd_user vpopmail")
        try await session.message(Self.message)
        try await session.rcpt(to: "carol@example.org")
        try await session.message(Self.message)
        #expect(
            requests.list.withLock { $0.map { $0.head.last } } == [
                "User: alice@example.org\r\n", "User: vpopmail\r\n",
            ]
        )
        #expect(session.headers.contains { $0.name == "X-Spam-User" && $0.value == " vpopmail" })
        await session.stop()
    }

    @Test func `what is immune or too large is not sent`() async throws {
        let requests = Requests()
        let spamd = try self.spamd(Self.reply("99.0", spam: true), requests)
        defer { spamd.stop() }
        let session = try await self.session(
            spamd.address,
            "reject 5 size_limit \(Self.message.utf8.count)"
        )
        session.relay = true
        #expect(try await session.message(Self.message) == .declined)
        session.relay = false
        #expect(try await session.message(Self.message + "x") == .declined)
        #expect(requests.list.withLock { $0.isEmpty })
        #expect(try await session.message(Self.message).verdict == .deny)
        let scanning = try await self.session(spamd.address, "reject 5 relayclient scan")
        scanning.relay = true
        #expect(try await scanning.message(Self.message).verdict == .deny)
        await session.stop()
        await scanning.stop()
    }

    @Test func `trouble with spamd is an error, never a verdict`() async throws {
        let scripts: [@Sendable (FakeTCPServer.Connection) -> Void] = [
            { _ in },
            { $0.write("hello\r\n") },
            { $0.write("SPAMD/1.1 0 EX_OK\r\nSpam: Tr") },
            { connection in
                connection.write("SPAMD/1.1 0 EX_OK\r\nSpam: True ; 9 / 5\r\n\r\n")
                let line = "X: " + String(repeating: "y", count: 60_000) + "\r\n"
                for _ in 0..<10 { connection.write(line) }
            },
        ]
        for script in scripts {
            let spamd = try FakeTCPServer(script)
            defer { spamd.stop() }
            let session = try await self.session(spamd.address, "reject 5")
            await #expect(throws: TestFailure.self) { try await session.message(Self.message) }
            await session.stop()
        }
        let session = try await self.session("/nonexistent/spamd")
        await #expect(throws: TestFailure.self) { try await session.message(Self.message) }
        await session.stop()
    }

    @Test func `a silent spamd costs the event's time and no more`() async throws {
        let spamd = try FakeTCPServer { $0.waitForEnd() }
        defer { spamd.stop() }
        let session = try await self.session(spamd.address)
        session.deadline = .milliseconds(700)
        let start = ContinuousClock.now
        await #expect(throws: TestFailure.self) { try await session.message(Self.message) }
        #expect(ContinuousClock.now - start < .seconds(5))
        await session.stop()
    }

    @Test(arguments: [
        "reject x", "reject 5 reject_threshold 6", "size_limit 0", "headers some",
        "relayclient maybe",
        "spamd_user \"a b\"", "leave_old_headers burn", "nonsense 1",
    ])
    func `a wrong argument is an error at start`(arguments: String) async {
        await #expect(throws: (any Error).self) { _ = try await self.session("/x", arguments) }
    }
}

/// Accepts every recipient.
private struct AcceptEveryone: RcptHook {
    static let name = "accept_everyone"
    init(configuration: PluginConfiguration) {}
    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }
}
