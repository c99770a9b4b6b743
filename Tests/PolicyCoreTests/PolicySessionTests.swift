import JSON
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

/// The rules of protocol/README.md, events.md, verdicts.md and failure.md about one session, by action
/// and next state.
@Suite struct PolicySessionTests {
    private static let smtp = SMTPConfiguration(hostname: Array("mx".utf8))
    private static let header = "Subject: x\r\n"

    /// A session that has said EHLO.
    private func play(_ pools: PlayedPools, _ smtp: SMTPConfiguration = smtp) -> PlayedSession {
        let play = pools.session(smtp)
        play.connect()
        play.grant()
        play.send("EHLO c")
        play.grant()
        return play
    }

    /// A session with one recipient that is asked about `hook`.
    private func play(_ pools: PlayedPools, upTo hook: Hook) -> PlayedSession {
        let play = self.play(pools)
        for line in ["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", Self.header, "body", "."] {
            play.send(line)
            play.grant(until: hook)
            guard play.openHook != hook else { break }
        }
        return play
    }

    private func event(_ play: PlayedSession, needs: Needs = []) throws -> JSONValue {
        let line = try #require(play.event(needs: needs))
        return try JSONValue(parsing: Array(line.dropLast()))
    }

    private func verdict(
        _ verdict: Verdict,
        _ actions: [PolicyAction] = [],
        session: JSONValue? = nil,
        transaction: JSONValue? = nil
    ) -> PolicyVerdict {
        var answer = PolicyVerdict(id: 1, verdict: verdict)
        answer.actions = actions
        answer.sessionNotes = session
        answer.transactionNotes = transaction
        return answer
    }

    private func ends(_ play: PlayedSession) -> [PolicySession.TransactionEnd] {
        play.performed.compactMap { if case .transactionOver(let end) = $0 { end } else { nil } }
    }

    // MARK: - From pool to pool

    @Test func `pools are asked in order until one does not decline`() {
        let pools = PlayedPools(["one", "two", "three"])
        for pool in 0..<3 { pools.register(pool, asked: [.mail]) }
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>")
        #expect(play.wait == .pool(0, .mail))
        play.answer(.declined)
        #expect(play.wait == .pool(1, .mail))
        play.answer(.ok)
        #expect(play.wait == .client && play.replies.last == StandardReplies.senderAccepted)
        let asked = play.performed.compactMap { action -> Int? in
            if case .submit(let pool, _) = action { pool } else { nil }
        }
        #expect(asked == [0, 1])
    }

    @Test func `a pool that registered nothing is not asked`() {
        let pools = PlayedPools(["one", "two"])
        pools.register(1, asked: [.mail, .rcpt])
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>")
        #expect(play.wait == .pool(1, .mail))
        play.answer(.declined)
        play.send("NOOP")
        #expect(play.replies.last == StandardReplies.ok)
    }

    @Test func `a pool that is skipped is named in the message, where the operator wants that`() {
        let pools = PlayedPools(["one", "two"])
        for pool in 0..<2 {
            pools.register(pool, asked: [.rcpt, .data_post, .queue], needs: [.queue: .headers])
        }
        pools.profiles[0].failurePolicies = .init(repeating: .skip, count: Hook.allCases.count)
        pools.profiles[0].marksSkippedMessages = true
        let play = self.play(pools, upTo: .data_post)
        play.poolDone(.failed(reason: "deadline", worker: nil))
        #expect(play.wait == .pool(1, .data_post))
        #expect(play.performed.contains(.skipped(pool: 0, hook: .data_post, reason: "deadline")))
        play.grant(until: .queue)
        let line = String(decoding: play.event(needs: .headers) ?? [], as: UTF8.self)
        #expect(line.contains(#""X-Gatepost-Skipped","value":" pool=one; hook=data_post""#))
    }

