import PolicyKitTesting
import Synchronization
import Testing

@testable import PolicyKit
@testable import StandardPlugins

@Suite struct LMTPClientMachineTests {
    private static let envelope = SMTPEnvelope(
        sender: Array("bob@example.net".utf8),
        recipients: ["a@example.org", "b@example.org"].map { Array($0.utf8) },
        size: 100,
        is8BitMIME: false,
        isSMTPUTF8: false
    )

    private func reply(_ code: Int) -> SMTPServerReply {
        SMTPServerReply(code: code, lines: [Array("x".utf8)])
    }

    private func refusals(_ list: (Int, Int)...) -> [NextHopRefusal] {
        list.map { place, code in
            NextHopRefusal(recipient: Self.envelope.recipients[place], reply: self.reply(code))
        }
    }

    /// A machine that has sent the content, after these replies to each RCPT.
    private func sent(
        _ codes: [Int] = [250, 250],
        partially: Bool = false,
        each: Bool = false
    ) -> SMTPClientMachine {
        var machine = SMTPClientMachine(.lmtp, name: "mx.example", deliversPartially: partially)
        #expect(
            machine.replyReceived(self.reply(220)) == .write(Array("LHLO mx.example\r\n".utf8))
        )
        _ = machine.replyReceived(self.reply(250))
        var envelope = Self.envelope
        envelope.hearsEach = each
        _ = machine.transactionWanted(envelope)
        for code in [250] + codes { _ = machine.replyReceived(self.reply(code)) }
        #expect(machine.replyReceived(self.reply(354)) == .goAhead(.lines))
        #expect(machine.contentSent() == .write(Array(".\r\n".utf8)))
        return machine
    }

    struct Case: Sendable {
        var replies: [Int]
        var partially = false
        var refused: [Int] = []
        var taken: Int
    }

    private static let cases: [Case] = [
        Case(replies: [250, 250], taken: 2),
        Case(replies: [250, 550], refused: [1], taken: 1),
        Case(replies: [450, 250], refused: [0], taken: 1),
        Case(replies: [550, 450], refused: [0, 1], taken: 0),
        Case(replies: [250, 550], partially: true, taken: 1),
        Case(replies: [250, 450], partially: true, refused: [1], taken: 1),
        Case(replies: [550, 550], partially: true, refused: [0, 1], taken: 0),
    ]

    @Test(arguments: Self.cases)
    func `each recipient's copy has a reply, and one that is missing is a refusal`(example: Case) {
        var machine = self.sent(partially: example.partially)
        #expect(machine.replyReceived(self.reply(example.replies[0])) == .none)
        #expect(!machine.isIdle)
        let action = machine.replyReceived(self.reply(example.replies[1]))
        let refused = example.refused.map { place in
            NextHopRefusal(
                recipient: Self.envelope.recipients[place],
                reply: self.reply(example.replies[place])
            )
        }
        let outcome: NextHopOutcome =
            if refused.isEmpty {
                .accepted(
                    self.reply(250),
                    refused: example.taken == 2 ? [] : self.refusals((1, 550))
                )
            } else if example.taken == 0 {
                .recipientsRefused(refused)
            } else {
                .copiesRefused(refused, taken: example.taken)
            }
        #expect(action == .completed(outcome))
        #expect(machine.isIdle)
        // A reply more than there are recipients is out of turn.
        #expect(
            machine.replyReceived(self.reply(250)) == .fail(SMTPForwardError(.closed, ""))
        )
    }

    @Test func `a recipient that was refused before the content has no reply after it`() {
        var machine = self.sent([550, 250], partially: true)
        #expect(
            machine.replyReceived(self.reply(250))
                == .completed(.accepted(self.reply(250), refused: self.refusals((0, 550))))
        )
        #expect(machine.isIdle)
    }

    @Test(
        arguments: [
            ([250, 250], [250, 450], [(1, 450)], 1), ([250, 250], [550, 250], [(0, 550)], 1),
            ([250, 450], [250], [(1, 450)], 1),
            ([250, 250], [550, 450], [(0, 550), (1, 450)], 0),
            ([450, 250], [550], [(1, 550), (0, 450)], 0),
        ] as [([Int], [Int], [(Int, Int)], Int)]
    )
    func `who hears of each recipient has every copy that there is`(
        envelope: [Int],
        content: [Int],
        refused: [(Int, Int)],
        taken: Int
    ) {
        var machine = self.sent(envelope, each: true)
        var action = SMTPClientMachine.Action.none
        for code in content { action = machine.replyReceived(self.reply(code)) }
        let refusals = refused.map { place, code in
            NextHopRefusal(recipient: Self.envelope.recipients[place], reply: self.reply(code))
        }
        #expect(
            action
                == .completed(
                    taken > 0
                        ? .accepted(self.reply(250), refused: refusals)
                        : .recipientsRefused(refusals)
                )
        )
        #expect(machine.isIdle)
    }

    @Test func `what has no answer is for now, where the client hears of each`() {
        let missing = SMTPServerReply(
            code: 451,
            lines: [Array("4.4.2 The connection to the next mail server broke".utf8)]
        )
        let last = NextHopRefusal(recipient: Self.envelope.recipients[1], reply: missing)
        var lost = self.sent(each: true)
        _ = lost.replyReceived(self.reply(250))
        #expect(
            lost.connectionLost(SMTPForwardError(.closed, ""))
                == .completedThenClose(.accepted(self.reply(250), refused: [last]))
        )
        var closing = self.sent(each: true)
        #expect(
            closing.replyReceived(self.reply(421))
                == .completedThenClose(.recipientsRefused(self.refusals((0, 421)) + [last]))
        )
        // Before the first reply nothing is known of any copy.
        var silent = self.sent(each: true)
        let error = SMTPForwardError(.closed, "")
        #expect(silent.connectionLost(error) == .fail(error))
    }

    @Test func `a connection that ends between the replies is no answer`() {
        var lost = self.sent()
        _ = lost.replyReceived(self.reply(250))
        let error = SMTPForwardError(.closed, "")
        #expect(lost.connectionLost(error) == .fail(error))
        var closing = self.sent()
        #expect(closing.replyReceived(self.reply(421)) == .fail(error))
        #expect(closing.replyReceived(self.reply(250)) == .none && !closing.isIdle)
        var last = self.sent()
        _ = last.replyReceived(self.reply(250))
        #expect(
            last.replyReceived(self.reply(421))
                == .completedThenClose(.copiesRefused(self.refusals((1, 421)), taken: 1))
        )
        var confused = self.sent()
        #expect(
            confused.replyReceived(self.reply(354)) == .fail(SMTPForwardError(.malformed, ""))
        )
    }

    @Test(arguments: [500, 502, 421])
    func `a hop that refuses LHLO does not speak LMTP, and HELO is not said`(code: Int) {
        var machine = SMTPClientMachine(.lmtp, name: "mx.example", deliversPartially: false)
        _ = machine.replyReceived(self.reply(220))
        #expect(
            machine.replyReceived(self.reply(code)) == .fail(SMTPForwardError(.unreachable, ""))
        )
    }
}

