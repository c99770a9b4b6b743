import PolicyKitTesting
import Synchronization
import Testing

@testable import PolicyKit
@testable import StandardPlugins

@Suite struct QueueSMTPProxyTests {
    private static let message = "Subject: x\r\n\r\n.dot\r\n"

    /// A session whose hop is asked before a plugin that accepts every recipient but eve.
    private func session(
        _ hop: some CustomStringConvertible,
        _ arguments: String = "accept hop"
    ) async throws -> TestSession {
        let words = "\(hop)".isEmpty ? arguments : patient(arguments)
        return try await TestSession(
            [QueueSMTPProxy.self, AcceptAllButEve.self],
            plugins: "queue/smtp-proxy \(hop) \(words)\naccept_all_but_eve",
            files: ["me": "mx.example.org"]
        )
    }

    @Test func `the client has the hop's own replies, on one connection`() async throws {
        var rules = FakeHop.Rules()
        rules.replies = [
            ("MAIL", "250 2.1.0 hello bob\r\n"), ("RCPT", "251 2.1.5 I know alice\r\n"),
            (".", "250-2.0.0 thanks\r\n250 queued as 4711\r\n"),
        ]
        let hop = try FakeHop(rules)
        defer { hop.server.stop() }
        let session = try await self.session(hop.server.address)
        for _ in 0..<3 {
            let mail = try await session.mail(from: "bob@example.net")
            #expect(mail == .ok("hello bob", code: 250, status: "2.1.0"))
            let rcpt = try await session.rcpt(to: "alice@example.org")
            #expect(rcpt == .ok("I know alice", code: 251, status: "2.1.5"))
            let queued = try await session.message(Self.message, at: .queue)
            #expect(queued == .ok("thanks\nqueued as 4711", code: 250, status: "2.0.0"))
            try await session.notify(.reset_transaction, ["reason": .string("done")])
        }
        let transaction = [
            "MAIL FROM:<bob@example.net>\r\n", "RCPT TO:<alice@example.org>\r\n", "DATA\r\n",
        ]
        #expect(
            hop.commands == ["EHLO mx.example.org\r\n"] + transaction + transaction + transaction
        )
        #expect(hop.messages.first == Array("Subject: x\r\n\r\n..dot\r\n.\r\n".utf8))
        #expect(hop.server.connections == 1)
        await session.stop()
    }

    @Test(arguments: [
        ("MAIL", "550 5.7.1 not you\r\n", Verdict.deny, 550, "5.7.1", ["not you"]),
        ("MAIL", "421 4.3.2 closing\r\n", .denysoft, 451, "4.3.2", ["closing"]),
        ("MAIL", "530 5.7.0 AUTH first\r\n", .deny, 554, "5.7.0", ["AUTH first"]),
        ("RCPT", "550-5.1.1 who?\r\n550 5.1.1 you\r\n", .deny, 550, "5.1.1", ["who?", "you"]),
        ("RCPT", "450 4.2.1 busy\r\n", .denysoft, 450, "4.2.1", ["busy"]),
        ("RCPT", "452 4.5.3 too many\r\n", .denysoft, 452, "4.5.3", ["too many"]),
        ("RCPT", "550 5.1.1\r\n", .deny, 550, "5.1.1", ["refused by the next mail server"]),
        ("DATA", "554 5.5.1 no\r\n", .deny, 554, "5.5.1", ["no"]),
        (".", "554 5.7.1 spam\r\n", .deny, 554, "5.7.1", ["spam"]),
        (".", "452 4.3.1 full\r\n", .denysoft, 452, "4.3.1", ["full"]),
        (".", "421 4.3.2 bye\r\n", .denysoft, 451, "4.3.2", ["bye"]),
    ])
    func `what the hop refuses is refused where the client asked, in its words`(
        prefix: String,
        reply: String,
        verdict: Verdict,
        code: Int,
        status: String,
        text: [String]
    ) async throws {
        let hop = try FakeHop(FakeHop.Rules(replies: [(prefix, reply)]))
        defer { hop.server.stop() }
        for arguments in ["accept hop", "accept ask"] {
            let session = try await self.session(hop.server.address, arguments)
            var answer = try await session.mail(from: "bob@example.net")
            if prefix != "MAIL" {
                #expect(answer.verdict == (arguments == "accept hop" ? .ok : .declined))
                answer = try await session.rcpt(to: "alice@example.org")
            }
            if prefix == "DATA" || prefix == "." {
                #expect(answer.verdict == .ok)
                answer = try await session.message(Self.message, at: .queue)
            }
            #expect(answer == Answer(verdict, PolicyReply(code: code, status: status, text: text)))
            await session.stop()
        }
    }

    @Test func `the plugins behind it decide, unless the hop does`() async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        for (arguments, verdict) in [("", Verdict.deny), ("accept hop", .ok)] {
            let session = try await self.session(hop.server.address, arguments)
            try await session.mail(from: "bob@example.net")
            #expect(try await session.rcpt(to: "eve@example.org").verdict == verdict)
            await session.stop()
        }
    }

    /// What the hop was told is the envelope, whatever became of recipients after it was asked.
    @Test func `a recipient that another plugin refuses gets no message`() async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let session = try await self.session(hop.server.address, "accept ask")
        try await session.mail(from: "bob@example.net")
        try await session.rcpt(to: "alice@example.org")
        try await session.rcpt(to: "eve@example.org")
        #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        let last = hop.commands.lastIndex { $0.hasPrefix("MAIL") } ?? 0
        #expect(
            hop.commands[last...].filter { $0 != "RSET\r\n" } == [
                "MAIL FROM:<bob@example.net>\r\n", "RCPT TO:<alice@example.org>\r\n", "DATA\r\n",
            ]
        )
        #expect(hop.messages.count == 1)
        await session.stop()
    }

    /// The first connection says `reply` to `command`, or nothing, and ends.
    @Test(arguments: [
        ("RCPT TO:<alice", ""), ("RCPT TO:<alice", "421 4.4.2 too slow\r\n"),
        ("RCPT TO:<carol", ""), ("RCPT TO:<carol", "421 4.4.2 too slow\r\n"), ("DATA", ""),
        ("DATA", "421 4.4.2 too slow\r\n"),
    ])
    func `a connection that ends before the content is replaced, and nothing is doubled`(
        command: String,
        reply: String
    ) async throws {
        let record = Mutex<[String]>([])
        let server = try newHop { number, line in
            if number == 1, line.hasPrefix(command) { return .last(reply) }
            if number == 2 { record.withLock { $0.append(line) } }
            return .taken
        }
        defer { server.stop() }
        let session = try await self.session(server.address)
        #expect(try await session.mail(from: "bob@example.net").verdict == .ok)
        for name in ["alice", "carol"] {
            #expect(try await session.rcpt(to: "\(name)@example.org").verdict == .ok)
        }
        #expect(try await session.message(Self.message, at: .queue).reply?.code == 250)
        #expect(
            record.withLock { $0 } == [
                "EHLO mx.example.org\r\n", "MAIL FROM:<bob@example.net>\r\n",
                "RCPT TO:<alice@example.org>\r\n", "RCPT TO:<carol@example.org>\r\n", "DATA\r\n",
            ]
        )
        #expect(server.connections == 2)
        await session.stop()
    }

    @Test(arguments: ["close", "nonsense\r\n"])
    func `without an answer to the dot nothing is sent again`(reply: String) async throws {
        let hop = try FakeHop(FakeHop.Rules(replies: [(".", reply)]))
        let other = try FakeHop()
        defer {
            hop.server.stop()
            other.server.stop()
        }
        let route = "\(hop.server.address),\(other.server.address)"
        let session = try await self.session(route, "accept hop")
        try await session.mail(from: "bob@example.net")
        try await session.rcpt(to: "alice@example.org")
        let answer = try await session.message(Self.message, at: .queue)
        #expect(answer.verdict == .denysoft && answer.reply?.code == 451)
        #expect(hop.messages.count == 1 && other.messages.isEmpty)
        await session.stop()
    }

    @Test func `a hop that cannot be reached is passed over, and without any MAIL is put off`()
        async throws
    {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let both = try await self.session("127.0.0.1:1,\(hop.server.address)")
        #expect(try await both.mail(from: "bob@example.net").verdict == .ok)
        await both.stop()
        let none = try await self.session("127.0.0.1:1")
        let answer = try await none.mail(from: "bob@example.net")
        #expect(answer.verdict == .denysoft && answer.reply?.status == "4.4.1")
        await none.stop()
    }

    @Test(arguments: [true, false])
    func `a recipient that only this connection of the hop refuses is told of at the end`(
        each: Bool
    ) async throws {
        let server = try newHop { number, line in
            switch line.prefix(4) {
            case "RCPT" where number > 1 && line.contains("carol"):
                .said("550 5.1.1 gone\r\n")

            case "RCPT" where number == 1 && line.contains("dave"): .last("")
            default: .taken
            }
        }
        defer { server.stop() }
        let session = try await self.session(server.address)
        session.repliesEach = each
        try await session.mail(from: "bob@example.net")
        for name in ["alice", "carol", "dave"] {
            #expect(try await session.rcpt(to: "\(name)@example.org").verdict == .ok)
        }
        let answer = try await session.message(Self.message, at: .queue)
        if each {
            #expect(answer.reply?.code == 250)
            #expect(session.refusedRecipients.map(\.recipient.address) == ["carol@example.org"])
            #expect(session.refusedRecipients.first?.answer.reply?.status == "5.1.1")
        } else {
            #expect(answer.reply?.code == 550)
            #expect(answer.reply?.text == ["<carol@example.org>: gone"])
        }
        await session.stop()
    }

    @Test func `what the hop does not offer is refused where it is asked for`() async throws {
        let hop = try FakeHop(FakeHop.Rules(capabilities: ["SIZE 10"]))
        defer { hop.server.stop() }
        let session = try await self.session(hop.server.address)
        #expect(try await session.mail(from: "ü@example.net").reply?.status == "5.6.7")
        #expect(try await session.mail(from: "bob@example.net").verdict == .ok)
        #expect(try await session.rcpt(to: "ü@example.org").reply?.status == "5.6.7")
        #expect(try await session.rcpt(to: "alice@example.org").verdict == .ok)
        #expect(try await session.message(Self.message, at: .queue).reply?.status == "5.3.4")
        #expect(!hop.commands.contains("DATA\r\n") && hop.messages.isEmpty)
        await session.stop()
    }

    @Test(arguments: ["reset_transaction", "disconnect"])
    func `the hop's transaction ends with the client's`(notice: String) async throws {
        let seen = Mutex(false)
        let server = try newHop { _, line in
            if line == "RSET\r\n" { seen.withLock { $0 = true } }
            return .taken
        }
        defer { server.stop() }
        let session = try await self.session(server.address)
        try await session.mail(from: "bob@example.net")
        #expect(!seen.withLock { $0 })
        let hook = try #require(Hook(rawValue: notice))
        try await session.notify(hook, ["reason": .string("rset")])
        try await self.wait { seen.withLock { $0 } }
        #expect(seen.withLock { $0 })
        await session.stop()
    }

    /// Waits until it is true, 20 seconds at most.
    private func wait(until isTrue: () -> Bool) async throws {
        let limit = ContinuousClock.now + .seconds(20)
        while !isTrue(), .now < limit { try await Task.sleep(for: .milliseconds(5)) }
    }

    /// `hold 1`: the client thinks for longer than that.
    @Test func `a transaction that waits longer than hold is let go, and begun anew`() async throws
    {
        let record = Mutex<[String]>([])
        let server = try newHop { _, line in
            record.withLock { $0.append(line) }
            return .taken
        }
        defer { server.stop() }
        let session = try await self.session(server.address, "accept hop hold 1")
        #expect(try await session.mail(from: "bob@example.net").verdict == .ok)
        #expect(try await session.rcpt(to: "alice@example.org").verdict == .ok)
        try await self.wait { record.withLock { $0.last == "RSET\r\n" } }
        #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        let transaction = ["MAIL FROM:<bob@example.net>\r\n", "RCPT TO:<alice@example.org>\r\n"]
        let greeting = ["EHLO mx.example.org\r\n"]
        #expect(
            record.withLock { $0 } == greeting + transaction + ["RSET\r\n"] + transaction
                + ["DATA\r\n"]
        )
        #expect(server.connections == 1)
        await session.stop()
    }

    @Test(arguments: ["", "h accept all", "h hold 0", "h partial deliver", "h routes x", "h:25 26"])
    func `a wrong argument is an error at start`(arguments: String) async {
        await #expect(throws: (any Error).self) {
            _ = try await self.session(arguments, "")
        }
    }
}

/// Accepts every recipient whose local part is not eve.
private struct AcceptAllButEve: RcptHook {
    static let name = "accept_all_but_eve"
    init(configuration: PluginConfiguration) {}
    func rcpt(_ event: RcptEvent) async throws -> Answer {
        event.recipient.local == "eve" ? .deny : .ok
    }
}
