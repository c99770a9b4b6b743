import Logging
import NIOCore
import NIOPosix
import PolicyKitTesting
import Synchronization
import Testing

@testable import PolicyKit
@testable import StandardPlugins

/// A next hop that takes mail, and says what a test wants said.
private final class FakeHop: Sendable {
    struct Rules: Sendable {
        var capabilities = ["PIPELINING", "8BITMIME", "SIZE 10000000", "SMTPUTF8"]
        /// The reply to a command that begins so, the first that fits; `close`: none, and the end; empty:
        /// none.
        var replies: [(prefix: String, reply: String)] = []
        var greeting = "220 hop ESMTP\r\n"
        /// Each connection ends after so many messages, without a word.
        var messagesPerConnection = Int.max
    }

    private struct Record {
        var commands: [String] = []
        var messages: [[UInt8]] = []
    }

    let server: TestServer
    private let record: RecordBox

    private final class RecordBox: Sendable {
        let value = Mutex(Record())
    }

    init(_ rules: Rules = Rules()) throws {
        let box = RecordBox()
        self.record = box
        self.server = try TestServer { Self.serve($0, rules, box) }
    }

    var commands: [String] { self.record.value.withLock { $0.commands } }
    var messages: [[UInt8]] { self.record.value.withLock { $0.messages } }

    private static func serve(
        _ connection: TestServer.Connection,
        _ rules: Rules,
        _ box: RecordBox
    ) {
        connection.write(rules.greeting)
        var count = 0
        while let line = connection.readLine() {
            box.value.withLock { $0.commands.append(line) }
            if let rule = rules.replies.first(where: { line.hasPrefix($0.prefix) }) {
                guard rule.reply != "close" else { return }
                connection.write(rule.reply)
                continue
            }
            switch line.prefix(4) {
            case "EHLO":
                let lines = ["hop"] + rules.capabilities
                for (index, text) in lines.enumerated() {
                    connection.write("250\(index == lines.count - 1 ? " " : "-")\(text)\r\n")
                }

            case "DATA":
                connection.write("354 go\r\n")
                let content = connection.readContent()
                box.value.withLock { $0.messages.append(content) }
                if let rule = rules.replies.first(where: { $0.prefix == "." }) {
                    guard rule.reply != "close" else { return }
                    connection.write(rule.reply)
                } else {
                    connection.write("250 2.0.0 taken\r\n")
                }
                count += 1
                if count >= rules.messagesPerConnection { return }

            case "QUIT":
                return

            default:
                connection.write("250 ok\r\n")
            }
        }
    }
}

/// The recipients of each message that a hop took.
final class TakenMessages: Sendable {
    let value = Mutex<[[String]]>([])
}

@Suite struct QueueSMTPForwardTests {
    private static let message = "Subject: x\r\n\r\n.dot\r\nline\r\n"

    /// `arguments`, and the longest of each time that they do not name: what a test does not wait for must
    /// not be over while the test waits for its turn.
    private static func patient(_ arguments: String) -> String {
        let times = [
            "timeout": 600, "connect_timeout": 60, "hop_timeout": 300, "rest": 3_600,
            "idle_timeout": 3_600,
        ]
        let named = Set(arguments.split(separator: " ").map { String($0) })
        let more = times.filter { !named.contains($0.key) }.map { "\($0.key) \($0.value)" }
        return ([arguments] + more.sorted()).joined(separator: " ")
    }

    private func session(_ hop: FakeHop, _ arguments: String = "") async throws -> TestSession {
        try await self.session(hop.server.address, arguments)
    }

    private func session(
        _ address: some CustomStringConvertible,
        _ arguments: String = "",
        files: [String: String] = [:]
    ) async throws -> TestSession {
        let words = "\(address)".isEmpty ? arguments : Self.patient(arguments)
        let session = try await TestSession(
            [QueueSMTPForward.self, AcceptAnyone.self],
            plugins: "accept_anyone\nqueue/smtp-forward \(address) \(words)",
            files: files.merging(["me": "mx.example.org"]) { first, _ in first }
        )
        try await session.mail(from: "bob@example.net")
        try await session.rcpt(to: "alice@example.org")
        return session
    }

