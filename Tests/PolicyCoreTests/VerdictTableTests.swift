import JSON
import PolicyCore
import PolicyProtocol
import ProtocolTables
import SMTPCore
import SessionPlay
import Testing

/// Every cell of protocol/hooks.json, hook × verdict and hook × failure policy.
@Suite struct VerdictTableTests {
    struct Cell: Sendable, CustomTestStringConvertible {
        let hook: Hook
        let verdict: Verdict
        /// What the client gets, in the words of the table.
        let text: String

        var testDescription: String { "\(self.hook) \(self.verdict): \(self.text)" }
    }

    static let cells = ProtocolTables.asked.flatMap { row in
        Verdict.allCases.compactMap { verdict in
            row.hook.map {
                Cell(hook: $0, verdict: verdict, text: row.verdicts[verdict.rawValue] ?? "–")
            }
        }
    }

    @Test func `the hooks that are asked are those of the table`() {
        #expect(PlayedPools.askedHooks == ProtocolTables.asked.map(\.hook))
        #expect(Self.cells.count == 18 * 7)
    }

    @Test(arguments: ProtocolTables.asked)
    func `an event has the arguments of its row, and its transaction`(row: HookRow) throws {
        let play = Self.play(upTo: try #require(row.hook), isAhead: false)
        let line = try #require(play.event())
        let event = try JSONValue(parsing: Array(line.dropLast()))
        guard case .object(let args)? = event["args"] else {
            Issue.record("no args")
            return
        }
        #expect(Set(row.args).isSubset(of: args.keys))
        #expect(
            row.transaction == "maybe"
                || (row.transaction == "yes") == (event["transaction"] != nil)
        )
    }

    // MARK: - Verdicts

    @Test(arguments: Self.cells) func `a verdict is answered as the table says`(cell: Cell) {
        let play = Self.play(upTo: cell.hook, isAhead: false)
        self.check(cell, play, Self.verdict(cell), Self.expected(cell))
    }

