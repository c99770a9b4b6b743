import Glibc
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

/// Every cell of the table in protocol/verdicts.md, hook × verdict, and every failure policy.
@Suite struct VerdictTableTests {
    struct Cell: Sendable, CustomTestStringConvertible {
        let hook: Hook
        let verdict: Verdict
        /// What the client gets, in the words of the table.
        let text: String

        var testDescription: String { "\(self.hook) \(self.verdict): \(self.text)" }
    }

    static let cells = Self.read()

    /// The rows of the table but `auth`, which no client can send in this version.
    private static func read() -> [Cell] {
        let folder = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        guard let text = Self.contents("/\(folder)/protocol/verdicts.md") else { return [] }
        var cells: [Cell] = []
        var verdicts: [Verdict]?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let row = line.split(separator: "|").map { Self.trimmed($0) }
            if line.hasPrefix("| hook | all declined |") {
                verdicts = [.declined] + row.dropFirst(2).compactMap(Verdict.init(rawValue:))
            } else if let verdicts, let hook = row.first.flatMap(Hook.init(rawValue:)) {
                guard hook != .auth else { continue }
                cells += zip(verdicts, row.dropFirst()).map {
                    Cell(hook: hook, verdict: $0, text: $1)
                }
            } else if verdicts != nil, !line.hasPrefix("|") {
                break
            }
        }
        return cells
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while let first = text.first, " `".contains(first) { text.removeFirst() }
        while let last = text.last, " `".contains(last) { text.removeLast() }
        return String(text)
    }

    private static func contents(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var octets = [UInt8](repeating: 0, count: 1 << 20)
        let count = fread(&octets, 1, octets.count, file)
        return String(decoding: octets[..<count], as: UTF8.self)
    }

    @Test func `the table is read whole`() {
        #expect(Self.cells.count == 17 * 7)
        #expect(Self.cells.contains { $0.text == "221 2.0.0" })
    }

    // MARK: - Verdicts

    @Test(arguments: Self.cells) func `a verdict is answered as the table says`(cell: Cell) {
        let play = Self.play(upTo: cell.hook, isAhead: false)
        self.check(cell, play, Self.verdict(cell), Self.expected(cell, onFailure: .tempfail))
    }

    /// One event names all hooks of the message; the verdict is about one of them.
    @Test(arguments: Self.cells.filter { [.data_post, .queue_pre, .queue].contains($0.hook) })
    func `a verdict about a hook ahead is answered as the table says`(cell: Cell) {
        let play = Self.play(upTo: .data_post_headers, isAhead: true)
        #expect(play.event() != nil)
        if cell.hook == .queue { #expect(play.goAhead(to: .queue)) }
        var verdict = Self.verdict(cell)
        verdict.hook = cell.hook
        self.check(cell, play, verdict, Self.expected(cell, onFailure: .tempfail))
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
        let failure = Cell(hook: hook, verdict: .deny, text: "–")
        let skipped = play.performed.contains {
            if case .skipped(0, hook, "worker_lost") = $0 { true } else { false }
        }
        #expect(skipped == (onFailure == .skip))
        self.expect(Self.expected(failure, onFailure: onFailure), play, after: repliesBefore)
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
        if cell.verdict == .done {
            verdict.reply =
                cell.hook == .quit ? PolicyReply(code: 221, text: ["done"]) : Self.done
        }
        if cell.hook == .received_line, cell.verdict == .ok {
            verdict.reply = PolicyReply(text: ["from nowhere"])
        }
        return verdict
    }

    private static func expected(_ cell: Cell, onFailure: FailurePolicy) -> Reply {
        switch cell.text {
        case "go on": return Reply(code: 250, status: "2.0.0", closes: false)
        case "reply":
            let isQuit = cell.hook == .quit
            return isQuit
                ? Reply(code: 221, status: "2.0.0", closes: true)
                : Reply(code: 450, status: "4.7.1", closes: false)
        case "–": return Self.failed(cell.hook, onFailure)
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

    /// protocol/failure.md.
    private static func failed(_ hook: Hook, _ policy: FailurePolicy) -> Reply {
        switch (hook, policy) {
        case (_, .skip):
            let declined = Self.cells.first { $0.hook == hook && $0.verdict == .declined }
            return declined.map { Self.expected($0, onFailure: .tempfail) }
                ?? Reply(code: 0, status: nil, closes: false)
        case (.quit, _): return Reply(code: 221, status: "2.0.0", closes: true)
        case (.noop, _): return Reply(code: 250, status: "2.0.0", closes: false)
        case (.help, _): return Reply(code: 214, status: "2.0.0", closes: false)
        case (.connect, .tempfail): return Reply(code: 421, status: "4.3.0", closes: true)
        case (.connect, .reject): return Reply(code: 554, status: "5.3.0", closes: true)
        case (_, .tempfail): return Reply(code: 451, status: "4.3.0", closes: false)
        case (_, .reject): return Reply(code: 554, status: "5.3.0", closes: false)
        }
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
        let play = pools.session(SMTPConfiguration(hostname: Array("mx".utf8)))
        play.connect()
        let commands: [String]
        switch hook {
        case .connect: commands = []
        case .helo: commands = ["HELO c"]
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
