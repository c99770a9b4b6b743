import JSON
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

/// Verdicts that speak for single recipients: the table of protocol/verdicts.md, *Single recipients*.
@Suite struct RecipientRefusalTests {
    /// How the client hears of its recipients.
    enum Way: String, CaseIterable {
        case smtp, lmtp, prdr
    }

    /// One letter for each RCPT: `a` is taken, `d` is refused with deny, `s` with denysoft.
    static let rows: [(hook: Hook, said: String, final: Verdict, smtp: UInt16, each: [UInt16])] = [
        (.data_post, "aa", .ok, 250, [250, 250]),
        (.data_post, "ada", .ok, 554, [250, 554, 250]),
        (.data_post, "das", .ok, 451, [554, 250, 451]),
        (.data_post, "dd", .ok, 554, [554, 554]),
        (.data_post, "ds", .ok, 451, [554, 451]),
        (.data_post, "ad", .deny, 554, [554, 554]),
        (.data_post, "ad", .denysoft, 554, [451, 554]),
        (.data_post, "sa", .deny, 451, [451, 554]),
        (.queue, "ada", .ok, 554, [250, 554, 250]),
        (.queue, "das", .ok, 451, [554, 250, 451]),
        (.queue, "sd", .ok, 451, [451, 554]),
        (.queue, "sa", .deny, 451, [451, 554]),
        (.queue, "ad", .denysoft, 451, [451, 554]),
    ]

    private static func session(
        _ way: Way,
        _ recipients: String,
        pools: Int = 1
    ) -> PlayedSession {
        let played = PlayedPools((0..<pools).map { "pool\($0)" })
        for pool in 0..<pools { played.register(pool, asked: [.rcpt, .data_post, .queue]) }
        let configuration = SMTPConfiguration(
            hostname: Array("mx".utf8),
            extensions: { _ in .prdr },
            isLMTP: way == .lmtp
        )
        let play = played.session(configuration, route: Array(0..<pools))
        play.connect()
        play.send(way == .lmtp ? "LHLO c" : "EHLO c")
        play.send("MAIL FROM:<a@b>" + (way == .prdr ? " PRDR" : ""))
        for index in recipients.indices {
            play.send("RCPT TO:<r\(recipients.distance(from: recipients.startIndex, to: index))@d>")
            play.answer(.ok)
        }
        play.send("DATA", "A: b\r\n", "body", ".")
        play.grant(until: .data_post)
        return play
    }

    private static func refusals(_ said: String) -> [PolicyAction] {
        said.enumerated().compactMap { index, letter in
            guard letter != "a" else { return nil }
            let verdict: Verdict = letter == "d" ? .deny : .denysoft
            // The standard replies of data_post and queue differ.
            let reply = letter == "d" ? 554 : 451
            return .refuseRecipient(
                id: index + 1,
                verdict: verdict,
                reply: PolicyReply(code: reply, text: ["no \(index)"])
            )
        }
    }

    private static func codes(_ play: PlayedSession, after count: Int) -> [UInt16] {
        play.replies.dropFirst(count).map(\.code.rawValue)
    }

    @Test(arguments: Way.allCases, rows.indices)
    func `the client hears what the table says`(way: Way, index: Int) {
        let row = Self.rows[index]
        let play = Self.session(way, row.said)
        let count = play.replies.count
        if row.hook == .queue { play.grant(until: .queue) }
        var verdict = PolicyVerdict(id: 1, verdict: row.hook == .queue ? row.final : .declined)
        verdict.actions = Self.refusals(row.said)
        #expect(play.answer(verdict) == nil)
        let mayGoOn = way == .smtp ? row.said.allSatisfy { $0 == "a" } : row.said.contains("a")
        if row.hook == .data_post {
            #expect((play.openHook == .queue) == mayGoOn)
            if play.openHook == .queue { play.answer(row.final) }
        }
        var expected = way == .smtp ? [row.smtp] : row.each
        if way == .prdr, row.said.contains(where: { $0 != "a" }) {
            let last: UInt16 =
                row.each.contains(250) ? 250 : row.each.allSatisfy { $0 == 554 } ? 550 : 450
            expected = [353] + row.each + [last]
        } else if way == .prdr {
            expected = [250]
        }
        // Where the message is refused before `queue`, what `queue` would say has no part in it.
        if way == .smtp, row.hook == .data_post, !mayGoOn {
            expected = [row.said.contains("s") ? 451 : 554]
        }
        #expect(Self.codes(play, after: count) == expected)
        #expect(play.isIdle && !play.isOver)
        let isTaken = expected.contains(250) && (way != .smtp || expected == [250])
        let taken = play.performed.filter {
            if case .transactionOver(let end) = $0 { end.decider != nil } else { false }
        }
        #expect(taken.count == (isTaken ? 1 : 0))
    }

