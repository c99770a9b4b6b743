import JSON
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

/// The rules of protocol/verdicts.md, a row each.
@Suite struct VerdictRuleTests {
    @Test(arguments: VerdictRules.all) func `a verdict does as it says`(rule: ProtocolRule) throws {
        try rule.check()
    }
}

enum VerdictRules {
    static let all: [ProtocolRule] = [
        Self.verdicts, Self.replies, Self.notes, Self.actions, Self.envelope,
    ].flatMap(\.self)

    // MARK: - The verdicts

    private static var verdicts: [ProtocolRule] {
        [
            ProtocolRule("which hook it is about, if not the event's own") {
                let pools = PlayedPools()
                pools.register(asked: [.rcpt, .data_post, .queue_pre, .queue], goesAhead: true)
                let play = pools.session(RulePlay.smtp)
                play.connect()
                for line in RulePlay.lines { play.say(line, until: .data_post) }
                #expect(play.event() != nil)
                let reply = #""reply":{"code":250,"text":["kept"]}"#
                try play.verdict(#""hook":"queue_pre","verdict":"done",\#(reply)"#)
                #expect(play.lastWire == "250 2.0.0 kept\r\n")
            },
            ProtocolRule("nothing to say: the next plugin is asked, then the next pool") {
                let play = RulePlay.session(["one", "two"], asked: [.mail])
                play.send("EHLO c", "MAIL FROM:<a@b>")
                play.answer(.declined)
                #expect(play.wait == .pool(1, .mail))
            },
            ProtocolRule("decided: allowed; no other plugin or pool is asked") {
                for verdict in [
                    Verdict.ok, .deny, .denysoft, .deny_disconnect, .denysoft_disconnect,
                ] {
                    let play = RulePlay.session(["one", "two"], asked: [.mail])
                    play.send("EHLO c", "MAIL FROM:<a@b>")
                    play.answer(verdict)
                    #expect(play.submissions == 1 && !play.isAsking)
                }
            },
            ProtocolRule("the client gets exactly `reply`; nothing else is done") {
                let play = RulePlay.session(["one", "two"], asked: [.vrfy])
                play.send("VRFY a")
                try play.verdict(#""verdict":"done","reply":{"code":252,"text":["a","b"]}"#)
                #expect(play.lastWire == "252-2.0.0 a\r\n252 2.0.0 b\r\n" && play.submissions == 1)
            },
            ProtocolRule("Only `ok` accepts a recipient.") {
                for verdict in [Verdict.ok, .declined, .deny, .denysoft] {
                    let play = RulePlay.at(.rcpt)
                    play.answer(verdict)
                    #expect(play.envelope == (verdict == .ok ? ["1 c@d"] : []))
                }
            },
            ProtocolRule(
                "the reply is sent while the client is still sending; then the connection closes"
            ) {
                let play = RulePlay.at(.data_headers_end)
                play.answer(.deny_disconnect)
                #expect(play.lastCode == 554 && play.isOver && !play.isMessageComplete)
            },
            ProtocolRule("not queued, the reply says what became of the message") {
                for hook in [Hook.data_post, .queue_pre] {
                    let play = RulePlay.at(hook)
                    try play.verdict(#""verdict":"done","reply":{"code":250,"text":["kept"]}"#)
                    #expect(play.lastWire == "250 2.0.0 kept\r\n" && play.isIdle)
                    #expect(!play.performed.contains(.submit(pool: 0, hook: .queue)))
                }
            },
        ]
    }

    // MARK: - Replies

    /// The codes that a reply of `verdict` may have at `hook`.
    private static func codes(_ verdict: Verdict, at hook: Hook) -> [Int] {
        let lines = ["EHLO c", hook == .vrfy ? "VRFY a" : "MAIL FROM:<a@b>"]
        return (100..<700).filter { code in
            var answer = PolicyVerdict(id: 1, verdict: verdict)
            answer.reply = PolicyReply(code: code, text: ["x"])
            let violation = RulePlay.at(hook, saying: lines, asked: [hook]).judge(answer)
            return violation?.code != .reply_code
        }
    }

    /// The reply at VRFY to `deny` with these members.
    private static func reply(_ members: String) throws -> String {
        let play = RulePlay.at(.vrfy, saying: ["VRFY a"])
        #expect(try play.verdict(#""verdict":"deny","reply":{\#(members)}"#) == nil)
        return play.lastWire
    }

    private static var replies: [ProtocolRule] {
        [
            ProtocolRule(
                "Every part of `reply` is optional; what is missing is filled in from the table."
            ) { () throws in
                for (members, wire) in [
                    ("", "550 5.7.1 VRFY refused\r\n"),
                    (#""code":553"#, "553 5.7.1 VRFY refused\r\n"),
                    (#""status":"5.1.2""#, "550 5.1.2 VRFY refused\r\n"),
                    (#""text":["no"]"#, "550 5.7.1 no\r\n"),
                ] {
                    #expect(try Self.reply(members) == wire)
                }
            },
            ProtocolRule("would contradict `code` becomes the class of `code` and `.0.0`") {
                () throws in
                for (code, wire) in [
                    (250, "250 2.0.0 x"), (450, "450 4.0.0 x"), (554, "554 5.0.0 x"),
                ] {
                    let play = RulePlay.at(.vrfy, saying: ["VRFY a"])
                    let reply = #"{"code":\#(code),"text":["x"]}"#
                    #expect(try play.verdict(#""verdict":"done","reply":\#(reply)"#) == nil)
                    #expect(play.lastWire == "\(wire)\r\n")
                }
            },
            ProtocolRule("not with 220, 354, nor to HELO and EHLO") { () throws in
                for (hook, code) in [(Hook.connect, 220), (.helo, 250), (.ehlo, 250), (.data, 354)]
                {
                    let lines = hook == .helo ? ["HELO c"] : RulePlay.lines
                    let play = RulePlay.at(hook, saying: lines)
                    #expect(
                        try play.verdict(
                            #""verdict":"ok","reply":{"status":"2.5.0","text":["hi"]}"#
                        )
                            == nil
                    )
                    #expect(play.lastCode == UInt16(code) && !play.lastWire.contains("2.5.0"))
                }
            },
            ProtocolRule("Empty lines are left out; if none remains, the default text is sent") {
                () throws in
                #expect(
                    try Self.reply(#""text":["","a","","b"]"#) == "550-5.7.1 a\r\n550 5.7.1 b\r\n"
                )
                #expect(try Self.reply(#""text":["",""]"#) == "550 5.7.1 VRFY refused\r\n")
            },
            ProtocolRule("outside ASCII only where the transaction, or VRFY itself, has SMTPUTF8") {
                () throws in
                for (parameter, code) in [("", ViolationCode.reply_text), (" SMTPUTF8", nil)] {
                    let play = RulePlay.at(
                        .mail,
                        saying: ["EHLO c", "MAIL FROM:<a@b>\(parameter)"]
                    )
                    let answer = #""verdict":"deny","reply":{"text":["nö"]}"#
                    #expect(try play.verdict(answer) == code)
                    // RFC 6531 §3.7.4.1: a mailbox beyond ASCII that is named for another.
                    for (verdict, number) in [("ok", 251), ("deny", 551)] {
                        let play = RulePlay.at(
                            .rcpt,
                            saying: ["EHLO c", "MAIL FROM:<a@b>\(parameter)", "RCPT TO:<c@d>"]
                        )
                        let reply = #""code":\#(number),"text":["<jö@example.com>"]"#
                        let answer = #""verdict":"\#(verdict)","reply":{\#(reply)}"#
                        #expect(try play.verdict(answer) == code)
                        #expect(play.lastWire.contains("<jö@example.com>") == (code == nil))
                    }
                    // RFC 6531 §3.7.4.2.
                    let vrfy = RulePlay.at(.vrfy, saying: ["EHLO c", "VRFY jö\(parameter)"])
                    let found = #""verdict":"ok","reply":{"text":["<jö@example.com>"]}"#
                    #expect(try vrfy.verdict(found) == code)
                    #expect(vrfy.lastWire.contains("<jö@example.com>") == (code == nil))
                }
                // It holds for that command alone.
                let play = RulePlay.at(.vrfy, saying: ["EHLO c", "VRFY a SMTPUTF8"])
                #expect(try play.verdict(#""verdict":"ok""#) == nil)
                play.send("VRFY a")
                #expect(
                    try play.verdict(#""verdict":"deny","reply":{"text":["nö"]}"#) == .reply_text
                )
            },
            ProtocolRule("The second digit is 0 to 5 (RFC 5321 §4.2.1).") {
                #expect(Self.codes(.deny, at: .mail).allSatisfy { $0 / 10 % 10 <= 5 })
            },
            ProtocolRule("`deny` and `deny_disconnect`: 500 to 559.") {
                #expect(Self.codes(.deny, at: .mail) == (500...559).filter { $0 != 521 })
                #expect(Self.codes(.deny_disconnect, at: .mail) == Array(500...559))
            },
            ProtocolRule("`denysoft` and `denysoft_disconnect`: 400 to 459.") {
                #expect(Self.codes(.denysoft, at: .mail) == (400...459).filter { $0 != 421 })
                #expect(Self.codes(.denysoft_disconnect, at: .mail) == Array(400...459))
            },
            ProtocolRule("only with `…_disconnect`, and with refusals at `connect`") {
                #expect(Self.codes(.deny, at: .connect).contains(521))
                #expect(Self.codes(.denysoft, at: .connect).contains(421))
            },
            ProtocolRule("else 200 to 259, 400 to 459 or 500 to 559, but not 221, 421 and 521") {
                let all = Array(200...259) + Array(400...459) + Array(500...559)
                #expect(
                    Self.codes(.done, at: .vrfy) == all.filter { ![221, 421, 521].contains($0) }
                )
            },
            ProtocolRule("where the client would not get it") {
                for hook in [Hook.data_headers_end, .data_post_headers, .data_post, .queue_pre] {
                    let play = RulePlay.at(hook)
                    let ok = try play.verdict(#""verdict":"ok","reply":{"text":["hi"]}"#)
                    let declined = try play.verdict(#""verdict":"declined","reply":{}"#)
                    #expect(ok == .reply_not_allowed && declined == .reply_not_allowed)
                }
            },
            ProtocolRule("and `received_line` takes only `text`") { () throws in
                let play = RulePlay.at(.received_line)
                for member in [#""code":250"#, #""status":"2.0.0""#] {
                    let answer = #""verdict":"ok","reply":{"text":["x"],\#(member)}"#
                    #expect(try play.verdict(answer) == .reply_not_allowed)
                }
            },
            ProtocolRule("without the word `ESMTP` gets it at the end of the first line") {
                for (text, wire) in [
                    (#"["hello","you"]"#, "220-mx hello ESMTP\r\n220 you\r\n"),
                    (#"["ESMTP here"]"#, "220 mx ESMTP here\r\n"),
                ] {
                    let play = RulePlay.at(.connect)
                    try play.verdict(#""verdict":"ok","reply":{"text":\#(text)}"#)
                    #expect(play.lastWire == wire)
                }
            },
            ProtocolRule("The first line begins with the frontend's name, and the text follows it")
            {
                let play = RulePlay.at(.helo, saying: ["HELO c"])
                try play.verdict(#""verdict":"ok","reply":{"text":["at your service"]}"#)
                #expect(play.lastWire == "250 mx at your service\r\n")
            },
            ProtocolRule("only the first line of the text is sent") { () throws in
                let smtp = SMTPConfiguration(hostname: Array("mail.example.org".utf8))
                let play = RulePlay.at(.ehlo, smtp: smtp)
                let long = String(repeating: "x ", count: 249)
                #expect(
                    try play.verdict(#""verdict":"ok","reply":{"text":["\#(long)","b"]}"#) == nil
                )
                let lines = play.lastWire.split(separator: "\r\n")
                #expect(
                    lines[0].hasPrefix("250-mail.example.org x x")
                )
                // The line is cut between two words.
                #expect((510...512).contains(lines[0].utf8.count + 2))
                #expect(!lines.contains { $0.hasSuffix(" b") || $0.hasSuffix("-b") })
            },
        ]
    }

    // MARK: - Notes

    private static var notes: [ProtocolRule] {
        [
            ProtocolRule("`session` lives as long as the connection") {
                let play = RulePlay.at(.mail)
                try play.verdict(
                    #""verdict":"ok","notes":{"session":{"s":1},"transaction":{"t":2.5}}"#
                )
                #expect(play.notes == Array(#"{"session":{"s":1},"transaction":{"t":2.5}}"#.utf8))
                play.say("RSET")
                #expect(play.notes == Array(#"{"session":{"s":1}}"#.utf8))
            },
            ProtocolRule("objects are merged, all else, lists included, replaces") {
                let play = RulePlay.session(["one", "two"], asked: [.ehlo])
                play.send("EHLO c")
                try play.verdict(
                    #""verdict":"declined","notes":{"session":{"o":{"a":1,"b":2},"l":[1,2],"x":0}}"#
                )
                try play.verdict(
                    #""verdict":"declined","notes":{"session":{"o":{"b":null,"c":3},"l":[3],"x":null}}"#
                )
                let notes = try JSONValue(parsing: play.notes)["session"]
                #expect(try notes == JSONValue(text: #"{"o":{"a":1,"c":3},"l":[3]}"#))
            },
            ProtocolRule("A patch, and what it leaves of the scope") { () throws in
                let text = String(repeating: "x", count: 40_000)
                let play = RulePlay.session(["one", "two"], asked: [.ehlo])
                play.send("EHLO c")
                let first = #""verdict":"declined","notes":{"session":{"a":"\#(text)"}}"#
                #expect(try play.verdict(first) == nil)
                let second = #""verdict":"declined","notes":{"session":{"b":"\#(text)"}}"#
                #expect(try play.verdict(second) == .notes_too_large)
                let patch = #""verdict":"declined","notes":{"session":{"b":"\#(text + text)"}}"#
                #expect(try play.verdict(patch) == .notes_too_large)
                // In the first one's place there is room for it.
                let other = #""verdict":"declined","notes":{"session":{"a":null,"b":"\#(text)"}}"#
                #expect(try play.verdict(other) == nil)
            },
            ProtocolRule(
                "Without a transaction only an empty transaction patch, or none, is allowed."
            ) { () throws in
                let play = RulePlay.at(.ehlo)
                let full = #""verdict":"declined","notes":{"transaction":{"a":1}}"#
                #expect(try play.verdict(full) == .notes_no_transaction)
                #expect(
                    try play.verdict(#""verdict":"declined","notes":{"transaction":{}}"#) == nil
                )
            },
            ProtocolRule("Every valid verdict's notes are kept, those of a refusal too.") {
                for verdict in ["deny", "denysoft", "ok", "declined"] {
                    let play = RulePlay.at(.rcpt)
                    try play.verdict(#""verdict":"\#(verdict)","notes":{"session":{"seen":true}}"#)
                    #expect(play.notes.starts(with: #"{"session":{"seen":true}"#.utf8))
                }
            },
        ]
    }

    // MARK: - Actions on headers, the message and the session

    private static func fields(_ actions: String, at hook: Hook = .data_post) throws -> [String] {
        let saying = RulePlay.lines.prefix(4) + ["A: b", "B: c", "", "."]
        let play = RulePlay.at(hook, saying: Array(saying), needs: .headers)
        #expect(try play.decline(actions) == nil)
        return try play.fields().map { $0.hasPrefix("Received:") ? "Received" : $0 }
    }

    private static var actions: [ProtocolRule] {
        [
            ProtocolRule(
                "They are applied in order to a copy; if all succeed, the copy is committed"
            ) {
                let play = RulePlay.at(.data_post, needs: [.headers, .recipients])
                let before = try play.question([.headers, .recipients])
                let violation = try play.verdict(
                    #""verdict":"declined","notes":{"session":{"a":1}},"actions":["#
                        + #"{"op":"recipient.add","address":"x@y"},"#
                        + #"{"op":"header.delete","id":1},{"op":"header.delete","id":1}]"#
                )
                #expect(violation == .unknown_header)
                #expect(try play.question([.headers, .recipients]) == before)
            },
            ProtocolRule("Every valid verdict's actions are kept, whatever the verdict.") {
                let play = RulePlay.at(.rcpt)
                try play.verdict(
                    #""verdict":"deny","actions":[{"op":"session.relay","value":true}]"#
                )
                play.send("NOOP")
                #expect(try play.question()["session"]?["relay"] == .bool(true))
            },
            ProtocolRule("compared as ASCII without case; none with this name is fine") {
                () throws in
                let delete =
                    #"{"op":"header.delete_all","name":"a"},{"op":"header.delete_all","name":"Z"}"#
                #expect(try Self.fields(delete) == ["Received", "B: c"])
            },
            ProtocolRule("`top` is above all fields, the frontend's Received included.") {
                () throws in
                let add =
                    #"{"op":"header.add","name":"T","value":"1"},"#
                    + #"{"op":"header.add","name":"L","value":"2","at":"bottom"}"#
                #expect(try Self.fields(add) == ["T: 1", "Received", "A: b", "B: c", "L: 2"])
            },
            ProtocolRule("does not begin with a space or TAB gets one space in front") {
                () throws in
                let set =
                    #"{"op":"header.set","id":1,"value":"x"},{"op":"header.set","id":2,"value":"\ty"}"#
                #expect(try Self.fields(set) == ["Received", "A: x", "B:\ty"])
            },
            ProtocolRule("a value that a field of the message has may be added as it is") {
                () throws in
                let octets = "A: caf\u{E9}"
                let saying = RulePlay.lines.prefix(4) + [octets, "", "."]
                let play = RulePlay.at(.data_post, saying: Array(saying), needs: .headers)
                let (same, other) = ("caf\u{E9}", "caf\u{E8}")
                func add(_ value: String) -> String {
                    #"{"op":"header.add","name":"X","value":"\#(value)"}"#
                }
                #expect(try play.decline(add(other)) == .header_value)
                #expect(try play.decline(add(same)) == nil)
            },
            ProtocolRule("octets above 127 may be set to a value with such") { () throws in
                let saying = RulePlay.lines.prefix(4) + ["A: caf\u{E9}", "B: c", "", "."]
                let play = RulePlay.at(.data_post, saying: Array(saying), needs: .headers)
                let value = #""value":"th\u00E9"}"#
                #expect(try play.decline(#"{"op":"header.set","id":2,\#(value)"#) == .header_value)
                #expect(try play.decline(#"{"op":"header.set","id":1,\#(value)"#) == nil)
            },
            ProtocolRule("What an action deletes is gone for the next.") { () throws in
                let play = RulePlay.at(.data_post)
                let list = #"{"op":"header.delete","id":1},{"op":"header.set","id":1,"value":"x"}"#
                #expect(try play.decline(list) == .unknown_header)
            },
            ProtocolRule("The header fields are read from it anew, and get new ids") {
                let play = RulePlay.at(.data_post, needs: .headers)
                let add = #"{"op":"header.add","name":"X","value":"1"}"#
                try play.decline(#"{"op":"message.replace","path":"f"},\#(add)"#)
                #expect(play.wait == .replacement(path: "f", pool: 0))
                play.replaced(.taken(ReplacedMessage(size: 20, header: Array("A: new\r\n".utf8))))
                #expect(play.openHook == .queue_pre)
                #expect(try play.fields() == ["X: 1", "A: new"])
                #expect(try play.decline(#"{"op":"header.delete","id":1}"#) == .unknown_header)
            },
            ProtocolRule("as the first action of the list, at most once") { () throws in
                let play = RulePlay.at(.data_post)
                let replace = #"{"op":"message.replace","path":"f"}"#
                let add = #"{"op":"header.add","name":"X","value":"1"}"#
                #expect(try play.decline("\(add),\(replace)") == .action_not_allowed)
                #expect(try play.decline("\(replace),\(replace)") == .action_not_allowed)
            },
            ProtocolRule("1 to 255 octets of 33 to 126, or null: no name") {
                let play = RulePlay.session(["one", "two"], asked: [.connect])
                try play.decline(#"{"op":"session.client_name","value":"a.b"}"#)
                let known = try play.question()["session"]?["client"]?["name"]
                let unknown = try play.decline(#"{"op":"session.client_name","value":"a b"}"#)
                #expect(known == .string("a.b") && unknown == .value_invalid)
                #expect(try play.decline(#"{"op":"session.client_name","value":null}"#) == nil)
            },
            ProtocolRule("holds the reply back without holding up the worker: a tarpit") {
                let play = RulePlay.at(.mail)
                let before = play.replies.count
                try play.decline(#"{"op":"reply.delay","ms":2500}"#)
                #expect(play.wait == .delay(2_500) && play.replies.count == before)
                play.delayPassed()
                #expect(play.replies.count == before + 1 && play.lastCode == 250)
            },
            ProtocolRule(
                "of several in one verdict the longest counts, and those of several pools add up"
            ) {
                let play = RulePlay.session(["one", "two"], asked: [.mail])
                play.send("EHLO c", "MAIL FROM:<a@b>")
                try play.decline(#"{"op":"reply.delay","ms":20},{"op":"reply.delay","ms":10}"#)
                try play.decline(#"{"op":"reply.delay","ms":99000}"#)
                #expect(play.wait == .delay(10_020))
            },
        ]
    }

    // MARK: - Actions on the envelope

    private static func envelope(
        _ actions: String,
        at hook: Hook = .data
    ) throws -> (left: [String], code: ViolationCode?) {
        let lines = ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RCPT TO:<e@f>", "DATA"]
        let play = RulePlay.at(hook, saying: hook == .rcpt ? Array(lines.prefix(3)) : lines)
        let code = try play.verdict(#""verdict":"ok","actions":[\#(actions)]"#)
        return (play.envelope, code)
    }

    private static var envelope: [ProtocolRule] {
        [
            ProtocolRule("may be replaced, which changes what is granted, but not removed: deny it")
            {
                let replaced = try Self.envelope(
                    #"{"op":"recipient.replace","id":1,"address":"new@d"}"#,
                    at: .rcpt
                )
                #expect(replaced == (["1 new@d"], nil))
                let removed = try Self.envelope(#"{"op":"recipient.remove","id":1}"#, at: .rcpt)
                #expect(removed == ([], .unknown_recipient))
            },
            ProtocolRule("go through the SMTP parser and its limits again") {
                for address in [
                    "a b@c", "a@", "<a@b>", "", String(repeating: "x", count: 300) + "@b",
                ] {
                    let add = #"{"op":"recipient.add","address":"\#(address)"}"#
                    #expect(try Self.envelope(add).code == .address_invalid, "\(address)")
                }
                let good = try Self.envelope(#"{"op":"recipient.add","address":"\"a b\"@c"}"#)
                #expect(good == (["1 c@d", "2 e@f", #"3 "a b"@c"#], nil))
            },
            ProtocolRule("outside ASCII only under SMTPUTF8. From `data` on") { () throws in
                let add = #"{"op":"recipient.add","address":"jö@b"}"#
                #expect(try Self.envelope(add).code == .address_invalid)
                let lines = ["EHLO c", "MAIL FROM:<a@b> SMTPUTF8", "RCPT TO:<c@d>", "DATA"]
                #expect(try RulePlay.at(.data, saying: lines).decline(add) == nil)
            },
            ProtocolRule("a list that leaves no recipient is invalid") {
                let both = #"{"op":"recipient.remove","id":1},{"op":"recipient.remove","id":2}"#
                #expect(try Self.envelope(both) == (["1 c@d", "2 e@f"], .no_recipients))
                // At RCPT more recipients may come.
                let play = RulePlay.at(.rcpt)
                play.answer(.ok)
                play.send("RCPT TO:<e@f>")
                try play.verdict(#""verdict":"deny","actions":[{"op":"recipient.remove","id":1}]"#)
                #expect(play.envelope.isEmpty && play.lastCode == 550)
            },
            ProtocolRule("empty for `<>`") {
                let play = RulePlay.at(.mail)
                try play.decline(#"{"op":"sender.replace","address":""}"#)
                play.send("RCPT TO:<c@d>")
                let sender = try play.question()["transaction"]?["sender"]
                #expect(sender?["address"] == .string("") && sender?["domain"] == .null)
            },
            ProtocolRule("`address`; the id and the `params` of the client stay") { () throws in
                let replace = #"{"op":"recipient.replace","id":1,"address":"x@y"}"#
                #expect(try Self.envelope(replace) == (["1 x@y", "2 e@f"], nil))
            },
            ProtocolRule("A recipient that is there already is not added twice") { () throws in
                let add = #"{"op":"recipient.add","address":"c@D"}"#
                #expect(try Self.envelope(add) == (["1 c@d", "2 e@f"], nil))
            },
            ProtocolRule("of recipients that are the same the first stays") { () throws in
                let replace = #"{"op":"recipient.replace","id":2,"address":"c@d"}"#
                #expect(try Self.envelope(replace) == (["1 c@d"], nil))
            },
            ProtocolRule("without its quoting, and one domain, whose letter case does not count") {
                () throws in
                let same = #"{"op":"recipient.add","address":"\"c\"@D"}"#
                #expect(try Self.envelope(same).left == ["1 c@d", "2 e@f"])
                let other = #"{"op":"recipient.add","address":"C@d"}"#
                #expect(try Self.envelope(other).left == ["1 c@d", "2 e@f", "3 C@d"])
            },
        ]
    }
}