    @Test func `a message goes out whole, dots doubled`() async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let session = try await self.session(hop)
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
        let session = try await self.session(hop)
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
        let session = try await self.session(hop)
        #expect(try await session.message(message, at: .queue).verdict == .ok)
        #expect(hop.messages == [Array(content.utf8)])
        await session.stop()
    }

    @Test func `one connection serves one message after the other`() async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let session = try await self.session(hop)
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
        let session = try await self.session(hop)
        for _ in 0..<5 {
            #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        }
        #expect(hop.messages.count == 5)
        await session.stop()
    }

    @Test func `a kept connection that says 421 to MAIL is replaced`() async throws {
        let counter = Mutex(0)
        let server = try TestServer { connection in
            connection.write("220 hop\r\n")
            var isFirst = true
            while let line = connection.readLine() {
                switch line.prefix(4) {
                case "MAIL" where !isFirst && connection.number == 1:
                    connection.write("421 4.3.2 too long\r\n")
                    return
                case "DATA":
                    isFirst = false
                    connection.write("354 go\r\n")
                    _ = connection.readContent()
                    counter.withLock { $0 += 1 }
                    connection.write("250 taken\r\n")
                default: connection.write("250 ok\r\n")
                }
            }
        }
        defer { server.stop() }
        let session = try await self.session(server.address)
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
        let session = try await self.session(hop)
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
            let session = try await self.session(hop, arguments)
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
        try TestServer { connection in
            connection.write("220 hop\r\n")
            var recipients: [String] = []
            while let line = connection.readLine() {
                switch line.prefix(4) {
                case "MAIL", "RSET":
                    recipients = []
                    connection.write("250 ok\r\n")
                case "RCPT":
                    let address = String(line.dropFirst(9).prefix { $0 != ">" })
                    if recipients.count == limit {
                        connection.write("452 4.5.3 too many recipients\r\n")
                    } else if address == refused {
                        connection.write("550 5.1.1 who\r\n")
                    } else {
                        recipients.append(address)
                        connection.write("250 ok\r\n")
                    }
                case "DATA":
                    connection.write("354 go\r\n")
                    _ = connection.readContent()
                    taken.value.withLock { $0.append(recipients) }
                    connection.write("250 ok\r\n")
                default: connection.write("250 ok\r\n")
                }
            }
        }
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
        let session = try await self.session(hop.address, arguments)
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
            let session = try await self.session(hop)
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
            let session = try await self.session(hop, arguments)
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
        let session = try await self.session(hop)
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
        let session = try await self.session("127.0.0.1:1")
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
            let session = try await self.session(hop)
            let answer = try await session.message(Self.message, at: .queue)
            #expect(answer.verdict == .denysoft && answer.reply?.status == status, "\(rule)")
            #expect(hop.server.connections == 1)
            await session.stop()
        }
        var rules = FakeHop.Rules()
        rules.greeting = "554 no service\r\n"
        let hop = try FakeHop(rules)
        defer { hop.server.stop() }
        let greeted = try await self.session(hop)
        let answer = try await greeted.message(Self.message, at: .queue)
        #expect(answer.verdict == .denysoft && answer.reply?.status == "4.4.1")
        await greeted.stop()
    }

    @Test func `a silent hop costs the time allowed and no more`() async throws {
        let silent = try TestServer { $0.waitForEnd() }
        defer { silent.stop() }
        let session = try await self.session(silent.address, "timeout 1")
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
        let session = try await self.session(server.address)
        let line = String(repeating: "x", count: 98) + "\r\n"
        let message = "A: b\r\n\r\n" + String(repeating: line, count: 100_000)
        let answer = try await session.message(message, at: .queue)
        #expect(
            answer.verdict == .deny && answer.reply?.code == 552 && answer.reply?.status == "5.3.4"
        )
        await session.stop()
    }

    /// Two hops, of which the first says `reply` to what begins with `prefix`; `close`: it ends there.
    private func twoHops(_ prefix: String, _ reply: String) throws -> (FakeHop, FakeHop) {
        let first = FakeHop.Rules(replies: [(prefix, reply)])
        return (try FakeHop(first), try FakeHop())
    }

    @Test(arguments: [
        ("EHLO", "close"), ("EHLO", "421 4.3.2 no\r\n"), ("EHLO", "nonsense\r\n"),
        ("MAIL", "close"), ("MAIL", "421 4.3.2 no\r\n"), ("RCPT", "close"),
        ("RCPT", "421 4.3.2 no\r\n"), ("DATA", "close"), ("DATA", "421 4.3.2 no\r\n"),
        ("EHLO", ""), ("MAIL", ""), ("DATA", ""),
    ])
    func `a hop that fails before it wants the content is passed over`(
        prefix: String,
        reply: String
    ) async throws {
        let (first, second) = try self.twoHops(prefix, reply)
        defer {
            first.server.stop()
            second.server.stop()
        }
        let route = "\(first.server.address),\(second.server.address)"
        let isSilent = reply.isEmpty
        let session = try await self.session(route, isSilent ? "hop_timeout 1" : "")
        for count in 1...2 {
            #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
            #expect(first.messages.isEmpty && second.messages.count == count)
            // Then it rests.
            #expect(first.server.connections == 1)
        }
        await session.stop()
    }

    @Test func `a hop that cannot be reached is passed over, and the order is as written`()
        async throws
    {
        let hops = try (0..<2).map { _ in try FakeHop() }
        defer { for hop in hops { hop.server.stop() } }
        let route = "127.0.0.1:1,\(hops[1].server.address),\(hops[0].server.address)"
        let session = try await self.session(route)
        for _ in 0..<3 {
            #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        }
        #expect(hops[1].messages.count == 3 && hops[0].server.connections == 0)
        await session.stop()
    }

    @Test(arguments: [
        (".", "close", Verdict.denysoft), (".", "", .denysoft), (".", "nonsense\r\n", .denysoft),
        (".", "421 4.3.2 no\r\n", .denysoft), (".", "451 4.3.0 no\r\n", .denysoft),
        (".", "554 5.7.1 no\r\n", .deny), ("MAIL", "451 4.7.1 later\r\n", .denysoft),
        ("MAIL", "550 5.7.1 no\r\n", .deny), ("RCPT", "450 4.2.0 later\r\n", .denysoft),
        ("RCPT", "550 5.1.1 who\r\n", .deny), ("DATA", "554 5.7.1 no\r\n", .deny),
    ])
    func `after the dot, and after an answer, no other hop is tried`(
        prefix: String,
        reply: String,
        verdict: Verdict
    ) async throws {
        let (first, second) = try self.twoHops(prefix, reply)
        defer {
            first.server.stop()
            second.server.stop()
        }
        let route = "\(first.server.address),\(second.server.address)"
        let isSilent = reply.isEmpty
        let session = try await self.session(route, isSilent ? "timeout 4" : "")
        #expect(try await session.message(Self.message, at: .queue).verdict == verdict)
        // On a busy machine the time may be over before the silent hop was given the message.
        if !isSilent { #expect(first.messages.count == (prefix == "." ? 1 : 0)) }
        #expect(second.server.connections == 0)
        await session.stop()
    }

    @Test func `a hop that breaks off in the content gets no second one in its place`() async throws
    {
        let first = try TestServer { connection in
            connection.write("220 hop\r\n")
            while let line = connection.readLine() {
                if line.hasPrefix("DATA") {
                    connection.write("354 go\r\n")
                    _ = connection.read(100_000)
                    return
                }
                connection.write("250 ok\r\n")
            }
        }
        let second = try FakeHop()
        defer {
            first.stop()
            second.server.stop()
        }
        let session = try await self.session("\(first.address),\(second.server.address)")
        let line = String(repeating: "x", count: 98) + "\r\n"
        let message = "A: b\r\n\r\n" + String(repeating: line, count: 100_000)
        let answer = try await session.message(message, at: .queue)
        #expect(answer.verdict == .denysoft && answer.reply?.status == "4.4.2")
        #expect(second.server.connections == 0)
        // With the client's next try it goes to the other one.
        #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        #expect(second.messages.count == 1)
        await session.stop()
    }

    @Test func `hops that all rest are all tried`() async throws {
        let closing = [try FakeHop(FakeHop.Rules(replies: [("EHLO", "close")]))]
        let hops = closing + [try FakeHop(FakeHop.Rules(replies: [("EHLO", "close")]))]
        defer { for hop in hops { hop.server.stop() } }
        let route = hops.map { "\($0.server.address)" }.joined(separator: ",")
        let session = try await self.session(route)
        for count in 1...2 {
            let answer = try await session.message(Self.message, at: .queue)
            #expect(answer.verdict == .denysoft && answer.reply?.status == "4.4.2")
            #expect(hops.map(\.server.connections) == [count, count])
        }
        await session.stop()
    }

    /// The recipients that a hop heard of.
    private func recipients(_ hop: FakeHop) -> [String] {
        hop.commands.filter { $0.hasPrefix("RCPT") }.map {
            String($0.dropFirst(9).prefix { $0 != ">" })
        }.sorted()
    }

    private func routed(
        _ routes: [String: FakeHop],
        byDefault hop: FakeHop
    ) async throws
        -> TestSession
    {
        let lines = routes.map { "\($0):\($1.server.address)" }
        let session = try await self.session(
            hop.server.address,
            "routes smtproutes",
            files: ["smtproutes": lines.joined(separator: "\n")]
        )
        for recipient in ["b@example.com", "c@sub.example.com", "d@example.com"] {
            try await session.rcpt(to: recipient)
        }
        return session
    }

    @Test func `each recipient's message goes to the hop of its domain`() async throws {
        let hops = try (0..<3).map { _ in try FakeHop() }
        defer { for hop in hops { hop.server.stop() } }
        let session = try await self.routed(
            ["example.com": hops[0], ".example.com": hops[1]],
            byDefault: hops[2]
        )
        #expect(try await session.message(Self.message, at: .queue).reply?.code == 250)
        #expect(self.recipients(hops[0]) == ["b@example.com", "d@example.com"])
        #expect(self.recipients(hops[1]) == ["c@sub.example.com"])
        #expect(self.recipients(hops[2]) == ["alice@example.org"])
        #expect(hops.map(\.messages.count) == [1, 1, 1])
        await session.stop()
    }

    @Test(arguments: [
        ("RCPT", "550 5.1.1 who\r\n", Verdict.deny), ("MAIL", "451 4.3.0 later\r\n", .denysoft),
        ("EHLO", "close", .denysoft), ("DATA", "451 4.3.0 later\r\n", .denysoft),
    ])
    func `if one hop refuses before the content, no hop gets it`(
        prefix: String,
        reply: String,
        verdict: Verdict
    ) async throws {
        // Each place once, for the order in which hops are asked.
        for place in 0..<3 {
            let hops = try (0..<3).map {
                try FakeHop(FakeHop.Rules(replies: $0 == place ? [(prefix, reply)] : []))
            }
            defer { for hop in hops { hop.server.stop() } }
            let session = try await self.routed(
                ["example.com": hops[0], ".example.com": hops[1]],
                byDefault: hops[2]
            )
            #expect(try await session.message(Self.message, at: .queue).verdict == verdict)
            #expect(hops.allSatisfy { $0.messages.allSatisfy { !$0.contains(0x2E) } })
            await session.stop()
        }
    }

    @Test func `after the content one refusal is the answer for all`() async throws {
        for (reply, verdict) in [
            ("554 5.7.1 no\r\n", Verdict.deny), ("451 4.3.0 later\r\n", .denysoft),
            ("close", .denysoft),
        ] {
            let hops = try (0..<3).map {
                try FakeHop(FakeHop.Rules(replies: $0 == 1 ? [(".", reply)] : []))
            }
            defer { for hop in hops { hop.server.stop() } }
            let session = try await self.routed(
                ["example.com": hops[0], ".example.com": hops[1]],
                byDefault: hops[2]
            )
            #expect(try await session.message(Self.message, at: .queue).verdict == verdict)
            await session.stop()
        }
    }

    @Test(arguments: [
        "", "h:0", "h:x", "a/b", "h 25 26", "h:25 26", "h connections 0", "h xclient", "a,", "a,,b",
        "a:1,b:2 25", "h rest -1", "h hop_timeout 0", "h routes",
    ])
    func `a wrong argument is an error at start`(arguments: String) async {
        await #expect(throws: (any Error).self) { _ = try await self.session(arguments) }
    }
}

/// Accepts every recipient.
private struct AcceptAnyone: RcptHook {
    static let name = "accept_anyone"
    init(configuration: PluginConfiguration) {}
    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }
}