    @Test func `the refused recipient is off the envelope, and its reply is its own`() throws {
        let play = Self.session(.lmtp, "aaa", pools: 2)
        var verdict = PolicyVerdict(id: 1, verdict: .declined)
        verdict.actions = [
            .refuseRecipient(id: 2, verdict: .deny, reply: PolicyReply(code: 550, text: ["not me"]))
        ]
        #expect(play.answer(verdict) == nil)
        #expect(play.recipients.map(\.id) == [1, 3])
        // The next pool may refuse another one, but not the same again.
        verdict.actions = [.refuseRecipient(id: 2, verdict: .deny, reply: nil)]
        #expect(play.answer(verdict)?.code == .unknown_recipient)
        verdict.actions = [.refuseRecipient(id: 3, verdict: .denysoft, reply: nil)]
        #expect(play.answer(verdict) == nil)
        let count = play.replies.count
        play.grant()
        let wires = play.replies.dropFirst(count).map { String(decoding: $0.wire, as: UTF8.self) }
        #expect(wires.count == 3 && wires[0].hasPrefix("250 2.0.0 Queued as"))
        #expect(wires[1] == "550 5.7.1 not me\r\n")
        #expect(wires[2].hasPrefix("451 4.7.1"))
    }

    @Test
    func `a recipient that RCPT granted twice is told twice, one that was removed as the message`()
    {
        let played = PlayedPools()
        played.register(asked: [.rcpt, .data_post, .queue])
        let smtp = SMTPConfiguration(hostname: Array("mx".utf8), isLMTP: true)
        let play = played.session(smtp)
        play.connect()
        play.send("LHLO c", "MAIL FROM:<a@b>")
        for address in ["a@d", "b@d", "a@D", "c@d"] {
            play.send("RCPT TO:<\(address)>")
            play.answer(.ok)
        }
        play.send("DATA", "A: b\r\n", ".")
        var verdict = PolicyVerdict(id: 1, verdict: .declined)
        verdict.actions = [
            .removeRecipient(id: 2), .refuseRecipient(id: 1, verdict: .deny, reply: nil),
        ]
        let count = play.replies.count
        #expect(play.answer(verdict) == nil)
        play.grant()
        #expect(Self.codes(play, after: count) == [554, 250, 554, 250])
    }

    @Test func `a refusal that closes the session is for all`() {
        let play = Self.session(.lmtp, "da")
        var verdict = PolicyVerdict(id: 1, verdict: .declined)
        verdict.actions = Self.refusals("da")
        #expect(play.answer(verdict) == nil)
        let count = play.replies.count
        play.answer(.deny_disconnect)
        #expect(Self.codes(play, after: count) == [554, 554])
        #expect(play.isOver)
    }

    @Test func `a failure is told to those that were not refused`() {
        let play = Self.session(.lmtp, "da")
        var verdict = PolicyVerdict(id: 1, verdict: .declined)
        verdict.actions = Self.refusals("da")
        #expect(play.answer(verdict) == nil)
        let count = play.replies.count
        play.poolDone(.failed(reason: "deadline", worker: nil))
        #expect(Self.codes(play, after: count) == [554, 451])
    }

    @Test(arguments: [
        (#""id":1,"verdict":"ok""#, ViolationCode.actions_malformed),
        (#""id":1"#, .actions_malformed), (#""verdict":"deny""#, .actions_malformed),
        (#""id":9,"verdict":"deny""#, .unknown_recipient),
        (#""id":1,"verdict":"deny","reply":{"code":450}"#, .reply_code),
        (#""id":1,"verdict":"denysoft","reply":{"code":421}"#, .reply_code),
        (#""id":1,"verdict":"deny","reply":{"status":"4.7.1"}"#, .reply_status),
        (#""id":1,"verdict":"deny","reply":{"text":["\u0007"]}"#, .reply_text),
        (#""id":1,"verdict":"deny","reply":7"#, .reply_malformed),
    ])
    func `what is not a refusal is an invalid verdict`(members: String, code: ViolationCode) throws
    {
        let play = Self.session(.lmtp, "a")
        let line =
            #"{"type":"verdict","id":1,"verdict":"declined","actions":"#
            + #"[{"op":"recipient.refuse",\#(members)}]}"#
        do throws(ProtocolViolation) {
            guard case .verdict(_, let result) = try WorkerMessage.decode(Array(line.utf8)) else {
                Issue.record("no verdict")
                return
            }
            #expect(play.judge(try result.get())?.code == code)
        } catch {
            #expect(error.code == code)
        }
    }

    @Test func `only data_post and queue may refuse, and workers are told whether it is heard`()
        throws
    {
        for way in Way.allCases {
            let play = Self.session(way, "a")
            let event = try JSONValue(parsing: Array(try #require(play.event()).dropLast()))
            let told: JSONValue? = way == .smtp ? nil : .bool(true)
            #expect(event["transaction"]?["replies_each"] == told)
        }
        let played = PlayedPools()
        played.register(asked: [.rcpt, .data])
        let play = played.session(SMTPConfiguration(hostname: Array("mx".utf8)))
        play.connect()
        play.send("EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        play.answer(.ok)
        play.send("DATA")
        var verdict = PolicyVerdict(id: 1, verdict: .declined)
        verdict.actions = [.refuseRecipient(id: 1, verdict: .deny, reply: nil)]
        #expect(play.answer(verdict)?.code == .action_not_allowed)
    }
}