    /// One event names all hooks of the message; the verdict is about one of them.
    @Test(arguments: Self.cells.filter { [.data_post, .queue_pre, .queue].contains($0.hook) })
    func `a verdict about a hook ahead is answered as the table says`(cell: Cell) {
        let play = Self.play(upTo: .data_post_headers, isAhead: true)
        #expect(play.event() != nil)
        if cell.hook == .queue { #expect(play.goAhead(to: .queue)) }
        var verdict = Self.verdict(cell)
        verdict.hook = cell.hook
        self.check(cell, play, verdict, Self.expected(cell))
    }

    private func check(
        _ cell: Cell,
        _ play: PlayedSession,
        _ verdict: PolicyVerdict,
        _ expected: Reply
    ) {
        let repliesBefore = play.replies.count
        let violation = play.answer(verdict)
        if cell.text == "–" {
            #expect(violation?.code == .verdict_not_allowed)
            play.poolDone(.failed(reason: "invalid_verdict", worker: nil))
        } else {
            #expect(violation == nil)
        }
        self.expect(expected, play, after: repliesBefore)
    }

    // MARK: - Failures

    @Test(arguments: PlayedPools.askedHooks, FailurePolicy.allCases)
    func `a failure is answered as the pool's failure policy says`(
        hook: Hook,
        onFailure: FailurePolicy
    ) {
        let play = Self.play(upTo: hook, isAhead: false, onFailure: onFailure)
        let repliesBefore = play.replies.count
        play.poolDone(.failed(reason: "worker_lost", worker: nil))
        let skipped = play.performed.contains {
            if case .skipped(0, hook, "worker_lost") = $0 { true } else { false }
        }
        #expect(skipped == (onFailure == .skip))
        self.expect(Self.failed(hook, onFailure), play, after: repliesBefore)
    }

    // MARK: - What is expected

    /// A reply by its code, its status and whether the connection closes; `nil`: the default answers
    /// of the hooks that follow.
    struct Reply: Equatable {
        let code: UInt16
        let status: String?
        let closes: Bool
    }

    /// `reply` of the table: what ``verdict(_:)`` says.
    private static let done = PolicyReply(code: 450, status: "4.7.1", text: ["done"])

    private static func verdict(_ cell: Cell) -> PolicyVerdict {
        var verdict = PolicyVerdict(id: 1, verdict: cell.verdict)
        if cell.verdict == .done, cell.hook == .auth {
            verdict.actions = [.challenge([], state: [])]
        } else if cell.verdict == .done {
            verdict.reply =
                cell.hook == .quit ? PolicyReply(code: 221, text: ["done"]) : Self.done
        }
        if cell.hook == .received_line, cell.verdict == .ok {
            verdict.reply = PolicyReply(text: ["from nowhere"])
        }
        return verdict
    }

    private static func expected(_ cell: Cell) -> Reply {
        switch cell.text {
        case "go on": return Reply(code: 250, status: "2.0.0", closes: false)
        case "reply":
            let isQuit = cell.hook == .quit
            return isQuit
                ? Reply(code: 221, status: "2.0.0", closes: true)
                : Reply(code: 450, status: "4.7.1", closes: false)
        case "–": return Self.failed(cell.hook, .tempfail)
        default:
            let words = cell.text.split { $0 == " " || $0 == "," }
            let status = words.dropFirst().first { $0.contains(".") }.map(String.init)
            return Reply(
                code: UInt16(words[0]) ?? 0,
                // HELO and EHLO carry no enhanced status code (RFC 2034 §4).
                status: status,
                closes: words.last == "close" || words[0] == "221"
            )
        }
    }

    private static func failed(_ hook: Hook, _ policy: FailurePolicy) -> Reply {
        let row = ProtocolTables.asked.first { $0.hook == hook }
        let text = row?.failures[policy.rawValue] ?? ""
        return Self.expected(Cell(hook: hook, verdict: .declined, text: text))
    }

    private func expect(_ expected: Reply, _ play: PlayedSession, after count: Int) {
        // Hooks that follow in the same message: a recipient was accepted, so is the message.
        Self.answer(play) { play.wait != .client && !play.isOver }
        guard play.replies.count > count else {
            // The rest of the message is due, and then the reply.
            play.receive(Array("x\r\n.\r\n".utf8))
            Self.answer(play) { play.wait != .client && !play.isOver }
            #expect(play.replies.count == count + 1)
            return self.compare(play, play.replies.last, expected)
        }
        self.compare(play, play.replies[count], expected)
    }

    private func compare(_ play: PlayedSession, _ reply: SMTPReply?, _ expected: Reply) {
        #expect(reply?.code.rawValue == expected.code)
        if let status = expected.status, reply.map({ $0.status != nil }) ?? false {
            #expect(reply?.status.map { "\($0)" } == status)
        }
        #expect(play.isOver == expected.closes)
        #expect(play.isOver || play.isIdle)
    }

    // MARK: - Driving a session

    /// A session whose one pool is asked about `hook` now; all hooks before were granted.
    private static func play(
        upTo hook: Hook,
        isAhead: Bool,
        onFailure: FailurePolicy = .tempfail
    ) -> PlayedSession {
        let pools = PlayedPools()
        pools.register(goesAhead: isAhead)
        pools.profiles[0].failurePolicies = [FailurePolicy](
            repeating: onFailure,
            count: Hook.allCases.count
        )
        let play = pools.session(.offeringAuth)
        play.connect()
        let commands: [String]
        switch hook {
        case .connect: commands = []
        case .helo: commands = ["HELO c"]
        case .auth: commands = ["EHLO c", "AUTH SCRAM-SHA-256 biwsbj1hLHI9Yg=="]
        case .vrfy: commands = ["EHLO c", "VRFY a"]
        case .help: commands = ["EHLO c", "HELP"]
        case .noop: commands = ["EHLO c", "NOOP"]
        case .quit: commands = ["EHLO c", "QUIT"]
        case .unrecognized_command: commands = ["EHLO c", "HELLO"]
        default:
            commands = ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", "A: b\r\n\r\nx", "."]
        }
        Self.answer(play) { play.wait != .client && play.openHook != hook }
        for command in commands where play.openHook != hook {
            // What is behind the header comes once its hook is answered.
            play.send(command)
            Self.answer(play) { play.wait != .client && play.openHook != hook }
        }
        #expect(play.wait == .pool(0, hook))
        return play
    }

    /// Grants what is asked while it is to go on: recipients and the message are accepted.
    private static func answer(_ play: PlayedSession, while goesOn: () -> Bool) {
        while goesOn(), case .pool(_, let hook) = play.wait {
            #expect(play.answer(hook == .rcpt || hook == .queue ? .ok : .declined) == nil)
        }
    }
}