    @Test func `no pool is asked twice about one question`() {
        let pools = PlayedPools(["one", "two"])
        for pool in 0..<2 { pools.register(pool) }
        let play = self.play(pools, upTo: .queue)
        play.grant()
        var seen: Set<String> = []
        for case .submit(let pool, let hook) in play.performed where hook != .rcpt {
            #expect(seen.insert("\(pool) \(hook)").inserted)
        }
        #expect(play.replies.last?.code.rawValue == 250)
    }

    // MARK: - Notes, and all or nothing

    @Test
    func `notes of a valid verdict are merged, null deletes, and a transaction's die with it`()
        throws
    {
        let pools = PlayedPools()
        pools.register(asked: [.ehlo, .mail, .rcpt])
        let play = pools.session(Self.smtp)
        play.connect()
        play.send("EHLO c")
        play.answer(self.verdict(.declined, session: .object(["a": .int(1), "b": .int(2)])))
        play.send("MAIL FROM:<a@b>")
        play.answer(
            self.verdict(
                .declined,
                session: .object(["b": .null]),
                transaction: .object(["t": .bool(true)])
            )
        )
        #expect(play.notes == Array(#"{"session":{"a":1},"transaction":{"t":true}}"#.utf8))
        play.send("RSET", "MAIL FROM:<a@b>")
        #expect(play.notes == Array(#"{"session":{"a":1},"transaction":{}}"#.utf8))
    }

    @Test(
        arguments: [
            (
                [.addRecipient(address: Array("x@y".utf8)), .removeRecipient(id: 99)],
                .unknown_recipient
            ),
            ([.addRecipient(address: Array("no address".utf8))], .address_invalid),
            ([.deleteHeaders(name: Array("a".utf8)), .removeRecipient(id: 1)], .no_recipients),
            (
                [
                    .addHeader(name: Array("A".utf8), value: [0x62], atTop: true),
                    .setHeader(id: 9, value: []),
                ],
                .unknown_header
            ),
            ([.replaceSender(address: Array("\u{FC}@b".utf8))], .address_invalid),
        ] as [([PolicyAction], ViolationCode)]
    )
    func `a verdict with one wrong action changes nothing`(
        actions: [PolicyAction],
        code: ViolationCode
    ) throws {
        let pools = PlayedPools()
        pools.register(asked: [.rcpt, .data_post, .queue])
        let play = self.play(pools, upTo: .data_post)
        let before = try self.event(play, needs: [.headers, .recipients])
        let violation = play.answer(
            self.verdict(.declined, actions, session: .object(["a": .int(1)]))
        )
        #expect(violation?.code == code)
        let after = try self.event(play, needs: [.headers, .recipients])
        #expect(after == before)
    }

    @Test func `a repeated recipient stays one, and the session machine is told the number`() {
        let pools = PlayedPools()
        pools.register(asked: [.rcpt, .data_post])
        let play = self.play(pools, upTo: .data_post)
        let add = PolicyAction.addRecipient(address: Array("c@D".utf8))
        let other = PolicyAction.addRecipient(address: Array("e@f".utf8))
        #expect(play.answer(self.verdict(.declined, [add, other, other])) == nil)
        #expect(Self.recipientsTold(play) == 2)
    }

    @Test func `a recipient that is granted twice counts twice for the limit`() {
        var limits = SMTPLimits()
        limits.maximumRecipients = 2
        let pools = PlayedPools()
        pools.register(asked: [.rcpt])
        let play = self.play(pools, SMTPConfiguration(hostname: [], limits: limits))
        play.send("MAIL FROM:<a@b>")
        for _ in 1...2 {
            play.send("RCPT TO:<c@d>")
            play.grant()
        }
        #expect(play.recipients.count == 1 && Self.recipientsTold(play) == 2)
        play.send("RCPT TO:<c@d>")
        #expect(play.replies.last == StandardReplies.tooManyRecipients)
    }

