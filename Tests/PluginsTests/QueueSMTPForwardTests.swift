import PolicyKitTesting
import Synchronization
import Testing

@testable import PolicyKit
@testable import StandardPlugins

/// The recipients of each message that a hop took.
final class TakenMessages: Sendable {
    let value = Mutex<[[String]]>([])
}

@Suite struct QueueSMTPForwardTests {
    private static let message = "Subject: x\r\n\r\n.dot\r\nline\r\n"

    @Test func `a message goes out whole, dots doubled`() async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let session = try await forwarding(to: hop)
        let answer = try await session.message(Self.message, at: .queue)
        #expect(answer == .ok("queued as test", code: 250, status: "2.0.0"))
        #expect(
            hop.commands == [
                "EHLO mx.example.org\r\n", "MAIL FROM:<bob@example.net> SIZE=26\r\n",
                "RCPT TO:<alice@example.org>\r\n", "DATA\r\n",
            ]
        )
        #expect(hop.messages == [Array("Subject: x\r\n\r\n..dot\r\nline\r\n.\r\n".utf8)])
        await session.stop()
    }

    @Test func `a large message goes out whole`() async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let session = try await forwarding(to: hop)
        let line = "." + String(repeating: "x", count: 97) + "\r\n"
        let message = "A: b\r\n\r\n" + String(repeating: line, count: 10_000)
        #expect(try await session.message(message, at: .queue).verdict == .ok)
        let expected = "A: b\r\n\r\n" + String(repeating: "." + line, count: 10_000) + ".\r\n"
        #expect(hop.messages == [Array(expected.utf8)])
        await session.stop()
    }

    @Test(arguments: [("", ".\r\n"), ("X: y\r\n", "X: y\r\n.\r\n"), ("\r\n", "\r\n.\r\n")])
    func `odd messages end where they should`(message: String, content: String) async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let session = try await forwarding(to: hop)
        #expect(try await session.message(message, at: .queue).verdict == .ok)
        #expect(hop.messages == [Array(content.utf8)])
        await session.stop()
    }

    @Test func `one connection serves one message after the other`() async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let session = try await forwarding(to: hop)
        for _ in 0..<5 {
            #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        }
        #expect(hop.server.connections == 1)
        #expect(hop.messages.count == 5)
        await session.stop()
    }

    @Test func `a connection that died meanwhile is replaced, and nothing is doubled`() async throws
    {
        var rules = FakeHop.Rules()
        rules.messagesPerConnection = 1
        let hop = try FakeHop(rules)
        defer { hop.server.stop() }
        let session = try await forwarding(to: hop)
        for _ in 0..<5 {
            #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        }
        #expect(hop.messages.count == 5)
        await session.stop()
    }

    @Test func `a kept connection that says 421 to MAIL is replaced`() async throws {
        let counter = Mutex(0)
        let server = try newHop(
            taken: { _ in counter.withLock { $0 += 1 } },
            reply: { number, line in
                let isSecond = number == 1 && counter.withLock { $0 } == 1
                return line.hasPrefix("MAIL") && isSecond
                    ? .last("421 4.3.2 too long\r\n") : .taken
            }
        )
        defer { server.stop() }
        let session = try await forwarding(to: server.address)
        #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        #expect(counter.withLock { $0 } == 2)
        #expect(server.connections == 2)
        await session.stop()
    }

    @Test(arguments: [
        ("MAIL", "550 5.7.1 not you\r\n", Verdict.deny, 550, "5.7.1", ["not you"]),
        ("MAIL", "451 4.3.0 later\r\n", .denysoft, 451, "4.3.0", ["later"]),
        ("RCPT", "550 5.1.1 who?\r\n", .deny, 550, "5.1.1", ["<alice@example.org>: who?"]),
        ("RCPT", "450 4.2.1 busy\r\n", .denysoft, 450, "4.2.1", ["<alice@example.org>: busy"]),
        ("DATA", "554 no\r\n", .deny, 554, "5.0.0", ["no"]),
        (".", "554-5.7.1 spam\r\n554 5.7.1 really\r\n", .deny, 554, "5.7.1", ["spam", "really"]),
        (".", "452 4.3.1 full\r\n", .denysoft, 452, "4.3.1", ["full"]),
        (".", "421 4.3.2 bye\r\n", .denysoft, 451, "4.3.2", ["bye"]),
        ("MAIL", "530 5.7.0 AUTH first\r\n", .deny, 554, "5.7.0", ["AUTH first"]),
        ("MAIL", "550 4.1.1 liar\r\n", .deny, 550, "5.0.0", ["4.1.1 liar"]),
        ("MAIL", "550 a\u{1}b\u{FC}\r\n", .deny, 550, "5.0.0", ["a?b??"]),
        ("MAIL", "550\r\n", .deny, 550, "5.0.0", ["refused by the next mail server"]),
    ])
    func `the hop's class, code and words are kept`(
        prefix: String,
        reply: String,
        verdict: Verdict,
        code: Int,
        status: String,
        text: [String]
    ) async throws {
        var rules = FakeHop.Rules()
        rules.replies = [(prefix, reply)]
        let hop = try FakeHop(rules)
        defer { hop.server.stop() }
        let session = try await forwarding(to: hop)
        let answer = try await session.message(Self.message, at: .queue)
        #expect(answer == Answer(verdict, PolicyReply(code: code, status: status, text: text)))
        await session.stop()
    }

    @Test func `a hop that refuses one recipient gets no message`() async throws {
        for (arguments, verdict, messages) in [
            ("", Verdict.deny, 0), ("partial refuse", .deny, 0), ("partial deliver", .ok, 1),
        ] {
            var rules = FakeHop.Rules()
            rules.replies = [("RCPT TO:<carol", "550 5.1.1 who?\r\n")]
            let hop = try FakeHop(rules)
            defer { hop.server.stop() }
            let session = try await forwarding(to: hop, arguments)
            try await session.rcpt(to: "carol@example.org")
            #expect(try await session.message(Self.message, at: .queue).verdict == verdict)
            #expect(hop.messages.count == messages)
            // The connection lives on. Its RSET may still be under way when the next message comes,
            // which then has one of its own; three more would have three.
            for _ in 1...3 {
                session.resetTransaction()
                try await session.mail(from: "")
                try await session.rcpt(to: "alice@example.org")
                #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
            }
            #expect(hop.server.connections <= 2)
            await session.stop()
        }
    }

    /// A hop that takes `limit` recipients a transaction, and what came: recipients of each message.
    private static func limitedHop(
        _ limit: Int,
        _ refused: String? = nil,
        _ taken: TakenMessages
    ) throws -> TestServer {
        let asked = Mutex<[String]>([])
        return try newHop(
            taken: { _ in taken.value.withLock { $0.append(asked.withLock { $0 }) } },
            reply: { _, line in
                asked.withLock { recipients in
                    let address = String(line.dropFirst(9).prefix { $0 != ">" })
                    switch line.prefix(4) {
                    case "MAIL", "RSET": recipients = []
                    case "RCPT" where recipients.count == limit:
                        return .said("452 4.5.3 too many recipients\r\n")

                    case "RCPT" where address == refused: return .said("550 5.1.1 who\r\n")
                    case "RCPT": recipients.append(address)
                    default: break
                    }
                    return .taken
                }
            }
        )
    }

    @Test(arguments: [
        ("", nil as String?, 250, [["r0", "r1"], ["r2", "r3"], ["r4"]]),
        ("", "r1", 550, []), ("", "r4", 550, [["r0", "r1"], ["r2", "r3"]]),
        ("partial deliver", "r4", 250, [["r0", "r1"], ["r2", "r3"]]),
        ("partial deliver", "r1", 250, [["r0", "r2"], ["r3", "r4"]]),
    ])
    func `more recipients than the hop takes are several transactions on one connection`(
        arguments: String,
        refused: String?,
        code: Int,
        messages: [[String]]
    ) async throws {
        let taken = TakenMessages()
        let hop = try Self.limitedHop(2, refused.map { "\($0)@example.org" }, taken)
        defer { hop.stop() }
        let session = try await forwarding(to: hop.address, arguments)
        try await session.mail(from: "bob@example.net")
        for number in 0..<5 { try await session.rcpt(to: "r\(number)@example.org") }
        let answer = try await session.message(Self.message, at: .queue)
        #expect(answer.reply?.code == code)
        let expected = messages.map { $0.map { "\($0)@example.org" } }
        #expect(taken.value.withLock { $0 } == expected)
        #expect(hop.connections == 1)
        await session.stop()
    }

    @Test(arguments: [
        ("550 5.1.1 <\(String(repeating: "x", count: 480))>: no such user", 550, "5.1.1"),
        ("550 5.007.1 x", 550, "5.7.1"), ("550 2.0.0 fine", 550, "5.0.0"),
        ("550 5.7.1234 x", 550, "5.0.0"), ("550 5.7.1\u{1B}[31m\u{0}", 550, "5.7.1"),
        ("451 4.07.0100 later", 451, "4.0.0"), ("550", 550, "5.0.0"),
    ])
    func `whatever the hop's words, its class is kept`(
        reply: String,
        code: Int,
        status: String
    ) async throws {
        for place in ["RCPT", "."] {
            let hop = try FakeHop(FakeHop.Rules(replies: [(place, "\(reply)\r\n")]))
            defer { hop.server.stop() }
            let session = try await forwarding(to: hop)
            let answer = try await session.message(Self.message, at: .queue)
            #expect(answer.reply?.code == code && answer.reply?.status == status)
            #expect(answer.violation(at: .queue) == nil)
            await session.stop()
        }
    }

    @Test func `a refusal for now among others is for now`() async throws {
        for arguments in ["", "partial deliver"] {
            var rules = FakeHop.Rules()
            rules.replies = [("RCPT TO:<carol", "550 no\r\n"), ("RCPT TO:<dave", "450 later\r\n")]
            let hop = try FakeHop(rules)
            defer { hop.server.stop() }
            let session = try await forwarding(to: hop, arguments)
            try await session.rcpt(to: "carol@example.org")
            try await session.rcpt(to: "dave@example.org")
            #expect(try await session.message(Self.message, at: .queue).verdict == .denysoft)
            #expect(hop.messages.isEmpty)
            await session.stop()
        }
    }

    @Test func `what the hop cannot take is refused for good and not offered`() async throws {
        var rules = FakeHop.Rules()
        rules.capabilities = ["SIZE 20"]
        let hop = try FakeHop(rules)
        defer { hop.server.stop() }
        let session = try await forwarding(to: hop)
        let large = try await session.message(Self.message, at: .queue)
        #expect(
            large.verdict == .deny && large.reply?.status == "5.3.4" && large.reply?.code == 552
        )
        try await session.rcpt(to: "ü@example.org")
        let international = try await session.message("A: b\r\n", at: .queue)
        #expect(international.verdict == .deny && international.reply?.status == "5.6.7")
        #expect(!hop.commands.contains { $0.hasPrefix("MAIL") })
        #expect(hop.server.connections == 1)
        await session.stop()
    }

    @Test func `a hop that cannot be reached or breaks off is a temporary failure`() async throws {
        let closed = try TestServer { _ in }
        closed.stop()
        let session = try await forwarding(to: "127.0.0.1:1")
        let unreachable = try await session.message(Self.message, at: .queue)
        #expect(unreachable.verdict == .denysoft)
        #expect(unreachable.reply?.code == 451 && unreachable.reply?.status == "4.4.1")
        await session.stop()
        for (rule, status) in [
            (("EHLO", "close"), "4.4.2"), (("MAIL", "close"), "4.4.2"), ((".", "close"), "4.4.2"),
            (("MAIL", "nonsense\r\n"), "4.5.0"), (("DATA", "250 what?\r\n"), "4.5.0"),
            ((".", "354 more\r\n"), "4.5.0"),
        ] {
            var rules = FakeHop.Rules()
            rules.replies = [rule]
            let hop = try FakeHop(rules)
            defer { hop.server.stop() }
            let session = try await forwarding(to: hop)
            let answer = try await session.message(Self.message, at: .queue)
            #expect(answer.verdict == .denysoft && answer.reply?.status == status, "\(rule)")
            #expect(hop.server.connections == 1)
            await session.stop()
        }
        var rules = FakeHop.Rules()
        rules.greeting = "554 no service\r\n"
        let hop = try FakeHop(rules)
        defer { hop.server.stop() }
        let greeted = try await forwarding(to: hop)
        let answer = try await greeted.message(Self.message, at: .queue)
        #expect(answer.verdict == .denysoft && answer.reply?.status == "4.4.1")
        await greeted.stop()
    }

    @Test func `a silent hop costs the time allowed and no more`() async throws {
        let silent = try TestServer { $0.waitForEnd() }
        defer { silent.stop() }
        let session = try await forwarding(to: silent.address, "timeout 1")
        let answer = try await session.message(Self.message, at: .queue)
        #expect(answer.verdict == .denysoft)
        await session.stop()
    }

    @Test func `a hop that refuses in the middle of the content is heard`() async throws {
        let server = try TestServer { connection in
            connection.write("220 hop\r\n")
            while let line = connection.readLine() {
                switch line.prefix(4) {
                case "DATA":
                    connection.write("354 go\r\n")
                    _ = connection.read(1000)
                    connection.write("552 5.3.4 enough\r\n")
                    connection.waitForEnd()
                    return
                default: connection.write("250 ok\r\n")
                }
            }
        }
        defer { server.stop() }
        let session = try await forwarding(to: server.address)
        let line = String(repeating: "x", count: 98) + "\r\n"
        let message = "A: b\r\n\r\n" + String(repeating: line, count: 100_000)
        let answer = try await session.message(message, at: .queue)
        #expect(
            answer.verdict == .deny && answer.reply?.code == 552 && answer.reply?.status == "5.3.4"
        )
        await session.stop()
    }

    @Test(arguments: [
        "", "h:0", "h:x", "a/b", "h 25 26", "h:25 26", "h connections 0", "h xclient", "a,", "a,,b",
        "a:1,b:2 25", "h rest -1", "h hop_timeout 0", "h routes",
    ])
    func `a wrong argument is an error at start`(arguments: String) async {
        await #expect(throws: (any Error).self) { _ = try await forwarding(to: arguments) }
    }
}
