import PolicyKit
import PolicyKitTesting
import Synchronization
import Testing

@testable import StandardPlugins

struct RspamdReplyTests {
    private static let start = #""score":1.5,"required_score":15,"is_skipped":false"#

    private func reply(_ json: String) throws(RspamdError) -> RspamdReply {
        try RspamdReply(Array(json.utf8))
    }

    @Test(arguments: RspamdReply.Action.allCases)
    func `each action is known`(action: RspamdReply.Action) throws {
        let reply = try self.reply("{\"action\":\"\(action.rawValue)\",\(Self.start)}")
        #expect(reply.action == action)
        #expect(reply.score == 1.5 && reply.required == 15)
    }

    @Test(arguments: [
        ("no action", "discard", RspamdReply.Action.noAction), ("reject", "discard", .discard),
        ("reject", "quarantine", .quarantine), ("reject", "burn", .reject),
    ])
    func `the block milter says what becomes of a rejected message`(
        action: String,
        word: String,
        expected: RspamdReply.Action
    ) throws {
        let json = "{\"action\":\"\(action)\",\(Self.start),\"milter\":{\"reject\":\"\(word)\"}}"
        #expect(try self.reply(json).action == expected)
    }

    @Test func `changes are read in all their forms`() throws {
        let reply = try self.reply(
            """
            {"action":"no action",\(Self.start),"dkim-signature":["v=1;\\n\\tb=x","v=1\\r\\n y"],
            "symbols":{"B":{"score":0.5},"A":{"score":-3},"C":{}},"unknown":[1],
            "milter":{"remove_headers":{"X-Old":0,"X-Some":[1,-1]},"change_from":"a@b.test",
            "add_rcpt":["c@d.test"],"del_rcpt":["e@f.test"],
            "add_headers":{"X-C":["c","d"],"X-B":{"value":"b","order":5},"X-A":{"value":"a","index":1},
            "X-D":{"value":"e","order":-1}}}}
            """
        )
        #expect(reply.symbols.map(\.name) == ["A", "B", "C"])
        #expect(
            reply.removals.map { "\($0.name) \($0.index)" } == ["X-Old 0", "X-Some 1", "X-Some -1"]
        )
        #expect(
            reply.additions.map { "\($0.name)=\($0.value)\($0.isOnTop ? " top" : "")" } == [
                "X-A=a top", "X-B=b top", "X-C=c", "X-C=d", "X-D=e",
                "DKIM-Signature=v=1;\r\n\tb=x top", "DKIM-Signature=v=1\r\n y top",
            ]
        )
        #expect(reply.sender == "a@b.test")
        #expect(reply.newRecipients == ["c@d.test"] && reply.goneRecipients == ["e@f.test"])
    }

    @Test(arguments: [
        "", "hello", "[]", "{}", "null", "{\"action\":\"reject\"}",
        "{\"action\":\"burn\",\(start)}", "{\"action\":5,\(start)}",
        "{\"action\":\"reject\",\"score\":\"x\",\"required_score\":1}",
        "{\"action\":\"reject\",\(start)", "{\"action\":\"reject\",\(start)} x",
        "{\"action\":\"reject\",\"action\":\"no action\",\(start)}",
        "{\"action\":\"no action\",\(start),\"symbols\":[]}",
        "{\"action\":\"no action\",\(start),\"dkim-signature\":5}",
        "{\"action\":\"no action\",\(start),\"milter\":{\"add_headers\":[]}}",
        "{\"action\":\"no action\",\(start),\"milter\":{\"add_headers\":{\"A\":5}}}",
        "{\"action\":\"no action\",\(start),\"milter\":{\"add_headers\":{\"A:\":\"x\"}}}",
        "{\"action\":\"no action\",\(start),\"milter\":{\"add_headers\":{\"\":\"x\"}}}",
        "{\"action\":\"no action\",\(start),\"milter\":{\"remove_headers\":{\"A\":\"x\"}}}",
        "{\"action\":\"no action\",\(start),\"milter\":{\"remove_headers\":{\"A\\r\\n\":1}}}",
        "{\"action\":\"no action\",\(start),\"milter\":{\"add_rcpt\":[\"a b\"]}}",
        "{\"action\":\"no action\",\(start),\"milter\":{\"change_from\":\"a>\"}}",
        "{\"action\":\"no action\",\(start),\"milter\":{\"add_headers\":{\"A\":\""
            + String(repeating: "x", count: 12_289) + "\"}}}",
        "{\"action\":\"no action\",\(start),\"milter\":{\"remove_headers\":{\"A\":["
            + (0..<65).map { "\($0)" }.joined(separator: ",") + "]}}}",
    ])
    func `what is not as it should be is an error`(json: String) {
        #expect(throws: RspamdError.self) { try self.reply(json) }
    }

    @Test func `a damaged answer is an error or an answer`() throws {
        var generator = SystemRandomNumberGenerator()
        let octets = Array(
            """
            {"action":"add header",\(Self.start),"symbols":{"A":{"score":-3}},"subject":"x",
            "milter":{"remove_headers":{"X-Old":0},"add_headers":{"X-C":["c","d"]}}}
            """.utf8
        )
        for _ in 0..<5_000 {
            var damaged = octets
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let index = Int.random(in: damaged.indices, using: &generator)
                damaged[index] = .random(in: 0...255, using: &generator)
            }
            guard let reply = try? RspamdReply(damaged) else { continue }
            #expect(reply.additions.allSatisfy { RspamdReply.isFieldName($0.name) })
        }
    }
}

