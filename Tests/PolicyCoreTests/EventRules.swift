import JSON
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

/// The rules of protocol/events.md, a row each.
@Suite struct EventRuleTests {
    @Test(arguments: EventRules.all) func `an event is as it says`(rule: ProtocolRule) throws {
        try rule.check()
    }
}

enum EventRules {
    static let all: [ProtocolRule] = [
        Self.envelope, Self.session, Self.certificates, Self.transaction, Self.fields, Self.message,
        Self.trace,
        Self.order, Self.dialogue, Self.complete, Self.notifications,
    ].flatMap(\.self)

    // MARK: - The envelope

    private static var envelope: [ProtocolRule] {
        [
            ProtocolRule("The same for every attempt, never the same for two questions") {
                let play = RulePlay.at(.mail)
                let keys = [try play.question()["key"], try play.question()["key"]]
                play.answer(.declined)
                play.send("RCPT TO:<c@d>")
                #expect(keys[0] == keys[1] && keys[0] != nil)
                #expect(try play.question()["key"] != keys[0])
            },
            ProtocolRule("absent when there is no mail transaction") {
                for hook in [Hook.connect, .ehlo, .vrfy] {
                    let event = try RulePlay.at(hook, saying: ["EHLO c", "VRFY a"]).question()
                    #expect(event["transaction"] == nil && event["notes"]?["transaction"] == nil)
                }
            },
            ProtocolRule("there if and only if `transaction` is") {
                for hook in [Hook.mail, .rcpt, .data, .data_headers_end, .data_post, .queue] {
                    let event = try RulePlay.at(hook).question()
                    #expect(event["transaction"] != nil)
                    #expect(
                        try event["notes"] == JSONValue(text: #"{"session":{},"transaction":{}}"#)
                    )
                }
            },
            ProtocolRule("`{}` if there is nothing to say") {
                for hook in [
                    Hook.connect, .data, .data_headers_end, .data_post_headers, .data_post,
                    .queue_pre,
                ] {
                    #expect(try RulePlay.at(hook).question()["args"] == .object([:]))
                }
                let quit = try RulePlay.at(.quit, saying: ["QUIT"]).question()
                #expect(quit["args"] == .object([:]))
            },
            ProtocolRule("absent unless parts were left out to fit max_frame") {
                let play = RulePlay.at(.data_post, needs: [.headers, .recipients])
                let needs: Needs = [.headers, .recipients]
                let whole = try #require(play.event(needs: needs)).count
                #expect(try play.question(needs)["elided"] == nil)
                let line = try #require(play.event(needs: needs, maximumOctets: whole - 1))
                let event = try JSONValue(parsing: Array(line.dropLast()))
                #expect(event["elided"] == .array([.string("headers")]))
                #expect(event["transaction"]?["headers"] == nil)
            },
            ProtocolRule("absent unless needed: *Trace* below") { () throws in
                #expect(try RulePlay.at(.mail).question()["trace"] == nil)
                #expect(try RulePlay.at(.mail, needs: .trace).question(.trace)["trace"] != nil)
            },
        ]
    }

    // MARK: - session