/// An LMTP server that stores nothing.
private final class FakeLMTP: Sendable {
    let server: TestServer

    /// `replies`: what is said after the content, by the recipient's local part; for others it is 250.
    init(unixPath: String? = nil, _ replies: [String: String] = [:]) throws {
        let box = Box()
        self.box = box
        self.server = try TestServer(unixPath: unixPath) { connection in
            connection.write("220 lmtp\r\n")
            var recipients: [String] = []
            while let line = connection.readLine() {
                switch line.prefix(4) {
                case "LHLO": connection.write("250-lmtp\r\n250-8BITMIME\r\n250 PIPELINING\r\n")
                case "MAIL":
                    recipients = []
                    connection.write("250 ok\r\n")
                case "RCPT":
                    recipients.append(String(line.dropFirst(9).prefix { $0 != "@" }))
                    connection.write("250 ok\r\n")
                case "DATA":
                    connection.write("354 go\r\n")
                    _ = connection.readContent()
                    for recipient in recipients {
                        let reply = replies[recipient] ?? "250 2.1.5 stored"
                        guard reply != "close" else { return }
                        connection.write("\(reply)\r\n")
                    }
                    let delivered = recipients.filter { replies[$0] == nil }
                    box.value.withLock { $0.append(delivered) }
                case "RSET": connection.write("250 ok\r\n")
                default: connection.write("500 what\r\n")
                }
            }
        }
    }

    private final class Box: Sendable {
        let value = Mutex<[[String]]>([])
    }

    private let box: Box

    /// The recipients of each message who have a copy.
    var messages: [[String]] { self.box.value.withLock { $0 } }
}