struct RspamdTests {
    private static let message =
        "From: a@b.test\r\nX-Old: 1\r\nX-Old: 2\r\nX-Old: 3\r\nX-Spam: No\r\nSubject: h\r\n\r\nhi\r\n"
    private static let clean = #"{"action":"no action","score":1,"required_score":15}"#

    private final class Requests: Sendable {
        let list = Mutex<[(head: [String], body: String)]>([])
    }

    private func rspamd(
        _ json: String,
        status: String = "200 OK",
        _ requests: Requests = Requests()
    ) throws -> TestServer {
        try TestServer { connection in
            var head: [String] = []
            while let line = connection.readLine(), line != "\r\n" { head.append(line) }
            let length = head.first { $0.hasPrefix("Content-Length: ") }
                .flatMap { Int($0.dropFirst(16).dropLast()) }
            let body = String(decoding: connection.read(length ?? 0), as: UTF8.self)
            requests.list.withLock { $0.append((head.map { String($0.dropLast()) }, body)) }
            connection.write(
                "HTTP/1.1 \(status)\r\nConnection: close\r\nContent-Length: \(json.utf8.count)\r\n\r\n\(json)"
            )
        }
    }

    private func session(_ server: String, _ arguments: String = "") async throws -> TestSession {
        let session = try await TestSession(
            [Rspamd.self, AcceptAnyone.self],
            plugins: "rspamd server \(server) \(arguments)\naccept_anyone",
            files: ["me": "mx.example.org\n"]
        )
        try await session.ehlo("client.example")
        try await session.mail(from: "bob@example.net")
        try await session.rcpt(to: "alice@example.org")
        return session
    }

    private func play(
        _ json: String,
        _ arguments: String = "",
        _ body: (TestSession, Answer) throws -> Void
    ) async throws {
        let server = try self.rspamd(json)
        defer { server.stop() }
        let session = try await self.session("\(server.address)", arguments)
        try body(session, try await session.message(Self.message))
        await session.stop()
    }

    private static func json(_ action: String, _ rest: String = "") -> String {
        "{\"action\":\"\(action)\",\"score\":7,\"required_score\":15\(rest)}"
    }

