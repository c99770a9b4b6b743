import PolicyKit
import PolicyKitTesting
import Synchronization
import Testing

@testable import StandardPlugins

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

    @Test func `fields and their length are limited, and what is more is left out`() throws {
        let head = "SPAMD/1.1 0 EX_OK\r\nSpam: False ; 1 / 5\r\n\r\n"
        let many = String(repeating: "X-Spam-A: b\r\n", count: SpamdReply.maximumFields + 1)
        let fields = try SpamdReply(Array((head + many).utf8)).fields
        #expect(fields.count == SpamdReply.maximumFields)
        let limit = SpamdReply.maximumValueOctets
        let value = String(repeating: "b", count: limit + 1)
        let long = try SpamdReply(Array((head + "X-Spam-A:\(value)\r\n").utf8))
        #expect(long.fields.map(\.value.count) == [limit])
        let field = "X-Spam-A: b\r\n\t\(value.dropLast(100))\r\n"
        let folded = head + String(repeating: field, count: 9)
        let total = try SpamdReply(Array(folded.utf8)).fields.reduce(0) { $0 + $1.value.count }
        #expect(total <= SpamdReply.maximumOctets)
        let name = String(repeating: "a", count: 249)
        let named = try SpamdReply(Array((head + "X-Spam-\(name): b\r\n c\r\n").utf8))
        #expect(named.fields == [])
    }

    @Test func `what a note takes of the status is short and printable`() {
        let status = SpamStatus(
            Array(" Yes, tests=\u{65}\u{301}\u{0},\"".utf8)
                + Array(String(repeating: "\r\n A,", count: 5_000).utf8)
        )
        #expect(status.tests?.utf8.count ?? 0 <= 4_096)
        #expect(status.tests?.utf8.allSatisfy { 0x21...0x7E ~= $0 } == true)
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
    ) throws -> TestServer {
        try TestServer(unixPath: unixPath) { connection in
            let request = Self.readRequest(connection)
            requests.list.withLock { $0.append(request) }
            connection.write(reply)
        }
    }

    /// Reads all of a request: a socket that is closed with octets unread resets the connection, and
    /// the reply may be lost.
    private static func readRequest(
        _ connection: TestServer.Connection
    ) -> (head: [String], body: String) {
        var head: [String] = []
        while let line = connection.readLine(), line != "\r\n" { head.append(line) }
        let length =
            head.first { $0.hasPrefix("Content-length: ") }
            .flatMap { Int($0.dropFirst(16).dropLast()) } ?? 0
        return (head, String(decoding: connection.read(length), as: UTF8.self))
    }

    private func session(
        _ address: some CustomStringConvertible,
        _ arguments: String = ""
    ) async throws -> TestSession {
        let session = try await TestSession(
            [SpamAssassin.self, AcceptEveryone.self],
            plugins: "accept_everyone\nspamassassin spamd_socket \(address) \(arguments)"
        )
        try await session.mail(from: "bob@example.net")
        try await session.rcpt(to: "alice@example.org")
        return session
    }

    @Test(arguments: [
        (5.0, false, false), (7.5, false, false), (12.0, true, false), (7.5, true, false),
        (25.0, false, true), (25.0, true, true),
    ])
    func `each recipient may have a threshold of its own`(
        score: Double,
        repliesEach: Bool,
        isRefused: Bool
    ) async throws {
        // The common file says 20, and strict's own one 7.
        let spamd = try self.spamd(Self.reply("\(score)", spam: true))
        let session = try await TestSession(
            [SpamAssassin.self, AcceptEveryone.self],
            plugins:
                "accept_everyone\nspamassassin spamd_socket \(spamd.address) reject 10 per_recipient 1",
            files: [
                "spamassassin_reject": "20\n",
                "worker.toml": "recipient_directory = \"config/own/%h/%u\"\n",
            ]
        )
        try session.write("7\n", to: "own/example.org/strict/spamassassin_reject")
        session.repliesEach = repliesEach
        try await session.mail(from: "bob@example.net")
        try await session.rcpt(to: "usual@example.org")
        try await session.rcpt(to: "strict@example.org")
        let answer = try await session.message(Self.message)
        #expect((answer.verdict == .deny) == isRefused)
        let told = session.refusedRecipients.map { $0.recipient.local.string ?? "" }
        #expect(told == (repliesEach && score >= 7 && score < 20 ? ["strict"] : []))
        await session.stop()
    }

    @Test func `one recipient decides alone, and a file that is no score stops the worker`()
        async throws
    {
        let spamd = try self.spamd(Self.reply("8.0", spam: true))
        let line = "accept_everyone\nspamassassin spamd_socket \(spamd.address) per_recipient 1"
        let session = try await TestSession(
            [SpamAssassin.self, AcceptEveryone.self],
            plugins: line,
            files: ["worker.toml": "recipient_directory = \"config/own/%h/%u\"\n"]
        )
        try session.write("7\n", to: "own/example.org/strict/spamassassin_reject")
        for (recipient, isRefused) in [("usual", false), ("strict", true)] {
            try await session.mail(from: "bob@example.net")
            try await session.rcpt(to: "\(recipient)@example.org")
            let answer = try await session.message(Self.message)
            #expect((answer.verdict == .deny) == isRefused, "\(recipient)")
        }
        await session.stop()
        await #expect(throws: (any Error).self) {
            try await TestSession(
                [SpamAssassin.self],
                plugins: "spamassassin per_recipient 1",
                files: ["spamassassin_reject": "much\n"]
            )
        }
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

    @Test(arguments: [
        ("Subject : hello\r\n", [" *** SPAM *** hello"]),
        ("Subject:\r\n \r\n\tfolded\r\n", [" *** SPAM *** \r\n\tfolded"]),
        ("Subject: a\u{0}b\r\n", [" *** SPAM *** ab"]),
        ("Subject: a\r\nSUBJECT: b\r\n", [" *** SPAM *** a"]),
        ("", [" *** SPAM ***"]),
    ])
    func `there is one subject, and it is marked`(header: String, subjects: [String]) async throws {
        let spamd = try self.spamd(Self.reply("9.0", spam: true))
        defer { spamd.stop() }
        let session = try await self.session(spamd.address, "munge_subject_threshold 5")
        try await session.message("From: a@b.test\r\n\(header)\r\nx\r\n")
        let marked = session.headers.filter { $0.name.equalsIgnoringASCIICase("Subject") }
        #expect(marked.map { $0.value.string } == subjects)
        #expect(marked.allSatisfy { $0.space.octets.isEmpty })
        await session.stop()
    }

    @Test(arguments: ["X-Spam-Status : No, forged\r\n", "X-SPAM-STATUS\t: No, forged\r\n"])
    func `white space before the colon hides no forged field`(field: String) async throws {
        let spamd = try self.spamd(Self.reply("9.0", spam: true))
        defer { spamd.stop() }
        let session = try await self.session(spamd.address)
        try await session.message("From: a@b.test\r\n\(field)\r\nx\r\n")
        let status = session.headers.filter { $0.name.equalsIgnoringASCIICase("X-Spam-Status") }
        #expect(status.count == 1 && status.first?.value.string?.hasPrefix(" Yes") == true)
        #expect(session.headers.contains { $0.value == " No, forged" })
        await session.stop()
    }

    @Test func `a header that no verdict can clean is refused`() async throws {
        let spamd = try self.spamd(Self.reply("1.0", spam: false))
        defer { spamd.stop() }
        let session = try await self.session(spamd.address)
        for (names, verdict) in [
            ((1...64).map { "\($0)" }, Verdict.declined), ((1...65).map { "\($0)" }, .deny),
            ([String(repeating: "a", count: 248)], .declined),
            ([String(repeating: "a", count: 249)], .deny),
            (Array(repeating: "a", count: 2_000), .declined),
        ] {
            let header = names.map { "X-Spam-\($0): x\r\n" }.joined()
            let answer = try await session.message(header + "\r\nx\r\n")
            #expect(answer.verdict == verdict, "\(names.count)")
            guard verdict == .declined else { continue }
            let left = session.headers.compactMap { $0.name.string?.lowercased() }
            #expect(Set(left).intersection(names.map { "x-spam-\($0)" }).isEmpty)
        }
        await session.stop()
    }

    /// The session here judges each verdict as the frontend does.
    @Test func `whatever the message and spamd say, the verdict is valid`() async throws {
        var generator = SystemRandomNumberGenerator()
        let names = [
            "Subject", "subject ", "X-Spam-Status", "X-Spam-Flag\t",
            "X-SPAM-" + String(repeating: "n", count: 245),
            "X-Spam-", "X-Spam-Report", "From", "X-" + String(repeating: "n", count: 990),
            "X-Spam-\u{FC}",
        ]
        let pieces: [[UInt8]] = [
            [0], [1], [0x20], [0x09], [0x0D, 0x0A, 0x20], [0x0D, 0x0A, 0x09, 0x0D, 0x0A, 0x09],
            [0xFF], Array("\u{FC}\u{20AC}".utf8), Array("word=\"1\", tests=".utf8),
            Array(repeating: 0x78, count: 1_500), Array(repeating: 0xFC, count: 3_000),
            Array(repeating: 0x20, count: 1_000), Array(repeating: 0x01, count: 9_000),
        ]
        func header() -> [UInt8] {
            let count = [3, 10, 100].randomElement(using: &generator) ?? 3
            var header: [UInt8] = []
            for _ in 0..<Int.random(in: 0...count, using: &generator) where header.count < 100_000 {
                header += Array((names.randomElement(using: &generator) ?? "A").utf8) + [0x3A]
                for _ in 0..<Int.random(in: 0..<8, using: &generator) {
                    header += pieces.randomElement(using: &generator) ?? []
                }
                header += [0x0D, 0x0A]
            }
            return header + [0x0D, 0x0A]
        }
        for _ in 0..<25 {
            let reply = Array("SPAMD/1.1 0 EX_OK\r\nSpam: True ; 9 / 5\r\n\r\n".utf8) + header()
            let spamd = try TestServer { connection in
                _ = Self.readRequest(connection)
                connection.write(reply)
            }
            defer { spamd.stop() }
            let session = try await self.session(
                spamd.address,
                "munge_subject_threshold 5 size_limit 33554432"
            )
            let message = header()
            let answer = try await session.message(message + Array("body\r\n".utf8))
            #expect(answer.verdict == .declined || answer.verdict == .deny)
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

    @Test(arguments: [
        ("%u", "User: alice\r\n"), ("%a", "User: alice@example.org\r\n"),
        ("mail-%h", "User: mail-example.org\r\n"),
        ("%%%u%x", "User: %alicex\r\n"),
    ])
    func `a user is made of the recipient`(pattern: String, line: String) async throws {
        let requests = Requests()
        let spamd = try self.spamd(Self.reply("1.0", spam: false), requests)
        defer { spamd.stop() }
        let session = try await self.session(spamd.address, "spamd_user \(pattern)")
        try await session.message(Self.message)
        try await session.rcpt(to: "carol@example.org")
        try await session.message(Self.message)
        let path = try await self.session(spamd.address, "spamd_user ../%u")
        try await path.message(Self.message)
        let users = requests.list.withLock { $0.map { $0.head.last } }
        #expect(users.first == line && users.count == 3)
        // With two recipients, and where it would be a path, the worker's own.
        #expect(users[1] == users[2] && users[1] != line)
        await session.stop()
        await path.stop()
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
        #expect(session.headers.contains { $0.name == "X-Spam-Status" })
        #expect(try await session.message(Self.message + "x") == .declined)
        #expect(!session.headers.contains { $0.name == "X-Spam-Status" })
        #expect(requests.list.withLock { $0.isEmpty })
        #expect(try await session.message(Self.message).verdict == .deny)
        let scanning = try await self.session(spamd.address, "reject 5 relayclient scan")
        scanning.relay = true
        #expect(try await scanning.message(Self.message).verdict == .deny)
        await session.stop()
        await scanning.stop()
    }

    @Test func `trouble with spamd is an error, never a verdict`() async throws {
        let scripts: [@Sendable (TestServer.Connection) -> Void] = [
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
            let spamd = try TestServer(script)
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
        let spamd = try TestServer { $0.waitForEnd() }
        defer { spamd.stop() }
        let session = try await self.session(spamd.address)
        session.deadline = .milliseconds(700)
        let start = ContinuousClock.now
        await #expect(throws: TestFailure.self) { try await session.message(Self.message) }
        // Its own time would be over later still.
        #expect(ContinuousClock.now - start < SpamAssassin.totalTime)
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