    @Test func `a worker cannot add more recipients than there may be`() {
        var limits = SMTPLimits()
        limits.maximumRecipients = 2
        let pools = PlayedPools()
        pools.register(asked: [.rcpt])
        let play = self.play(pools, SMTPConfiguration(hostname: [], limits: limits))
        play.send("MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        let add = (1...3).map { PolicyAction.addRecipient(address: Array("x\($0)@y".utf8)) }
        #expect(play.answer(self.verdict(.ok, add))?.code == .too_many_recipients)
        #expect(play.answer(self.verdict(.ok, Array(add.prefix(2)))) == nil)
        #expect(Self.recipientsTold(play) == play.recipients.count)
        play.send("RCPT TO:<g@h>")
        #expect(play.replies.last == StandardReplies.tooManyRecipients)
    }

    /// How many recipients the SMTP session was told of with the last answer.
    private static func recipientsTold(_ play: PlayedSession) -> Int? {
        let counts = play.performed.compactMap { action -> Int? in
            if case .answer(_, _, let recipients) = action { recipients } else { nil }
        }
        return counts.last
    }

    @Test func `the sender that a worker wrote stays, and a refused MAIL leaves no transaction`()
        throws
    {
        let pools = PlayedPools()
        pools.register(asked: [.mail, .rcpt], observed: [.reset_transaction])
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>")
        play.answer(self.verdict(.ok, [.replaceSender(address: Array("new@b".utf8))]))
        play.send("RCPT TO:<c@d>")
        let sender = try self.event(play)["transaction"]?["sender"]?["address"]
        #expect(sender == .string("new@b"))
        play.answer(.ok)
        play.send("RSET", "MAIL FROM:<no@b>")
        play.answer(.deny)
        #expect(self.ends(play).map(\.reason) == ["rset", "refused"])
        // Observers heard of the first alone: the second never was.
        #expect(play.told.map(\.hook) == [.reset_transaction])
        #expect(play.recipients.isEmpty)
    }

    @Test func `a refused HELO leaves the name that was there`() throws {
        let pools = PlayedPools()
        pools.register(asked: [.helo, .ehlo, .noop])
        let play = self.play(pools)
        play.send("HELO other")
        play.answer(.deny)
        play.send("NOOP")
        let name = try self.event(play)["session"]?["hello"]?["name"]
        #expect(name == .string("c"))
    }

    // MARK: - Replies held back

    @Test func `delays of several workers add up, each within the limit`() {
        let pools = PlayedPools(["one", "two"])
        for pool in 0..<2 { pools.register(pool, asked: [.mail]) }
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>")
        play.answer(self.verdict(.declined, [.delayReply(milliseconds: 2_000)]))
        play.answer(self.verdict(.declined, [.delayReply(milliseconds: 99_000)]))
        #expect(play.wait == .delay(12_000))
        #expect(play.replies.last?.code.rawValue == 250 && play.replies.count == 2)
        play.delayPassed()
        #expect(play.replies.count == 3 && play.wait == .client)
    }

    // MARK: - The message

    @Test func `a worker that needs the message is asked once it is in a file`() throws {
        let pools = PlayedPools()
        pools.register(
            asked: [.rcpt, .data_post, .queue],
            needs: [.data_post: .message, .queue: .message]
        )
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        play.answer(.ok)
        play.send("DATA", Self.header, "body", ".")
        #expect(play.wait == .store(0))
        play.stored()
        #expect(play.wait == .pool(0, .data_post))
        let path = try self.event(play, needs: .message)["transaction"]?["message"]?["path"]
        #expect(path == .string("/spool/m"))
        play.answer(.declined)
        // It is there: the next hook does not store it again.
        #expect(play.wait == .pool(0, .queue))
    }

    @Test(arguments: [(true, 452), (false, 451)] as [(Bool, UInt16)])
    func `a message that cannot be written is the client's still, whatever the failure policy`(
        isDiskFull: Bool,
        code: UInt16
    ) {
        let pools = PlayedPools()
        pools.register(asked: [.rcpt, .queue], needs: [.queue: .message])
        pools.profiles[0].failurePolicies = .init(repeating: .skip, count: Hook.allCases.count)
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        play.answer(.ok)
        play.send("DATA", Self.header, ".")
        #expect(play.wait == .store(0))
        let failure = SpoolFailure(isDiskFull: isDiskFull, description: "write")
        play.stored(failure)
        #expect(play.replies.last?.code.rawValue == code)
        #expect(play.performed.contains(.messageLost(pool: 0, hook: .queue, failure)))
    }

    @Test func `header actions behind a replacement are applied to the new header`() throws {
        let pools = PlayedPools()
        pools.register(asked: [.rcpt, .data_post, .queue])
        let play = self.play(pools, upTo: .data_post)
        let add = PolicyAction.addHeader(name: Array("X".utf8), value: [0x79], atTop: false)
        #expect(
            play.answer(self.verdict(.declined, [.replaceMessage(path: "f"), add])) == nil
        )
        #expect(play.wait == .replacement(path: "f", pool: 0))
        let header = Array("New: 1\r\n".utf8)
        #expect(play.replaced(.taken(ReplacedMessage(size: 20, header: header))))
        #expect(play.wait == .pool(0, .queue))
        let fields = try self.event(play, needs: .headers)["transaction"]?["headers"]
        guard case .array(let list)? = fields else { return #expect(Bool(false)) }
        #expect(list.map { $0["name"] } == [.string("New"), .string("X")])
    }

    @Test func `a replacement that is refused makes the verdict invalid as a whole`() throws {
        let pools = PlayedPools()
        pools.register(asked: [.rcpt, .data_post, .queue])
        let play = self.play(pools, upTo: .data_post)
        play.answer(
            self.verdict(.declined, [.replaceMessage(path: "f")], session: .object(["a": .int(1)]))
        )
        #expect(!play.replaced(.refused("notPlainFile")))
        #expect(play.replies.last?.code.rawValue == 451)
        #expect(play.notes == Array(#"{"session":{}}"#.utf8))
        let refusals = play.performed.compactMap { action -> String? in
            if case .replacementRefused(let refusal) = action {
                "\(refusal.violation)"
            } else {
                nil
            }
        }
        #expect(refusals == ["file_refused: actions[0].path: notPlainFile"])
    }

    @Test func `a replacement that our disk lost is no matter of the failure policy`() {
        let pools = PlayedPools()
        pools.register(asked: [.rcpt, .data_post, .queue])
        pools.profiles[0].failurePolicies = .init(repeating: .skip, count: Hook.allCases.count)
        let play = self.play(pools, upTo: .data_post)
        play.answer(self.verdict(.declined, [.replaceMessage(path: "f")]))
        let failure = SpoolFailure(isDiskFull: true, description: "copy")
        #expect(!play.replaced(.failed(failure)))
        #expect(play.replies.last?.code.rawValue == 452)
    }

    @Test func `a header that fits no event of queue is refused for good`() {
        let pools = PlayedPools()
        pools.register(
            asked: [.rcpt, .queue],
            needs: [.queue: .headers],
            maximumFrameOctets: 65_536
        )
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        play.answer(.ok)
        play.send("DATA")
        for index in 0..<700 { play.send("F\(index): \(String(repeating: "x", count: 90))") }
        play.send("", ".")
        #expect(play.replies.last?.code.rawValue == 552)
    }

    @Test func `no transaction begins while memory is used up`() {
        let pools = PlayedPools()
        pools.register(asked: [.mail])
        let play = self.play(pools)
        play.isMemoryUsedUp = true
        play.send("MAIL FROM:<a@b>")
        #expect(play.replies.last == StandardReplies.memoryUsedUp)
        #expect(self.ends(play).map(\.reason) == ["refused"])
    }

    // MARK: - Leaving

    @Test func `a question of a client that left is taken back, but not one about its message`() {
        let pools = PlayedPools()
        pools.register(asked: [.mail, .rcpt, .queue])
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>")
        play.leave()
        #expect(play.isOver && play.performed.contains(.cancel(pool: 0)))
        let other = self.play(pools, upTo: .queue)
        other.leave()
        #expect(other.wait == .pool(0, .queue))
        other.answer(.ok)
        #expect(other.isOver)
        #expect(self.ends(other).map(\.decider?.pool) == ["default"])
    }

    @Test func `after the frontend's last word an answer changes nothing`() {
        let pools = PlayedPools()
        pools.register(asked: [.mail])
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>")
        play.shutDown()
        let replies = play.replies
        #expect(play.isOver && replies.last == StandardReplies.shuttingDown)
        play.poolDone(.failed(reason: "worker_lost", worker: nil))
        #expect(play.replies == replies)
    }

    // MARK: - Observers

    @Test func `observers are told how each question and the transaction ended`() throws {
        let pools = PlayedPools()
        pools.register(
            asked: [.mail, .rcpt, .queue],
            observed: [.ok, .deny, .queue_post, .reset_transaction, .disconnect]
        )
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>")
        play.answer(.ok)
        play.send("RCPT TO:<no@d>")
        play.answer(.deny)
        play.send("RCPT TO:<c@d>")
        play.answer(.ok)
        play.send("DATA", Self.header, ".")
        play.answer(.ok)
        play.send("QUIT")
        #expect(
            play.told.map(\.hook) == [
                .ok, .deny, .ok, .ok, .queue_post, .reset_transaction, .disconnect,
            ]
        )
        let denied = try JSONValue(parsing: play.told[1].args)
        #expect(denied["args"]?["recipient"]?["address"] == .string("no@d"))
        #expect(denied["reply"]?["code"] == .int(550))
        let posted = try JSONValue(parsing: play.told[4].args)
        #expect(posted["queue_id"] == .string("S.1"))
    }