    @Test func `rspamd is told who sends what to whom`() async throws {
        let requests = Requests()
        let server = try self.rspamd(Self.clean, requests)
        defer { server.stop() }
        let session = try await self.session(
            "\(server.address)",
            "settings_id mine settings_id_of_users theirs relayclient scan"
        )
        session.clientName = "host.example"
        session.encrypt(fingerprint: nil)
        try await session.message(Self.message)
        try await session.rcpt(to: "carol@example.org")
        session.authentication = SessionSnapshot.Authentication(mechanism: "PLAIN", user: "jo")
        session.relay = true
        try await session.message(Self.message)
        let heads = requests.list.withLock { $0.map(\.head) }
        #expect(heads.count == 2)
        #expect(heads.first?.first == "POST /checkv2 HTTP/1.1")
        let facts = heads.map { head in
            head.filter { !["POST ", "Host:", "Conte", "Queue"].contains($0.prefix(5)) }
        }
        #expect(
            facts == [
                [
                    "IP: 192.0.2.1", "From: bob@example.net", "MTA-Name: mx.example.org",
                    "Helo: client.example", "Hostname: host.example", "Rcpt: alice@example.org",
                    "Deliver-To: alice@example.org", "TLS-Version: TLSv1.3", "Settings-ID: mine",
                ],
                [
                    "IP: 192.0.2.1", "From: bob@example.net", "MTA-Name: mx.example.org",
                    "Helo: client.example", "Hostname: host.example", "Rcpt: alice@example.org",
                    "Rcpt: carol@example.org", "User: jo", "TLS-Version: TLSv1.3",
                    "Settings-ID: theirs",
                ],
            ]
        )
        #expect(requests.list.withLock { $0.first?.body } == Self.message)
        await session.stop()
    }

    @Test(arguments: [
        ("reject", "", Answer.deny("Spam message rejected", status: "5.7.1")),
        ("reject", "reject_type temp", .denysoft("Spam message rejected", status: "4.7.1")),
        ("reject", "reject 0", .declined), ("reject", "reject naughty", .declined),
        ("soft reject", "", .denysoft("Try again later", status: "4.7.1")),
        ("soft reject", "reject 0", .declined), ("greylist", "", .declined),
        ("greylist", "greylist defer", .denysoft("Try again later", status: "4.7.1")),
        ("discard", "", .done(250, "2.0.0", "Message taken")), ("discard", "reject 0", .declined),
        ("quarantine", "", .declined), ("add header", "", .declined), ("no action", "", .declined),
    ])
    func `each action has its verdict`(
        action: String,
        arguments: String,
        expected: Answer
    ) async throws {
        try await self.play(Self.json(action), arguments) { session, answer in
            #expect(answer == expected)
            #expect(
                session.note(.quarantine)
                    == (action == "quarantine" ? "rspamd: quarantine, 7.0 of 15.0" : nil)
            )
            let isGood = ["greylist", "no action"].contains(action)
            #expect(session.note(.karma) == (isGood ? nil : -1))
            #expect((session.note(.naughty) != nil) == arguments.contains("naughty"))
        }
    }

    @Test func `the client hears rspamd's words, on one line`() async throws {
        let words = ",\"messages\":{\"smtp_message\":\"Go\\r\\n250 away \u{FC}\"}"
        try await self.play(Self.json("reject", words)) { _, answer in
            #expect(answer.reply?.text == ["Go  250 away   "])
        }
    }

    @Test func `spam is marked, and no mark can be forged`() async throws {
        try await self.play(
            Self.json("add header", ",\"symbols\":{\"A\":{\"score\":7}}"),
            "symbols_header X-Why"
        ) {
            session,
            _ in
            let fields = session.headers.map { "\($0.name):\($0.value)" }
            #expect(
                fields == [
                    "X-Spam: Yes", "X-Rspamd-Score: 7.0 / 15.0", "X-Rspamd-Action: add header",
                    "X-Why: A(7.0)", "From: a@b.test", "X-Old: 1", "X-Old: 2", "X-Old: 3",
                    "Subject: h",
                ]
            )
        }
        try await self.play(Self.clean, "score_header none action_header none") { session, _ in
            #expect(
                session.headers.map { "\($0.name)" } == [
                    "From", "X-Old", "X-Old", "X-Old", "Subject",
                ]
            )
        }
    }

    @Test func `the subject is rewritten`() async throws {
        try await self.play(Self.json("rewrite subject", ",\"subject\":\"=?UTF-8?Q?=C3=A9?=\"")) {
            session,
            _ in
            let subjects = session.headers.filter { $0.name == "Subject" }
            #expect(subjects.map(\.value) == [" =?UTF-8?Q?=C3=A9?="])
        }
    }

    private static let milter = """
        ,"milter":{"remove_headers":{"X-Old":[2,-1],"X-Spam":0,"X-None":1},"change_from":"new@b.test",
        "add_headers":{"X-Top":{"value":"t","order":1},"X-End":"e"},"add_rcpt":["eve@example.org"],
        "del_rcpt":["ALICE@example.org"]},"dkim-signature":"v=1"
        """

    @Test func `what rspamd wants changed is changed`() async throws {
        let quiet = "score_header none action_header none"
        try await self.play(Self.json("no action", Self.milter), quiet) { session, _ in
            #expect(
                session.headers.map { "\($0.name):\($0.value)" } == [
                    "X-Top: t", "DKIM-Signature: v=1", "From: a@b.test", "X-Old: 1", "Subject: h",
                    "X-End: e",
                ]
            )
            #expect(session.sender?.address == "new@b.test")
            #expect(session.recipients.map(\.address) == ["eve@example.org"])
        }
        try await self.play(Self.json("no action", Self.milter), quiet + " changes headers") {
            session,
            _ in
            #expect(session.headers.count == 6)
            #expect(session.recipients.map(\.address) == ["alice@example.org"])
        }
        try await self.play(Self.json("no action", Self.milter), quiet + " changes none") {
            session,
            _ in
            #expect(
                session.headers.map { "\($0.name)" } == [
                    "From", "X-Old", "X-Old", "X-Old", "Subject",
                ]
            )
            #expect(session.sender?.address == "bob@example.net")
        }
    }

    @Test(arguments: ["size_limit 10", "on_error decline"])
    func `a forged mark goes also from a message that is not looked at`(
        arguments: String
    )
        async throws
    {
        // Nothing listens there.
        let session = try await self.session("127.0.0.1:1", arguments)
        let message = "X-Spam: No\r\nX-Rspamd-Score: -9\r\nSubject: a\r\n\r\nbody\r\n"
        #expect(try await session.message(message) == .declined)
        #expect(session.headers.map { "\($0.name)" } == ["Subject"])
    }

    @Test func `what is immune or too large is not sent`() async throws {
        let requests = Requests()
        let server = try self.rspamd(Self.json("reject"), requests)
        defer { server.stop() }
        let session = try await self.session(
            "\(server.address)",
            "size_limit \(Self.message.utf8.count)"
        )
        session.relay = true
        #expect(try await session.message(Self.message) == .declined)
        session.relay = false
        #expect(try await session.message(Self.message + "x") == .declined)
        #expect(requests.list.withLock { $0.isEmpty })
        #expect(try await session.message(Self.message).verdict == .deny)
        await session.stop()
    }

    /// A status or none, and an answer that is none.
    static let lies: [(String, String)] = [
        ("500 Internal", clean), ("503 Busy", ""), ("200 OK", "garbage"), ("200 OK", "{}"),
        ("200 OK", #"{"action":"burn","score":1,"required_score":15}"#), ("302 Found", clean),
    ]

    @Test(arguments: lies)
    func `a lying rspamd is a failure, deferred or passed over`(
        status: String,
        json: String
    ) async throws {
        let server = try self.rspamd(json, status: status)
        defer { server.stop() }
        let failing = try await self.session("\(server.address)")
        await #expect(throws: TestFailure.self) { try await failing.message(Self.message) }
        let deferring = try await self.session("\(server.address)", "on_error defer")
        let answer = try await deferring.message(Self.message)
        #expect(answer.verdict == .denysoft && answer.reply?.status == "4.7.1")
        let declining = try await self.session("\(server.address)", "on_error decline")
        #expect(try await declining.message(Self.message) == .declined)
        // All but the forged X-Spam.
        #expect(declining.headers.count == 5)
        for session in [failing, deferring, declining] { await session.stop() }
    }

    @Test(arguments: [true, false])
    func `an rspamd that closes or says nothing costs its time and no more`(
        closes: Bool
    ) async throws {
        let server = try TestServer { connection in
            if !closes { connection.waitForEnd() }
        }
        defer { server.stop() }
        let session = try await self.session("\(server.address)", "on_error defer timeout 300ms")
        let start = ContinuousClock.now
        #expect(try await session.message(Self.message).verdict == .denysoft)
        #expect(ContinuousClock.now - start < .seconds(30))
        await session.stop()
    }

    @Test(arguments: [
        "server ftp://h", "server http://a@b", "on_error maybe", "changes some", "greylist perhaps",
        "password_file /nonexistent", "score_header a:b", "timeout 0", "nonsense 1",
        "server https://127.0.0.1/", "server https://h/ tls_ca_file /nonexistent",
    ])
    func `a wrong argument is an error at start`(arguments: String) async {
        await #expect(throws: PluginProblems.self) {
            _ = try await TestSession([Rspamd.self], plugins: "rspamd \(arguments)")
        }
    }
}