    private static var session: [ProtocolRule] {
        [
            ProtocolRule("null without PROXY protocol") {
                let session = try RulePlay.at(.connect).question()["session"]
                let expected =
                    #"{"id":"S","listener":"mx","started_ms":0,"#
                    + #""client":{"ip":"192.0.2.1","port":1,"name":null},"#
                    + #""server":{"ip":"192.0.2.2","port":25},"proxy":null,"hello":null,"tls":null,"#
                    + #""auth":null,"relay":false,"early_talker":false,"counters":{"commands":0,"#
                    + #""errors":0,"unrecognized":0,"transactions":0,"rcpt_ok":0,"rcpt_denied":0}}"#
                #expect(try session == JSONValue(text: expected))
            },
            ProtocolRule("null until a worker sets it (`session.client_name`)") {
                let play = RulePlay.at(.connect)
                try play.decline(#"{"op":"session.client_name","value":"mail.example"}"#)
                play.send("EHLO c")
                let name = try play.question()["session"]?["client"]?["name"]
                #expect(name == .string("mail.example"))
            },
            ProtocolRule("At the hooks `helo` and `ehlo` it is the one being asked about") {
                for (verb, hook) in [("HELO", Hook.helo), ("EHLO", .ehlo)] {
                    let event = try RulePlay.at(hook, saying: ["\(verb) name"]).question()
                    #expect(event["session"]?["hello"]?["verb"] == .string(verb))
                    #expect(event["session"]?["hello"]?["name"] == .string("name"))
                    #expect(event["args"]?["name"] == .string("name"))
                }
            },
            ProtocolRule("True after `session.relay` or AUTH") {
                let play = RulePlay.at(.mail)
                try play.decline(#"{"op":"session.relay","value":true}"#)
                play.say("RSET")
                play.send("MAIL FROM:<e@f>")
                #expect(try play.question()["session"]?["relay"] == .bool(true))
            },
            ProtocolRule("the client sent octets before it was its turn") { () throws in
                let play = RulePlay.at(.ehlo)
                #expect(try play.question()["session"]?["early_talker"] == .bool(false))
                play.send("NOOP")
                play.answer(.declined)
                #expect(play.openHook == .noop)
                #expect(try play.question()["session"]?["early_talker"] == .bool(true))
            },
            ProtocolRule("counts since the session began, this command included") {
                let play = RulePlay.session()
                for line in ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>"] { play.say(line) }
                play.send("RCPT TO:<e@f>")
                play.answer(.deny)
                play.say("WHAT")
                play.send("NOOP")
                let counters =
                    #"{"commands":6,"errors":1,"unrecognized":1,"transactions":1,"#
                    + #""rcpt_ok":1,"rcpt_denied":1}"#
                let session = try play.question()["session"]
                #expect(try session?["counters"] == JSONValue(text: counters))
            },
            ProtocolRule("a plugin's refusal counts only at `unrecognized_command`") { () throws in
                let play = RulePlay.session()
                play.say("EHLO c")
                for line in ["VRFY a", "MAIL FROM:<a@b>", "WHAT"] {
                    play.send(line)
                    play.answer(.deny)
                }
                play.send("NOOP")
                #expect(try play.question()["session"]?["counters"]?["errors"] == .int(1))
            },
        ]
    }

    // MARK: - Certificates of clients

    /// `session.tls.client_certificate` of a client that showed this.
    private static func certificate(_ shown: ClientCertificateFacts) throws -> JSONValue? {
        let play = RulePlay.session()
        play.encrypted(shown)
        play.send("NOOP")
        let tls = try play.question()["session"]?["tls"]
        #expect(tls?["version"] == .string("TLSv1.3"))
        return tls?["client_certificate"]
    }

    private static var certificates: [ProtocolRule] {
        let shown = ClientCertificateFacts.shown(
            SessionSnapshot.ClientCertificate(
                isVerified: true,
                subject: "CN=müller,O=\"x\"",
                issuer: nil,
                fingerprint: "0a",
                keyFingerprint: nil
            )
        )
        return [
            ProtocolRule("absent where the listener asks for none") { () throws in
                #expect(try Self.certificate(.notAsked) == nil)
            },
            ProtocolRule("`tls.client_certificate` is null if the client showed none") {
                () throws in
                #expect(try Self.certificate(.none) == .null)
                let expected =
                    #"{"verified":true,"subject":"CN=müller,O=\"x\"","issuer":null,"#
                    + #""fingerprint":"0a","key_fingerprint":null}"#
                #expect(try Self.certificate(shown) == JSONValue(text: expected))
            },
            ProtocolRule("when a proxy names another client by XCLIENT") { () throws in
                for (before, isAsked) in [(shown, true), (.none, true), (.notAsked, false)] {
                    let play = RulePlay.at(.connect)
                    play.grant()
                    play.encrypted(before)
                    let peer = Peer(ip: "192.0.2.9", port: 9)
                    play.clientReplaced(by: peer, server: nil, proxy: peer)
                    play.send("NOOP")
                    let tls = try play.question()["session"]?["tls"]
                    let expected: JSONValue? = isAsked ? .some(.null) : .none
                    #expect(tls?["version"] != nil && tls?["client_certificate"] == expected)
                }
            },
        ]
    }

    // MARK: - transaction

    private static func address(_ command: String, at hook: Hook) throws -> JSONValue? {
        let play = RulePlay.at(hook, saying: ["EHLO c", "MAIL FROM:<a@b>", command])
        let args = try play.question()["args"]
        return args?["sender"] ?? args?["recipient"]
    }

    private static var transaction: [ProtocolRule] {
        [
            ProtocolRule("every MAIL that is asked about gets a new one") { () throws in
                let play = RulePlay.at(.mail)
                #expect(try play.question()["transaction"]?["id"] == .string("S.1"))
                play.answer(.deny)
                play.send("MAIL FROM:<a@b>")
                #expect(try play.question()["transaction"]?["id"] == .string("S.2"))
            },
            ProtocolRule("Null only at `mail`, where nothing is granted yet: it is in `args`") {
                let mail = try RulePlay.at(.mail).question()
                #expect(mail["transaction"]?["sender"] == .null)
                #expect(mail["args"]?["sender"]?["address"] == .string("a@b"))
                let rcpt = try RulePlay.at(.rcpt).question()
                #expect(rcpt["transaction"]?["sender"]?["address"] == .string("a@b"))
            },
            ProtocolRule("recipients granted so far") { () throws in
                #expect(
                    try RulePlay.at(.rcpt).question()["transaction"]?["recipient_count"] == .int(0)
                )
                #expect(
                    try RulePlay.at(.data).question()["transaction"]?["recipient_count"] == .int(1)
                )
            },
            ProtocolRule("if needed and not elided, from `data_headers_end` on") {
                for (hook, isThere) in [
                    (Hook.data, false), (.data_headers_end, true), (.queue, true),
                ] {
                    let event = try RulePlay.at(hook, needs: .headers).question(.headers)
                    #expect((event["transaction"]?["headers"] != nil) == isThere)
                }
            },
            ProtocolRule("without a source route") {
                let recipient = try Self.address("RCPT TO:<@relay.example:u@d.example>", at: .rcpt)
                #expect(recipient?["address"] == .string("u@d.example"))
            },
            ProtocolRule("the local part without its quoting") {
                let recipient = try Self.address(#"RCPT TO:<"a \"b"@d.example>"#, at: .rcpt)
                #expect(recipient?["local"] == .string(#"a "b"#))
                #expect(recipient?["address"] == .string(#""a \"b"@d.example"#))
            },
            ProtocolRule(
                "null for the null reverse-path `<>`, where the others are empty, and for `<postmaster>`"
            ) {
                let play = RulePlay.at(.mail, saying: ["EHLO c", "MAIL FROM:<>"])
                let sender = #"{"address":"","local":"","domain":null,"params":[]}"#
                let args = try play.question()["args"]
                #expect(try args?["sender"] == JSONValue(text: sender))
                let recipient = try Self.address("RCPT TO:<Postmaster>", at: .rcpt)
                #expect(
                    recipient?["domain"] == .null && recipient?["local"] == .string("Postmaster")
                )
            },
            ProtocolRule("an address literal keeps its brackets") {
                let recipient = try Self.address("RCPT TO:<u@[192.0.2.1]>", at: .rcpt)
                #expect(recipient?["domain"] == .string("[192.0.2.1]"))
            },
            ProtocolRule("the keyword in capitals, the value Bytes, or null when there was no `=`")
            {
                let line = "MAIL FROM:<a@b> size=9 BODY=8bitmime SMTPUTF8"
                let play = RulePlay.at(.mail, saying: ["EHLO c", line])
                let parameters = #"[["SIZE","9"],["BODY","8bitmime"],["SMTPUTF8",null]]"#
                let args = try play.question()["args"]
                #expect(try args?["sender"]?["params"] == JSONValue(text: parameters))
            },
            ProtocolRule("never changes within the transaction and is never given to another") {
                () throws in
                let play = RulePlay.at(.rcpt)
                #expect(try play.question()["args"]?["recipient"]?["id"] == .int(1))
                play.answer(.deny)
                play.send("RCPT TO:<e@f>")
                #expect(try play.question()["args"]?["recipient"]?["id"] == .int(2))
            },
        ]
    }