    @Test func `the trace has one entry a pool, and the client's reply on the one that decided`()
        throws
    {
        let pools = PlayedPools(["one", "two"])
        for pool in 0..<2 { pools.register(pool, asked: [.mail, .rcpt], needs: [.rcpt: .trace]) }
        let play = self.play(pools)
        play.send("MAIL FROM:<a@b>")
        play.now = 5_000
        play.answer(.declined)
        play.answer(.ok)
        play.send("RCPT TO:<c@d>")
        guard case .array(let entries)? = try self.event(play, needs: .trace)["trace"] else {
            return #expect(Bool(false))
        }
        #expect(entries.map { $0["pool"] } == [.string("one"), .string("two")])
        #expect(entries[0]["us"] == .int(5) && entries[0]["reply"] == .null)
        #expect(entries[1]["reply"]?["code"] == .int(250))
        #expect(entries[0]["key"] == entries[1]["key"] && entries[0]["key"] == .string("S.1.q1"))
    }

    // MARK: - Shadows

    @Test func `shadows are shown the question before it is asked, and told what was said`() {
        let pools = PlayedPools(["one", "shadow"])
        pools.register(0, asked: [.mail])
        pools.register(1, asked: [.mail])
        pools.profiles[0].shadows = [pools.profiles[1]]
        let play = pools.session(Self.smtp, route: [0])
        play.connect()
        play.send("EHLO c", "MAIL FROM:<a@b>")
        play.answer(.deny)
        let steps = play.performed.compactMap { action -> String? in
            switch action {
            case .showShadows: "show"
            case .submit: "submit"
            case .shadowsDone(.answered?): "done"
            default: nil
            }
        }
        #expect(steps == ["show", "submit", "done"])
    }

    @Test func `a shadow is not shown queue unless the operator says so`() {
        for isShown in [false, true] {
            let pools = PlayedPools(["one", "shadow"])
            pools.register(0, asked: [.rcpt, .queue])
            pools.register(1, asked: [.queue])
            pools.profiles[0].shadows = [pools.profiles[1]]
            pools.profiles[1].isShownQueue = isShown
            #expect(pools.profiles[1].isShown(.queue) == isShown)
        }
    }
}
