import JSON
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

/// The rows of protocol/failure.md, "Invalid verdicts": what a session does with each.
@Suite struct InvalidVerdictTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let violation: ViolationCode
        let hook: Hook
        /// What the worker writes after `id`.
        let members: String
        var type = "verdict"

        init(_ violation: ViolationCode, _ members: String, at hook: Hook = .data_post) {
            self.violation = violation
            self.hook = hook
            self.members = members
        }

        static func actions(
            _ violation: ViolationCode,
            _ actions: String,
            at hook: Hook = .data_post
        ) -> Self {
            Self(violation, #""verdict":"declined","actions":[\#(actions)]"#, at: hook)
        }

        static func reply(
            _ violation: ViolationCode,
            _ reply: String,
            _ verdict: Verdict = .deny
        ) -> Self {
            Self(violation, #""verdict":"\#(verdict)","reply":{\#(reply)}"#)
        }

        var testDescription: String { "\(self.violation): \(self.members.prefix(80))" }
    }

    static let rows: [Row] = [
        Self.form, Self.replies, Self.notes, Self.actions, Self.paths, Self.names, Self.values,
        Self.headers, Self.envelope, Self.challenges,
    ].flatMap(\.self)

    private static let form: [Row] = {
        var error = Row(.error_malformed, #""code":"No Word""#)
        error.type = "error"
        return [
            Row(.unknown_verdict, #""verdict":"OK""#), Row(.unknown_verdict, #""plugin":"p""#),
            Row(.plugin_malformed, #""verdict":"ok","plugin":7"#),
            Row(.plugin_malformed, #""verdict":"ok","plugin":"\#(Self.text("p", 129))""#),
            Row(
                .trace_malformed,
                #""verdict":"ok","trace":[{"plugin":"p","verdict":"no","us":1}]"#
            ),
            Row(.trace_malformed, #""verdict":"ok","trace":{}"#),
            Row(.hook_not_reached, #""verdict":"ok","hook":"nowhere""#),
            Row(.hook_not_reached, #""verdict":"ok","hook":"queue""#),
            Row(.hook_not_reached, #""verdict":"ok","hook":"mail""#),
            Row(.verdict_not_allowed, #""verdict":"deny""#, at: .queue_pre),
            Row(
                .verdict_not_allowed,
                #""verdict":"done","reply":{"code":250,"text":["x"]}"#,
                at: .rcpt
            ),
            error,
        ]
    }()

    private static let replies: [Row] = [
        .reply(.reply_malformed, #""code":"550""#), .reply(.reply_malformed, #""code":5.5"#),
        .reply(.reply_malformed, #""status":5"#), .reply(.reply_malformed, #""text":"no""#),
        .reply(.reply_malformed, #""text":[1]"#),
        Row(.reply_missing, #""verdict":"done""#),
        .reply(.reply_missing, #""code":250"#, .done),
        .reply(.reply_missing, #""text":["x"]"#, .done),
        Row(.reply_missing, #""verdict":"ok""#, at: .received_line),
        .reply(.reply_not_allowed, #""text":["x"]"#, .ok),
        .reply(.reply_not_allowed, #""text":["x"]"#, .declined),
        .reply(.reply_code, #""code":99"#), .reply(.reply_code, #""code":600"#),
        .reply(.reply_code, #""code":354"#), .reply(.reply_code, #""code":450"#),
        .reply(.reply_code, #""code":550"#, .denysoft),
        .reply(.reply_code, #""code":421"#, .denysoft),
        .reply(.reply_code, #""code":560"#),
        .reply(.reply_status, #""status":"5.7""#), .reply(.reply_status, #""status":"9.1.1""#),
        .reply(.reply_status, #""status":"5.7.9999""#), .reply(.reply_status, #""status":"4.7.1""#),
        .reply(.reply_status, #""status":"5.07.1""#),
        .reply(.reply_status, #""code":550,"status":"4.7.1""#),
        .reply(.reply_text, #""text":[]"#), .reply(.reply_text, #""text":["a\nb"]"#),
        .reply(.reply_text, #""text":["\u0000"]"#), .reply(.reply_text, #""text":["\u001B["]"#),
        .reply(.reply_text, #""text":["\u0085"]"#), .reply(.reply_text, #""text":["\u2028"]"#),
        .reply(.reply_text, #""text":["é"]"#),
        .reply(.reply_text, #""text":["\#(Self.text("x", 501))"]"#),
        .reply(.reply_text, #""text":["\#(Self.text(#"",""#, 20))"]"#),
    ]

    private static let notes: [Row] = [
        Row(.notes_malformed, #""verdict":"declined","notes":[]"#),
        Row(.notes_malformed, #""verdict":"declined","notes":{"session":1}"#),
        Row(.notes_malformed, #""verdict":"declined","notes":{"transaction":null}"#),
        Row(.notes_no_transaction, #""verdict":"ok","notes":{"transaction":{"a":1}}"#, at: .ehlo),
        Row(
            .notes_too_large,
            #""verdict":"ok","notes":{"session":{"a":"\#(Self.text("x", 65_536))"}}"#
        ),
    ]

    private static let actions: [Row] = [
        Row(.actions_malformed, #""verdict":"declined","actions":{}"#),
        .actions(.actions_malformed, "7"), .actions(.actions_malformed, #"{"name":"A"}"#),
        .actions(.actions_malformed, #"{"op":"header.add","name":"A"}"#),
        .actions(.actions_malformed, #"{"op":"header.add","name":"A","value":"b","at":"middle"}"#),
        .actions(.actions_malformed, #"{"op":"header.delete","id":"1"}"#),
        .actions(.actions_malformed, #"{"op":"reply.delay","ms":-1}"#, at: .mail),
        .actions(
            .too_many_actions,
            [String](repeating: #"{"op":"header.delete_all","name":"Z"}"#, count: 257)
                .joined(separator: ",")
        ),
        .actions(.unknown_action, #"{"op":"header.rename"}"#),
        .actions(.action_not_allowed, #"{"op":"header.add","name":"A","value":"b"}"#, at: .data),
        .actions(.action_not_allowed, #"{"op":"session.relay","value":true}"#),
        .actions(.action_not_allowed, #"{"op":"message.replace","path":"f"}"#, at: .queue_pre),
        .actions(.value_invalid, #"{"op":"session.client_name","value":"a b"}"#, at: .connect),
        .actions(.value_invalid, #"{"op":"session.client_name","value":""}"#, at: .connect),
    ]

    private static let paths: [Row] = [
        "", ".", "..", "/etc/passwd", "a/b", Self.text("x", 256),
    ].map { path in
        .actions(.path_invalid, #"{"op":"message.replace","path":"\#(path)"}"#)
    }

    private static let names: [Row] = [
        "", "A:", "A B", #"A\r\n"#, "Ä", Self.text("x", 256),
    ].map { name in .actions(.header_name, #"{"op":"header.delete_all","name":"\#(name)"}"#) }

    private static let values: [Row] = [
        #"a\rb"#, #"a\nb"#, #"\u0000"#, #"a\r\n\r\n b"#, #"a\r\n \r\n b"#, #"a\r\n "#, #"a\r\nb"#,
        Self.text("x", 998), Self.text(#"x\r\n "#, 20_000), "é",
    ].map { value in
        .actions(.header_value, #"{"op":"header.add","name":"A","value":"\#(value)"}"#)
    }

    private static let headers: [Row] = [
        .actions(.unknown_header, #"{"op":"header.set","id":99,"value":"b"}"#),
        .actions(.unknown_header, #"{"op":"header.delete","id":0}"#),
    ]

    private static let envelope: [Row] = [
        .actions(.address_invalid, #"{"op":"recipient.add","address":"no address"}"#),
        .actions(.address_invalid, #"{"op":"recipient.replace","id":1,"address":"ö@b"}"#),
        .actions(.address_invalid, #"{"op":"sender.replace","address":"a@"}"#),
        .actions(.unknown_recipient, #"{"op":"recipient.remove","id":99}"#),
        .actions(.unknown_recipient, #"{"op":"recipient.replace","id":0,"address":"a@b"}"#),
        .actions(.unknown_recipient, #"{"op":"recipient.remove","id":1}"#, at: .rcpt),
        .actions(.no_recipients, #"{"op":"recipient.remove","id":1}"#),
        .actions(
            .too_many_recipients,
            (0..<3).map { #"{"op":"recipient.add","address":"r\#($0)@b"}"# }
                .joined(separator: ",")
        ),
    ]

    private static let challenges: [Row] = {
        func row(
            _ violation: ViolationCode,
            _ verdict: String,
            _ actions: String...
        ) -> Row {
            let actions = actions.map { #"{"op":"auth.challenge",\#($0)}"# }.joined(separator: ",")
            return Row(violation, #""verdict":"\#(verdict)","actions":[\#(actions)]"#, at: .auth)
        }
        let good = #""challenge":"c","state":"s""#
        return [
            Row(.challenge_missing, #""verdict":"done""#, at: .auth),
            row(.challenge_not_allowed, "ok", good),
            row(.challenge_not_allowed, "declined", good),
            row(.challenge_not_allowed, "deny", good),
            row(.challenge_not_allowed, "done", good, good),
            row(
                .challenge_too_large,
                "done",
                #""challenge":"\#(Self.text("x", 8_193))","state":"""#
            ),
            row(
                .challenge_too_large,
                "done",
                #""challenge":"","state":"\#(Self.text("x", 4_097))""#
            ),
            row(.actions_malformed, "done", #""challenge":"c""#),
            row(.actions_malformed, "done", #""state":"s""#),
            row(.actions_malformed, "done", #""challenge":1,"state":"s""#),
            .actions(.action_not_allowed, #"{"op":"auth.challenge",\#(good)}"#, at: .mail),
        ]
    }()

    private static func text(_ unit: String, _ count: Int) -> String {
        String(repeating: unit, count: count)
    }

    private static let smtp: SMTPConfiguration = {
        var limits = SMTPLimits()
        limits.maximumRecipients = 3
        return SMTPConfiguration(
            hostname: Array("mx".utf8),
            limits: limits,
            mechanisms: [.scramSHA256],
            offersAuthInClear: true
        )
    }()

    @Test func `every row of the document is here`() throws {
        let document = try ProtocolDocument("failure.md")
        let section = try #require(document.sections.first { $0.heading == "Invalid verdicts" })
        let documented = section.text.split(separator: "|").compactMap { cell -> String? in
            let word = cell.trimmingSpaces
            guard word.hasPrefix("`"), word.hasSuffix("`") else { return nil }
            return ViolationCode(rawValue: String(word.dropFirst().dropLast()))?.rawValue
        }
        #expect(documented.count == 32)
        // A file that is refused is looked at later: the test below this one.
        #expect(Set(documented) == Set(Self.rows.map(\.violation.rawValue) + ["file_refused"]))
    }

    @Test(arguments: Self.rows)
    func `nothing of it is applied, and the failure policy decides`(row: Row) throws {
        let needs: Needs = [.headers, .recipients]
        for policy in FailurePolicy.allCases {
            let play = RulePlay.at(
                row.hook,
                saying: row.hook == .auth
                    ? ["EHLO c", "AUTH SCRAM-SHA-256 biwsbj1hLHI9Yg=="] : RulePlay.lines,
                needs: needs,
                smtp: Self.smtp,
                onFailure: policy
            )
            let before = try play.question(needs)
            #expect(try self.violation(row, play) == row.violation)
            #expect(try play.question(needs) == before)
            play.poolDone(.failed(reason: "invalid_verdict", worker: nil))
            let hasSkipped = play.performed.contains(
                .skipped(pool: 0, hook: row.hook, reason: "invalid_verdict")
            )
            #expect(hasSkipped == (policy == .skip))
        }
    }

    private func violation(_ row: Row, _ play: PlayedSession) throws -> ViolationCode? {
        let line = Array(#"{"type":"\#(row.type)","id":1,\#(row.members)}"#.utf8)
        switch try WorkerMessage.decode(line) {
        case .verdict(_, .success(let verdict)): return play.answer(verdict)?.code
        case .verdict(_, .failure(let violation)): return violation.code
        default: return nil
        }
    }

    /// The last value that is taken, where the rows above have the first that is not.
    @Test(arguments: [
        #"{"op":"header.add","name":"\#(text("x", 255))","value":"b"}"#,
        #"{"op":"header.add","name":"A","value":"\#(text("x", 995))"}"#,
        #"{"op":"header.add","name":"A","value":" a\r\n b\r\n\tc"}"#,
        #"{"op":"recipient.add","address":"r@b"},{"op":"recipient.add","address":"s@b"}"#,
        #"{"op":"message.replace","path":"\#(text("x", 255))"}"#,
    ])
    func `what is at its limit is valid`(actions: String) throws {
        let play = RulePlay.at(.data_post, smtp: Self.smtp)
        #expect(try play.decline(actions) == nil)
    }

    @Test(arguments: FailurePolicy.allCases)
    func `a file that is refused makes the verdict invalid`(policy: FailurePolicy) throws {
        let play = RulePlay.at(.data_post, needs: .headers, onFailure: policy)
        let before = try play.question(.headers)["transaction"]
        let actions = #""actions":[{"op":"message.replace","path":"f"}]"#
        try play.verdict(#""verdict":"ok","notes":{"session":{"a":1}},\#(actions)"#)
        #expect(!play.replaced(.refused("notPlainFile")))
        #expect(play.notes.starts(with: #"{"session":{}"#.utf8))
        if policy == .skip {
            #expect(play.openHook == .queue_pre)
            #expect(try play.question(.headers)["transaction"] == before)
        } else {
            #expect(play.lastCode == (policy == .tempfail ? 451 : 554))
        }
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}

/// What protocol/failure.md says of a session; its rows about workers and sockets are those of
/// PoolMachineTests and of Tests/Hostile.
@Suite struct FailureRuleTests {
    @Test(arguments: FailureRules.all) func `a failure ends as it says`(rule: ProtocolRule) throws {
        try rule.check()
    }
}

enum FailureRules {
    private static func failed(_ hook: Hook, _ policy: FailurePolicy) -> String {
        let lines = hook.isCommand ? ["\(hook.rawValue.uppercased())"] : RulePlay.lines
        let play = RulePlay.at(hook, saying: lines, onFailure: policy)
        play.poolDone(.failed(reason: "worker_lost", worker: nil))
        return String(play.lastWire.prefix(9))
    }

    static var all: [ProtocolRule] {
        [
            ProtocolRule("the failure policy of that pool and hook") {
                let rows: [(Hook, tempfail: String, reject: String)] = [
                    (.connect, "421 4.3.0", "554 5.3.0"), (.mail, "451 4.3.0", "554 5.3.0"),
                    (.rcpt, "451 4.3.0", "554 5.3.0"), (.data_post, "451 4.3.0", "554 5.3.0"),
                    (.queue, "451 4.3.0", "554 5.3.0"),
                ]
                for (hook, tempfail, reject) in rows {
                    #expect(Self.failed(hook, .tempfail) == tempfail)
                    #expect(Self.failed(hook, .reject) == reject)
                }
            },
            ProtocolRule("`skip` as if declined") {
                #expect(Self.failed(.mail, .skip) == "250 2.1.0")
                #expect(Self.failed(.rcpt, .skip) == "450 4.7.1")
                #expect(Self.failed(.queue, .skip) == "451 4.3.0")
            },
            ProtocolRule("`help`, `noop` and `quit` are answered as usual, whatever the policy is")
            {
                for policy in FailurePolicy.allCases {
                    #expect(Self.failed(.help, policy) == "214-2.0.0")
                    #expect(Self.failed(.noop, policy) == "250 2.0.0")
                    #expect(Self.failed(.quit, policy) == "221 2.0.0")
                }
            },
            ProtocolRule("452 4.3.1 (no space) or 451 4.3.0") {
                for policy in FailurePolicy.allCases {
                    for (isDiskFull, wire) in [(true, "452 4.3.1"), (false, "451 4.3.0")] {
                        let play = RulePlay.at(
                            .data_headers_end,
                            needs: .message,
                            onFailure: policy
                        )
                        play.answer(.declined)
                        play.send("x", ".")
                        play.stored(SpoolFailure(isDiskFull: isDiskFull, description: "write"))
                        #expect(play.lastWire.hasPrefix(wire) && play.isIdle)
                    }
                }
            },
            ProtocolRule("cannot take over a replacement for reasons of its own") {
                for policy in FailurePolicy.allCases {
                    let play = RulePlay.at(.data_post, onFailure: policy)
                    try play.decline(#"{"op":"message.replace","path":"f"}"#)
                    play.replaced(.failed(SpoolFailure(isDiskFull: true, description: "copy")))
                    #expect(play.lastWire.hasPrefix("452 4.3.1"))
                }
            },
            ProtocolRule("one that the event did not name as ahead, one that lies behind") {
                let pools = PlayedPools()
                pools.register(asked: [.rcpt, .data_post, .queue_pre, .queue], goesAhead: true)
                let play = pools.session(RulePlay.smtp)
                play.connect()
                for line in RulePlay.lines { play.say(line, until: .data_post) }
                #expect(play.event() != nil)
                for hook in ["data_post_headers", "rcpt", "queue"] {
                    let code = try play.verdict(#""verdict":"ok","hook":"\#(hook)""#)
                    #expect(code == .hook_not_reached)
                }
                #expect(play.goAhead(to: .queue))
                #expect(
                    try play.verdict(#""verdict":"ok","hook":"queue_pre""#) == .hook_not_reached
                )
                #expect(try play.verdict(#""verdict":"ok","hook":"queue""#) == nil)
                #expect(play.lastCode == 250)
            },
            ProtocolRule("`headers` and `recipients` left out") {
                let needs: Needs = [.headers, .recipients]
                let play = RulePlay.at(.data_post, needs: needs)
                let elided = #","elided":["headers","recipients"]"#.utf8.count
                let least = try #require(play.event()).count + elided
                #expect(play.event(needs: needs, maximumOctets: least) != nil)
                #expect(play.event(needs: needs, maximumOctets: least - elided - 1) == nil)
            },
            ProtocolRule("421 4.3.2 to what still runs, `cancel` to workers") {
                let play = RulePlay.at(.mail)
                play.shutDown()
                #expect(play.lastWire.hasPrefix("421 4.3.2") && play.isOver)
                #expect(play.performed.contains(.cancel(pool: 0)))
            },
            ProtocolRule("the questions about a complete message go on to their end") {
                for hook in [Hook.mail, .rcpt, .data] {
                    let play = RulePlay.at(hook)
                    play.leave()
                    #expect(play.isOver && play.performed.contains(.cancel(pool: 0)))
                }
                for hook in [Hook.received_line, .data_post, .queue] {
                    let play = RulePlay.at(hook)
                    play.leave()
                    #expect(play.openHook == hook)
                    play.grant()
                    #expect(play.isOver && play.performed.contains(.submit(pool: 0, hook: .queue)))
                }
            },
        ]
    }
}

extension Hook {
    fileprivate var isCommand: Bool { [.help, .noop, .quit].contains(self) }
}