    // MARK: - Header fields

    /// Header fields at `data_post_headers`, without the frontend's own.
    private static func fields(_ lines: [String], actions: String? = nil) throws -> [String] {
        let saying = RulePlay.lines.prefix(4) + lines + ["", "x", "."]
        let play = RulePlay.at(.data_post_headers, saying: Array(saying), needs: .headers)
        if let actions {
            #expect(try play.decline(actions) == nil)
            play.grant(until: .data_post)
        }
        return try play.fields().filter { !$0.hasPrefix("Received") }
    }

    private static var fields: [ProtocolRule] {
        [
            ProtocolRule("with leading space and folding (CRLF and white space) as they are") {
                () throws in
                #expect(try Self.fields(["A:  b", "\tc", "D:e"]) == ["A:  b\r\n\tc", "D:e"])
            },
            ProtocolRule("Where white space stands between the name and the colon") { () throws in
                #expect(try Self.fields(["From : x", "To\t: y"]) == ["From : x", "To\t: y"])
            },
            ProtocolRule("The list is in the order of the message, a repeated field is repeated") {
                () throws in
                #expect(try Self.fields(["B: 1", "A: 2", "B: 1"]) == ["B: 1", "A: 2", "B: 1"])
            },
            ProtocolRule("edits of earlier pools are applied") {
                let play = RulePlay.session(
                    ["one", "two"],
                    asked: [.rcpt, .data_post],
                    needs: .headers
                )
                for line in RulePlay.lines { play.say(line, until: .data_post) }
                try play.decline(#"{"op":"header.set","id":1,"value":"new"}"#)
                #expect(play.wait == .pool(1, .data_post))
                #expect(try play.fields().last == "A: new")
            },
            ProtocolRule(
                "From `data_post_headers` on the frontend's own Received field stands on top"
            ) {
                let before = RulePlay.at(.received_line, needs: .headers)
                #expect(try before.fields() == ["A: b"])
                for hook in [Hook.data_post_headers, .data_post, .queue] {
                    let fields = try RulePlay.at(hook, needs: .headers).fields()
                    #expect(fields.count == 2 && fields[0].hasPrefix("Received: from c "))
                }
            },
            ProtocolRule(
                "Ids do not shift when fields are added or deleted; an added field gets a new id"
            ) {
                let play = RulePlay.at(
                    .data_post,
                    saying: RulePlay.lines.prefix(4) + ["A: 1", "B: 2", "C: 3", "", "."],
                    needs: .headers
                )
                try play.decline(
                    #"{"op":"header.delete","id":2},{"op":"header.add","name":"D","value":"4"}"#
                )
                let list = try play.question(.headers)["transaction"]?["headers"]?.list ?? []
                // 4 is the frontend's own Received.
                #expect(list.map { $0["id"] } == [.int(5), .int(4), .int(1), .int(3)])
            },
            ProtocolRule("A field that is set loses its `space`") { () throws in
                let set = #"{"op":"header.set","id":1,"value":" y"}"#
                #expect(try Self.fields(["A : x"], actions: set) == ["A: y"])
            },
            ProtocolRule("The header section ends at the first line that is neither a field") {
                () throws in
                for line in ["no colon", "\u{FEFF}B: x", "B\u{E9}: x", "X Y: x"] {
                    #expect(try Self.fields(["A: 1", line, "C: 2"]) == ["A: 1"])
                }
                #expect(try Self.fields([" A: 1"]) == [])
            },
            ProtocolRule("A line of white space alone goes on with the field before") { () throws in
                #expect(try Self.fields(["A: 1", " ", "\tb"]) == ["A: 1\r\n \r\n\tb"])
            },
        ]
    }

    // MARK: - The message

    private static func message(_ lines: [String]) throws -> (size: JSONValue?, body: JSONValue?) {
        let play = RulePlay.at(
            .queue,
            saying: RulePlay.lines.prefix(4) + lines + ["."],
            needs: .message
        )
        let message = try play.question(.message)["transaction"]?["message"]
        return (message?["size"], message?["body_offset"])
    }

    private static var message: [ProtocolRule] {
        [
            ProtocolRule("if needed, from `received_line` on") {
                for (hook, isThere) in [
                    (Hook.data, false), (.data_headers_end, false), (.received_line, true),
                    (.data_post_headers, true), (.queue, true),
                ] {
                    let event = try RulePlay.at(hook, needs: .message).question(.message)
                    #expect((event["transaction"]?["message"]?["path"] != nil) == isThere)
                }
            },
            ProtocolRule("where the header section ends") {
                let message = try Self.message(["A: b", "", "x"])
                #expect(message == (.int(11), .int(6)))
            },
            ProtocolRule("after removing transparency (dot-stuffing)") {
                let message = try Self.message(["A: b", "", "..x"])
                #expect(message == (.int(12), .int(6)))
            },
            ProtocolRule("That is exact also for a message without a body.") {
                let message = try Self.message(["A: b"])
                #expect(message == (.int(6), .int(6)))
            },
            ProtocolRule("A body that does not begin with an empty line gets one") {
                let message = try Self.message(["A: b", "no colon"])
                #expect(message == (.int(18), .int(6)))
            },
            ProtocolRule("becomes the field `X-Mailbox-Line: From …`") { () throws in
                let play = RulePlay.at(
                    .data_headers_end,
                    saying: RulePlay.lines.prefix(4) + ["From x", "A: b", ""],
                    needs: .headers
                )
                #expect(try play.fields() == ["X-Mailbox-Line: From x", "A: b"])
            },
            ProtocolRule("552, before any hook of the message is asked") {
                let pools = PlayedPools()
                pools.register(
                    asked: [.rcpt, .data_headers_end, .queue],
                    needs: [.queue: .headers],
                    maximumFrameOctets: 65_536
                )
                let play = pools.session(RulePlay.smtp)
                play.connect()
                for line in RulePlay.lines.prefix(4) { play.say(line) }
                let asked = play.submissions
                for index in 0..<700 { play.say("F\(index): \(String(repeating: "x", count: 90))") }
                play.send("", ".")
                #expect(play.lastCode == 552 && play.submissions == asked)
            },
        ]
    }

    // MARK: - Trace

    private static var trace: [ProtocolRule] {
        [
            ProtocolRule("one entry a plugin (from the `trace` of verdicts)") {
                let play = RulePlay.at(.mail, asked: [.mail, .rcpt], needs: .trace)
                try play.verdict(
                    #""verdict":"deny","plugin":"b","trace":["#
                        + #"{"plugin":"a","verdict":"declined","us":3},"#
                        + #"{"plugin":"b","verdict":"deny","us":4}]"#
                )
                play.send("MAIL FROM:<a@b>")
                let entries = try play.question(.trace)["trace"]?.list ?? []
                #expect(entries.map { $0["plugin"].text } == ["a", "b"])
                #expect(entries.map { $0["us"] } == [.int(3), .int(4)])
                #expect(entries.map { $0["worker"].text } == ["w", "w"])
            },
            ProtocolRule("null if the worker did not say") {
                let play = RulePlay.at(.mail, asked: [.mail, .rcpt], needs: .trace)
                play.answer(.declined)
                play.send("RCPT TO:<c@d>")
                let entry = try #require(try play.question(.trace)["trace"]?.list.first)
                #expect(entry["plugin"] == .null && entry["verdict"] == .string("declined"))
                #expect(entry["failure"] == .null && entry["policy"] == .null)
            },
            ProtocolRule("null if no worker got it") {
                let play = RulePlay.at(.mail, asked: [.mail, .rcpt], needs: .trace)
                play.poolDone(.failed(reason: "no_worker", worker: nil))
                play.send("MAIL FROM:<a@b>")
                let entry = try #require(try play.question(.trace)["trace"]?.list.first)
                #expect(entry["worker"] == .null && entry["verdict"] == .null)
                #expect(entry["failure"] == .string("no_worker"))
            },
            ProtocolRule("`tempfail`, `skip` or `reject`, if there was a failure") {
                for policy in FailurePolicy.allCases {
                    let play = RulePlay.at(
                        .mail,
                        asked: [.mail, .vrfy],
                        needs: .trace,
                        onFailure: policy
                    )
                    play.poolDone(.failed(reason: "deadline", worker: nil))
                    play.send("VRFY a")
                    let entry = try #require(try play.question(.trace)["trace"]?.list.first)
                    #expect(entry["policy"] == .string(policy.rawValue))
                }
            },
            ProtocolRule("as the client got it, on the entry that decided") {
                let play = RulePlay.session(["one", "two"], asked: [.mail], needs: .trace)
                play.say("EHLO c")
                play.send("MAIL FROM:<a@b>")
                play.answer(.declined)
                try play.verdict(#""verdict":"deny","reply":{"text":["no"]}"#)
                play.send("MAIL FROM:<a@b>")
                let entries = try play.question(.trace)["trace"]?.list ?? []
                let reply = try JSONValue(text: #"{"code":550,"status":"5.7.1","text":["no"]}"#)
                #expect(entries.map { $0["reply"] } == [.null, reply])
            },
        ]
    }

    // MARK: - The order of things

    private static var order: [ProtocolRule] {
        [
            ProtocolRule("`received_line` and all that follow after the end of the data") {
                let play = RulePlay.session()
                for line in RulePlay.lines { play.say(line) }
                play.say("QUIT")
                let asked = play.performed.compactMap { action -> Hook? in
                    if case .submit(_, let hook) = action { hook } else { nil }
                }
                #expect(
                    asked == [
                        .connect, .ehlo, .mail, .rcpt, .data, .data_headers_end, .received_line,
                        .data_post_headers, .data_post, .queue_pre, .queue, .quit,
                    ]
                )
            },
            ProtocolRule("`data_headers_end` is asked while the body is still coming") {
                let play = RulePlay.at(.data_headers_end)
                #expect(!play.isMessageComplete)
            },
            ProtocolRule("come at any time, with a `transaction` if there is one") { () throws in
                let play = RulePlay.session()
                for line in RulePlay.lines.prefix(3) { play.say(line) }
                for line in ["VRFY a", "HELP", "NOOP", "WHAT"] {
                    play.send(line)
                    #expect(try play.question()["transaction"]?["id"] == .string("S.1"))
                    play.answer(.declined)
                }
            },
            ProtocolRule("After each of these hooks comes `deny` or `ok`") {
                let play = RulePlay.session()
                for line in RulePlay.lines { play.say(line) }
                play.say("QUIT")
                let told = play.told.map(\.hook)
                #expect(told.filter { $0 == .ok }.count == 12)
                #expect(told.suffix(3) == [.reset_transaction, .ok, .disconnect])
            },
        ]
    }
}