@Suite struct QueueLMTPTests {
    private func session(
        _ address: some CustomStringConvertible,
        _ arguments: String = ""
    )
        async throws -> TestSession
    {
        let session = try await TestSession(
            [QueueLMTP.self, AcceptAnyRecipient.self],
            plugins: "accept_any_recipient\nqueue/lmtp \(address) \(arguments)",
            files: ["me": "mx.example.org"]
        )
        try await session.mail(from: "bob@example.net")
        for name in ["alice", "carol", "dave"] {
            try await session.rcpt(to: "\(name)@example.org")
        }
        return session
    }

    @Test func `a message goes to a Unix socket, one after the other on one connection`()
        async throws
    {
        let folder = try ScratchFolder()
        let hop = try FakeLMTP(unixPath: "\(folder.path)/lmtp")
        defer { hop.server.stop() }
        let session = try await self.session(hop.server.address)
        for _ in 0..<3 {
            let answer = try await session.message("Subject: x\r\n\r\nx\r\n", at: .queue)
            #expect(answer == .ok("queued as test", code: 250, status: "2.0.0"))
        }
        #expect(hop.messages == Array(repeating: ["alice", "carol", "dave"], count: 3))
        #expect(hop.server.connections == 1)
        await session.stop()
    }

    @Test(arguments: [
        // Whose copy is refused and how; what the client is told.
        ("", ["carol": "552 5.2.2 full"], Verdict.deny, 552, "5.2.2"),
        ("", ["carol": "452 4.2.2 full"], .denysoft, 452, "4.2.2"),
        ("", ["alice": "550 5.1.1 who", "dave": "450 4.2.0 later"], .denysoft, 450, "4.2.0"),
        ("", ["dave": "close"], .denysoft, 451, "4.4.2"),
        ("", ["dave": "nonsense"], .denysoft, 451, "4.5.0"),
        ("partial deliver", ["carol": "552 5.2.2 full"], .ok, 250, "2.0.0"),
        ("partial deliver", ["carol": "452 4.2.2 full"], .denysoft, 452, "4.2.2"),
    ])
    func `250 is said only if every copy exists`(
        arguments: String,
        replies: [String: String],
        verdict: Verdict,
        code: Int,
        status: String
    ) async throws {
        let hop = try FakeLMTP(replies)
        defer { hop.server.stop() }
        let session = try await self.session(hop.server.address, arguments)
        let answer = try await session.message("Subject: x\r\n\r\nx\r\n", at: .queue)
        #expect(answer.verdict == verdict)
        #expect(answer.reply?.code == code && answer.reply?.status == status)
        await session.stop()
    }

    @Test(arguments: [
        // What the hop says of carol's and dave's copies, and what their client is told.
        (["carol": "552 5.2.2 full", "dave": "452 4.2.2 full"], ["carol": 552, "dave": 452]),
        (["dave": "close"], ["dave": 451]),
        (
            ["alice": "550 5.1.1 who", "carol": "550 5.1.1 who", "dave": "450 4.2.0 later"],
            ["alice": 550, "carol": 550, "dave": 450]
        ),
    ])
    func `each recipient has the answer for its own copy, where the client hears of each`(
        replies: [String: String],
        codes: [String: Int]
    ) async throws {
        let hop = try FakeLMTP(replies)
        defer { hop.server.stop() }
        let session = try await self.session(hop.server.address)
        session.repliesEach = true
        let answer = try await session.message("Subject: x\r\n\r\nx\r\n", at: .queue)
        let refused = session.refusedRecipients.map { recipient, answer in
            (recipient.local.string ?? "", answer.reply?.code ?? 0)
        }
        #expect(Dictionary(uniqueKeysWithValues: refused) == codes)
        // If there is no copy at all, it is the refusal that is for now.
        #expect(answer.verdict == (codes.count == 3 ? .denysoft : .ok))
        #expect(answer.reply?.code == (codes.count == 3 ? 450 : 250))
        await session.stop()
    }

    @Test(arguments: ["", "a/b", "a,,b", "/run/lmtp tls maybe", "a:0"])
    func `a wrong argument is an error at start`(arguments: String) async {
        await #expect(throws: (any Error).self) { _ = try await self.session(arguments) }
    }
}

/// Accepts every recipient.
private struct AcceptAnyRecipient: RcptHook {
    static let name = "accept_any_recipient"
    init(configuration: PluginConfiguration) {}
    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }
}