@Suite struct SMTPConnectionPoolTests {
    @Test func `more messages than connections wait for their turn`() async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let folder = try ScratchFolder()
        try folder.write(Array("body\r\n".utf8), "spool")
        var limits = SMTPConnectionPool.Limits()
        limits.connections = 3
        let route = [hop.server.address]
        let next = NextHops(
            loop: MultiThreadedEventLoopGroup.singleton.any(),
            settings: NextHops.Settings(limits: limits),
            machine: SMTPClientMachine(name: "mx.example", deliversPartially: false),
            logger: Logger(label: "test")
        )
        let message = Message(
            headers: [],
            file: MessageReference(path: "\(folder.path)/spool", size: 6, bodyOffset: 0)
        )
        let taken = await withTaskGroup(of: Bool.self) { group in
            for index in 0..<60 {
                group.addTask {
                    let envelope = SMTPEnvelope(
                        sender: [],
                        recipients: [Array("r\(index)@example.org".utf8)],
                        size: 6,
                        is8BitMIME: false,
                        isSMTPUTF8: false
                    )
                    let deadline = NIODeadline.now() + .seconds(20)
                    let report = try? await next.deliver(
                        [NextHops.Group(route: route, envelope: envelope)],
                        message,
                        until: deadline
                    )
                    guard let report, report.failure == nil, report.taken.count == 1 else {
                        return false
                    }
                    return true
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(taken == 60)
        #expect(hop.messages.count == 60)
        #expect(hop.server.connections <= 3)
        let recipients = hop.commands.filter { $0.hasPrefix("RCPT") }
        #expect(Set(recipients).count == 60 && recipients.count == 60)
        try await next.stop()
    }

    @Test func `a message that finds no free connection in time is deferred`() async throws {
        let silent = try TestServer { $0.waitForEnd() }
        defer { silent.stop() }
        var limits = SMTPConnectionPool.Limits()
        limits.connections = 1
        let route = [silent.address]
        let next = NextHops(
            loop: MultiThreadedEventLoopGroup.singleton.any(),
            settings: NextHops.Settings(limits: limits),
            machine: SMTPClientMachine(name: "mx.example", deliversPartially: false),
            logger: Logger(label: "test")
        )
        let envelope = SMTPEnvelope(
            sender: [],
            recipients: [[0x61]],
            size: 0,
            is8BitMIME: false,
            isSMTPUTF8: false
        )
        let message = Message(
            headers: [],
            file: MessageReference(path: "/dev/null", size: 0, bodyOffset: 0)
        )
        let codes = await withTaskGroup(of: SMTPForwardError.Code?.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    let deadline = NIODeadline.now() + .milliseconds(300)
                    let group = NextHops.Group(route: route, envelope: envelope)
                    let report = try? await next.deliver([group], message, until: deadline)
                    guard case .error(let error)? = report?.failure?.reason else { return nil }
                    return error.code
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(codes.count == 2 && !codes.contains(nil))
        #expect(codes.contains(.timedOut))
        try await next.stop()
    }
}
