import JSON
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

/// What protocol/events.md says hook by hook.
extension EventRules {
    // MARK: - Commands

    static var dialogue: [ProtocolRule] {
        [
            ProtocolRule("A refusal here is the greeting.") {
                let play = RulePlay.at(.connect)
                play.answer(.deny)
                #expect(play.replies.map(\.code.rawValue) == [554] && play.isOver)
            },
            ProtocolRule("A second HELO or EHLO is asked again, and ends the transaction.") {
                () throws in
                for (line, hook) in [("HELO c", Hook.helo), ("EHLO c", .ehlo)] {
                    let play = RulePlay.at(.rcpt)
                    play.answer(.ok)
                    play.send(line)
                    #expect(play.openHook == hook)
                    play.answer(.declined)
                    let ends = try play.notices(.reset_transaction)
                    #expect(ends.map { $0["args"]?["reason"] } == [.string("hello")])
                }
            },
            ProtocolRule("No verdict changes the keywords of EHLO.") {
                let (usual, worded) = (RulePlay.at(.ehlo), RulePlay.at(.ehlo))
                usual.answer(.declined)
                try worded.verdict(#""verdict":"ok","reply":{"text":["hi","SIZE 1"]}"#)
                func keywords(_ play: PlayedSession) -> [Substring] {
                    Array(play.lastWire.split(separator: "\r\n").dropFirst())
                }
                #expect(keywords(worded) == keywords(usual) && !keywords(usual).isEmpty)
            },
            ProtocolRule("Only pools that the operator trusts with passwords (`secrets`)") {
                let pools = PlayedPools(["trusted", "other"])
                pools.profiles[1].receivesSecrets = false
                for pool in [0, 1] { pools.register(pool, asked: [.auth]) }
                let play = pools.session(.offeringAuth, route: [1, 0])
                play.connect()
                play.send("EHLO c", "AUTH PLAIN AGEAYg==")
                #expect(play.wait == .pool(1, .auth))
                play.answer(.declined)
                #expect(play.lastWire.hasPrefix("535 5.7.8 ") && play.submissions == 1)
                let alone = pools.session(.offeringAuth, route: [1])
                alone.connect()
                alone.send("EHLO c", "AUTH PLAIN AGEAYg==")
                #expect(alone.submissions == 0 && alone.lastCode == 535)
            },
            ProtocolRule("stand in the event to the worker that is\nasked, and nowhere else") {
                () throws in
                for (lines, words) in [
                    (["AUTH PLAIN AGpvAHNlc2FtZQ=="], ["password", "sesame"]),
                    (["AUTH LOGIN am8=", "c2VzYW1l"], ["password", "sesame"]),
                    (
                        ["AUTH CRAM-MD5", "am8gMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="],
                        ["challenge", "<.1@mx>", "response", "0123456789abcdef"]
                    ),
                    (["AUTH SCRAM-SHA-256 biwsbj1qbyxyPWI="], ["response", "n,,n=jo,r=b"]),
                ] {
                    let play = RulePlay.session(smtp: .offeringAuth)
                    play.grant()
                    play.say("EHLO c")
                    for line in lines { play.send(line) }
                    #expect(play.openHook == .auth)
                    func text(_ line: [UInt8]?) -> String {
                        String(decoding: line ?? [], as: UTF8.self)
                    }
                    let kept = text(play.event(isAsked: false))
                    let asked = text(play.event())
                    #expect(kept.contains(#""user":"jo""#))
                    play.answer(.deny)
                    let told = play.told.map { text($0.line) }.joined()
                    #expect(told.contains(#""user":"jo""#))
                    for word in words {
                        #expect(asked.contains(word))
                        #expect(!kept.contains(word) && !told.contains(word))
                    }
                }
            },
            ProtocolRule("the pool that gave the challenge is asked alone\nabout the answer to it")
            {
                () throws in
                let play = RulePlay.session(["one", "two", "three"], smtp: .offeringAuth)
                play.grant()
                play.say("EHLO c")
                play.send("AUTH SCRAM-SHA-256 biwsbj1qbyxyPWI=")
                let first = try play.question()
                #expect(first["args"]?["step"] == .int(1) && first["args"]?["state"] == nil)
                play.answer(.declined)
                #expect(play.wait == .pool(1, .auth))
                let toldBefore = play.told.count
                let challenge = #""verdict":"done","actions":[{"op":"auth.challenge","#
                #expect(try play.verdict(challenge + #""challenge":"ch","state":"st"}]"#) == nil)
                #expect(play.lastWire == "334 Y2g=\r\n" && play.told.count == toldBefore)
                play.send("eA==")
                #expect(play.wait == .pool(1, .auth))
                #expect(
                    try play.question()["args"]
                        == JSONValue(
                            text: #"{"mechanism":"SCRAM-SHA-256","user":"jo","step":2,"#
                                + #""response":"x","state":"st"}"#
                        )
                )
                let kept = String(decoding: play.event(isAsked: false) ?? [], as: UTF8.self)
                #expect(!kept.contains("state\"") && !kept.contains("response"))
                play.answer(.declined)
                #expect(play.lastWire.hasPrefix("535 5.7.8 ") && play.wait == .client)
                // Another login begins with the first pool, and without a state.
                play.send("AUTH SCRAM-SHA-256 biwsbj1qbyxyPWI=")
                #expect(play.wait == .pool(0, .auth))
                #expect(try play.question()["args"]?["state"] == nil)
            },
            ProtocolRule("A login has eight messages of the client's at most.") { () throws in
                let play = RulePlay.session(smtp: .offeringAuth)
                play.grant()
                play.say("EHLO c")
                play.send("AUTH SCRAM-SHA-256 biwsbj1qbyxyPWI=")
                let members = #""verdict":"done","actions":[{"op":"auth.challenge","challenge":"","#
                for step in 1..<8 {
                    #expect(try play.question()["args"]?["step"] == .int(Int64(step)))
                    #expect(try play.verdict(members + #""state":"\#(step)"}]"#) == nil)
                    play.send("")
                }
                #expect(try play.question()["args"]?["state"] == .string("7"))
                #expect(
                    try play.verdict(members + #""state":"8"}]"#) == .challenge_not_allowed
                )
                play.answer(.ok)
                #expect(play.lastWire.hasPrefix("235 "))
                play.send("MAIL FROM:<a@b>")
                #expect(
                    try play.question()["session"]?["auth"]
                        == JSONValue(text: #"{"mechanism":"SCRAM-SHA-256","user":"jo"}"#)
                )
            },
            ProtocolRule("The client ends it with `*`: 501, and no\nworker is asked.") {
                () throws in
                let play = RulePlay.session(smtp: .offeringAuth)
                play.grant()
                play.say("EHLO c")
                play.send("AUTH SCRAM-SHA-256 biwsbj1qbyxyPWI=")
                let submissions = play.submissions
                try play.verdict(
                    #""verdict":"done","actions":[{"op":"auth.challenge","challenge":"","state":""}]"#
                )
                play.send("*")
                #expect(play.lastCode == 501 && play.submissions == submissions)
                // A mechanism of one step has no challenge.
                play.send("AUTH PLAIN AGEAYg==")
                let code = try play.verdict(
                    #""verdict":"done","actions":[{"op":"auth.challenge","challenge":"","state":""}]"#
                )
                #expect(code == .challenge_not_allowed)
            },
            ProtocolRule("`ok` makes the session a relay client, and sets `session.auth`.") {
                () throws in
                let play = RulePlay.at(
                    .auth,
                    saying: ["EHLO c", "AUTH PLAIN AGpvAHNlc2FtZQ=="],
                    smtp: .offeringAuth
                )
                #expect(try play.question()["session"]?["auth"] == .null)
                play.answer(.ok)
                #expect(play.lastWire.hasPrefix("235 2.7.0 "))
                play.send("MAIL FROM:<a@b>")
                let session = try play.question()["session"]
                #expect(session?["relay"] == .bool(true))
                #expect(
                    try session?["auth"]
                        == JSONValue(text: #"{"mechanism":"PLAIN","user":"jo"}"#)
                )
            },
            ProtocolRule("held back for the time that the operator set") {
                let pools = PlayedPools()
                pools.register(asked: [.auth])
                for verdict in [Verdict.ok, .deny, .declined] {
                    let play = pools.session(.offeringAuth, failedLoginDelayMS: 700)
                    play.connect()
                    play.send("EHLO c", "AUTH PLAIN AGEAYg==")
                    play.answer(verdict)
                    #expect(play.wait == (verdict == .ok ? .client : .delay(700)))
                    play.delayPassed()
                    #expect(play.lastCode == (verdict == .ok ? 235 : 535))
                }
            },
            ProtocolRule("Absent while both are 0") { () throws in
                for (history, failed) in [
                    (LoginHistory(), nil),
                    (LoginHistory(ofAddress: 3, ofUser: 7), #"{"address":3,"user":7}"#),
                    (LoginHistory(ofUser: 1), #"{"address":0,"user":1}"#),
                ] as [(LoginHistory, String?)] {
                    let play = RulePlay.session(smtp: .offeringAuth)
                    play.grant()
                    play.say("EHLO c")
                    play.logins = history
                    play.send("AUTH PLAIN AGpvAHNlc2FtZQ==")
                    let expected = try failed.map { try JSONValue(text: $0) }
                    #expect(try play.question()["args"]?["failed"] == expected)
                    #expect(try play.question()["args"]?["password"] == .string("sesame"))
                    let kept = String(decoding: play.event(isAsked: false) ?? [], as: UTF8.self)
                    #expect(kept.contains(#""failed":"#) == (failed != nil))
                }
            },
            ProtocolRule("is more than the operator allows is refused\nwithout a question.") {
                for (excess, code) in [(.address, 421), (.user, 454)]
                    as [(LoginHistory.Excess, UInt16)]
                {
                    let play = RulePlay.session(smtp: .offeringAuth)
                    play.grant()
                    play.say("EHLO c")
                    let asked = play.submissions
                    play.logins = LoginHistory(ofAddress: 3, ofUser: 7, excess: excess)
                    play.send("AUTH PLAIN AGpvAHNlc2FtZQ==")
                    #expect(play.lastCode == code)
                    #expect(play.submissions == asked)
                }
            },
            ProtocolRule("absent while there is none") { () throws in
                let play = RulePlay.at(
                    .auth,
                    saying: ["EHLO c", "AUTH PLAIN AGEAYg=="],
                    smtp: .offeringAuth
                )
                #expect(try play.question()["session"]?["counters"]?["auth_failed"] == nil)
                play.answer(.deny)
                play.send("MAIL FROM:<a@b>")
                #expect(
                    try play.question()["session"]?["counters"]?["auth_failed"] == .int(1)
                )
            },
            ProtocolRule("and again after STARTTLS") { () throws in
                let play = RulePlay.at(
                    .auth,
                    saying: ["EHLO c", "AUTH PLAIN AGEAYg=="],
                    smtp: .offeringAuth
                )
                play.answer(.ok)
                play.encrypted()
                play.send("NOOP")
                let session = try play.question()["session"]
                #expect(session?["auth"] == .null && session?["relay"] == .bool(false))
            },
            ProtocolRule("after a refusal it is gone without a `reset_transaction`") { () throws in
                let play = RulePlay.at(.mail)
                play.answer(.deny)
                play.send("NOOP")
                #expect(try play.question()["transaction"] == nil)
                #expect(try play.notices(.reset_transaction).isEmpty)
            },
            ProtocolRule("It is not in `transaction.recipients` yet") {
                let event = try RulePlay.at(.rcpt, needs: .recipients).question(.recipients)
                #expect(event["transaction"]?["recipients"] == .array([]))
                #expect(event["args"]?["recipient"]?["address"] == .string("c@d"))
            },
            ProtocolRule("and the client gets the reply of that answer") {
                let play = RulePlay.at(.rcpt)
                play.answer(.ok)
                play.send("RCPT TO:<c@D>")
                #expect(play.openHook == .rcpt)
                play.answer(.deny)
                #expect(play.lastCode == 550 && play.envelope == ["1 c@d"])
            },
            ProtocolRule("one recipient, with its first id") {
                let play = RulePlay.at(.rcpt)
                play.answer(.ok)
                play.say("RCPT TO:<c@D>")
                #expect(play.lastCode == 250 && play.envelope == ["1 c@d"])
            },
            ProtocolRule("If all decline, the client gets 450 4.7.1") {
                let play = RulePlay.at(.rcpt)
                play.answer(.declined)
                #expect(play.lastWire.hasPrefix("450 4.7.1 ") && play.envelope.isEmpty)
            },
            ProtocolRule("at least one recipient was granted") {
                let play = RulePlay.at(.rcpt)
                play.answer(.deny)
                play.send("DATA")
                #expect(play.openHook == nil && play.lastCode == 554)
            },
            ProtocolRule("what stands after the verb, without the space between; empty if nothing")
            {
                for (line, hook, argument) in [
                    ("VRFY jo", Hook.vrfy, "jo"), ("HELP", .help, ""), ("NOOP a  b", .noop, "a  b"),
                ] {
                    let args = try RulePlay.at(hook, saying: ["EHLO c", line]).question()["args"]
                    #expect(args == .object(["argument": .string(argument)]))
                }
            },
            ProtocolRule("the first word of the line") {
                let play = RulePlay.at(.unrecognized_command, saying: ["XYZZY a b"])
                let args = try JSONValue(text: #"{"command":"XYZZY","line":"XYZZY a b"}"#)
                #expect(try play.question()["args"] == args)
            },
            ProtocolRule("`session.counters.unrecognized` counts this one.") { () throws in
                let play = RulePlay.at(.unrecognized_command, saying: ["XYZZY"])
                #expect(try play.question()["session"]?["counters"]?["unrecognized"] == .int(1))
            },
            ProtocolRule("gets 221 whatever is answered; only the text can be chosen") {
                for verdict in ["ok", "done"] {
                    let play = RulePlay.at(.quit, saying: ["QUIT"])
                    let reply = #""reply":{"code":221,"text":["bye"]}"#
                    try play.verdict(#""verdict":"\#(verdict)",\#(reply)"#)
                    #expect(play.lastWire == "221 2.0.0 bye\r\n" && play.isOver)
                }
            },
        ]
    }

    // MARK: - The message

    static var complete: [ProtocolRule] {
        [
            ProtocolRule("The header section has come, the body has not.") { () throws in
                let play = RulePlay.at(.data_headers_end, needs: .headers)
                #expect(try play.fields() == ["A: b"])
                #expect(play.replies.last?.code.rawValue == 354)
            },
            ProtocolRule("the lines are joined with CRLF and a TAB") {
                let play = RulePlay.at(.received_line, needs: .headers)
                let value = try play.question()["args"]?["value"].text ?? ""
                #expect(value.hasPrefix(" from c ([192.0.2.1])\r\n\tby mx with ESMTP id S.1"))
                try play.verdict(#""verdict":"ok","reply":{"text":["from here","by me"]}"#)
                #expect(try play.fields() == ["Received: from here\r\n\tby me", "A: b"])
            },
            ProtocolRule("All is here; the place to edit headers before the plugins that judge.") {
                let play = RulePlay.at(.data_post_headers, needs: .headers)
                #expect(play.isMessageComplete)
                try play.decline(#"{"op":"header.add","name":"X","value":"y"}"#)
                #expect(play.openHook == .data_post)
                #expect(try play.fields().first == "X: y")
            },
            ProtocolRule("The message as a whole: scanners live here.") {
                let needs: Needs = [.headers, .message, .recipients]
                let event = try RulePlay.at(.data_post, needs: needs).question(needs)
                for part in ["headers", "message", "recipients"] {
                    #expect(event["transaction"]?[part] != nil)
                }
            },
            ProtocolRule("`done` answers the client without queueing.") {
                let play = RulePlay.at(.queue_pre)
                try play.verdict(#""verdict":"done","reply":{"code":250,"text":["dropped"]}"#)
                #expect(play.lastWire == "250 2.0.0 dropped\r\n" && play.isIdle)
            },
            ProtocolRule("the transaction's id") {
                let event = try RulePlay.at(.queue).question()
                #expect(event["args"]?["queue_id"] == .string("S.1"))
            },
            ProtocolRule("Only then does the client get 250.") {
                for (verdict, code) in [
                    (Verdict.ok, UInt16(250)), (.declined, 451), (.denysoft, 451),
                ] {
                    let play = RulePlay.at(.queue)
                    #expect(play.lastCode == 354)
                    play.answer(verdict)
                    #expect(play.lastCode == code)
                }
            },
        ]
    }

    // MARK: - Notifications

    private static func outcome(
        _ hook: Hook,
        saying lines: [String] = RulePlay.lines,
        onFailure: FailurePolicy = .tempfail,
        _ answer: (PlayedSession) throws -> Void
    ) throws -> (told: Hook, args: JSONValue?) {
        let play = RulePlay.at(hook, saying: lines, needs: .trace, onFailure: onFailure)
        let before = play.told.count
        try answer(play)
        let told = play.told[before...].first { $0.hook == .deny || $0.hook == .ok }
        let line = try #require(told)
        return (line.hook, try JSONValue(parsing: Array(line.line.dropLast()))["args"])
    }

    private static func reason(_ lines: [String], _ end: (PlayedSession) -> Void) throws -> [String]
    {
        let play = RulePlay.session()
        for line in lines { play.say(line) }
        end(play)
        return try play.notices(.disconnect).map { $0["args"]?["reason"].text ?? "" }
    }

    static var notifications: [ProtocolRule] {
        [
            ProtocolRule("Once for every transaction that was granted at `mail`, on every way out")
            {
                let begun = Array(RulePlay.lines.prefix(3))
                let whole = RulePlay.lines
                let rows: [(lines: [String], reason: String)] = [
                    (begun + ["RSET"], "rset"), (begun + ["EHLO d"], "hello"), (whole, "done"),
                    (begun + ["QUIT"], "disconnect"),
                ]
                for row in rows {
                    let play = RulePlay.session()
                    for line in row.lines { play.say(line) }
                    let ends = try play.notices(.reset_transaction)
                    #expect(ends.map { $0["args"]?["reason"].text } == [row.reason])
                    let transaction = ends.first?["transaction"]
                    #expect(transaction?["sender"]?["address"] == .string("a@b"))
                    #expect(transaction?["recipient_count"] == .int(1))
                }
                // MAIL was not answered yet: there is no transaction to end.
                let left = RulePlay.at(.mail)
                left.leave()
                #expect(left.isOver)
                #expect(try left.notices(.reset_transaction).isEmpty)
                let stopped = RulePlay.at(.mail)
                stopped.shutDown()
                #expect(try stopped.notices(.reset_transaction).isEmpty)
            },
            ProtocolRule(
                "After the 250 of a message that was queued, with the finished transaction"
            ) {
                let play = RulePlay.session()
                for line in RulePlay.lines { play.say(line) }
                let told = play.told.map(\.hook)
                #expect(told.suffix(3) == [.ok, .queue_post, .reset_transaction])
                let posted = try #require(try play.notices(.queue_post).first)
                let reply = #"{"code":250,"status":"2.0.0","text":["Queued as S.1"]}"#
                #expect(try posted["args"]?["reply"] == JSONValue(text: reply))
                #expect(posted["args"]?["queue_id"] == .string("S.1"))
                #expect(posted["transaction"]?["recipient_count"] == .int(1))
                // A message that `done` answered 250 was not queued.
                for hook in [Hook.data_post, .queue_pre] {
                    let play = RulePlay.at(hook)
                    try play.verdict(#""verdict":"done","reply":{"code":250,"text":["dropped"]}"#)
                    #expect(play.lastCode == 250)
                    #expect(try play.notices(.queue_post).isEmpty)
                    #expect(try play.notices(.reset_transaction).count == 1)
                }
            },
            ProtocolRule("the `args` that an event of that hook has") {
                let denied = try Self.outcome(.rcpt) { $0.answer(.deny) }
                #expect(denied.args?["hook"] == .string("rcpt"))
                #expect(denied.args?["args"]?["recipient"]?["address"] == .string("c@d"))
            },
            ProtocolRule("of the plugin that decided, or `declined` when all did") {
                for verdict in [Verdict.ok, .deny, .denysoft] {
                    let outcome = try Self.outcome(.rcpt) {
                        try $0.verdict(#""verdict":"\#(verdict)","plugin":"p""#)
                    }
                    #expect(outcome.told == (verdict == .ok ? .ok : .deny))
                    #expect(outcome.args?["verdict"] == .string(verdict.rawValue))
                    #expect(outcome.args?["plugin"] == .string("p"))
                    #expect(outcome.args?["worker"] == .string("w"))
                    #expect(outcome.args?["pool"] == .string("default"))
                }
                for (hook, told) in [(Hook.mail, Hook.ok), (.rcpt, .deny), (.queue, .deny)] {
                    let outcome = try Self.outcome(hook) { $0.answer(.declined) }
                    #expect(outcome.told == told)
                    #expect(outcome.args?["verdict"] == .string("declined"))
                    for member in ["plugin", "worker", "pool", "failure"] {
                        #expect(outcome.args?[member] == .null)
                    }
                }
            },
            ProtocolRule("what the failure policy amounts to (`denysoft`, `declined`, `deny`)") {
                let rows: [(policy: FailurePolicy, told: Hook, verdict: String)] = [
                    (.tempfail, .deny, "denysoft"), (.skip, .ok, "declined"),
                    (.reject, .deny, "deny"),
                ]
                for row in rows {
                    let outcome = try Self.outcome(.mail, onFailure: row.policy) {
                        $0.poolDone(.failed(reason: "deadline", worker: nil))
                    }
                    #expect(outcome.told == row.told)
                    #expect(outcome.args?["verdict"] == .string(row.verdict))
                    let failure: JSONValue = row.policy == .skip ? .null : .string("deadline")
                    #expect(outcome.args?["failure"] == failure)
                }
                // NOOP is answered 250 whatever the policy is.
                let outcome = try Self.outcome(.noop, saying: ["NOOP"], onFailure: .reject) {
                    $0.poolDone(.failed(reason: "deadline", worker: nil))
                }
                #expect(outcome.told == .ok && outcome.args?["verdict"] == .string("declined"))
            },
            ProtocolRule("why the failure policy decided") {
                // A message that the frontend's disk lost is refused without that policy.
                let play = RulePlay.at(.data_headers_end, needs: .message)
                play.answer(.declined)
                play.send("x", ".")
                play.stored(SpoolFailure(isDiskFull: true, description: "write: no space"))
                let denied = try #require(try play.notices(.deny).last)["args"]
                #expect(denied?["failure"] == .null && denied?["verdict"] == .string("denysoft"))
                #expect(denied?["reply"]?["code"] == .int(452))
            },
            ProtocolRule("null where SMTP has no reply (`data_headers_end`, …)") {
                for hook in [Hook.data_headers_end, .received_line, .data_post, .queue_pre] {
                    let outcome = try Self.outcome(hook) { $0.answer(.declined) }
                    #expect(outcome.told == .ok && outcome.args?["reply"] == .null)
                }
                let outcome = try Self.outcome(.queue) { $0.answer(.deny) }
                #expect(outcome.args?["reply"]?["code"] == .int(554))
            },
            ProtocolRule("every plugin's answer to this question") {
                let outcome = try Self.outcome(.rcpt) { $0.answer(.ok) }
                let hooks = outcome.args?["trace"]?.list.map { $0["hook"].text }
                #expect(hooks == ["rcpt"])
            },
            ProtocolRule("(a verdict closed it)") {
                #expect(try Self.reason(["QUIT"]) { _ in } == ["quit"])
                #expect(try Self.reason(["EHLO c"]) { $0.leave() } == ["client_gone"])
                #expect(try Self.reason(["EHLO c"]) { $0.shutDown() } == ["shutdown"])
                let refused = try Self.reason([]) {
                    $0.send("EHLO c")
                    $0.answer(.deny_disconnect)
                }
                #expect(refused == ["refused"])
            },
            ProtocolRule("`error` (too many errors, a limit)") { () throws in
                let wrong = [String](repeating: "RCPT", count: 50)
                #expect(try Self.reason(wrong) { _ in } == ["error"])
            },
            ProtocolRule("Exactly once for each session, last of all.") {
                let play = RulePlay.session(needs: .trace)
                for line in RulePlay.lines + ["MAIL FROM:<a@b>", "QUIT"] { play.say(line) }
                play.leave()
                #expect(play.told.filter { $0.hook == .disconnect }.count == 1)
                #expect(play.told.last?.hook == .disconnect)
                let hooks = try play.notices(.disconnect).first?["trace"]?.list.map {
                    $0["hook"].text
                }
                #expect(hooks?.count == 13 && hooks?.last == "quit")
            },
        ]
    }
}
