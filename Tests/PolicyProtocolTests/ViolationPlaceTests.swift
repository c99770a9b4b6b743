import JSON
import Testing

@testable import PolicyProtocol

private let add = #"{"op":"header.add","name":"X-A","value":"b"}"#

/// What the frontend logs, and tells the worker, of an invalid verdict: where it is, and what stands there.
struct ViolationPlaceTests {
    @Test(arguments: [
        (Hook.rcpt, #""verdict":"yes""#, #"unknown_verdict: verdict: "yes""#),
        (.rcpt, #""plugin":"p""#, "unknown_verdict: verdict: none"),
        (.rcpt, #""verdict":"done""#, "verdict_not_allowed: verdict: done at rcpt"),
        (.rcpt, #""verdict":"deny","reply":[]"#, "reply_malformed: reply: no object"),
        (
            .rcpt, #""verdict":"deny","reply":{"code":"550"}"#,
            "reply_malformed: reply.code: no integer"
        ),
        (
            .rcpt, #""verdict":"deny","reply":{"text":["a",1]}"#,
            "reply_malformed: reply.text: no list of strings"
        ),
        (
            .rcpt, #""verdict":"deny","reply":{"code":450}"#,
            "reply_code: reply.code: 450 with deny at rcpt"
        ),
        (
            .rcpt, #""verdict":"deny","reply":{"status":"5.7"}"#,
            #"reply_status: reply.status: "5.7""#
        ),
        (
            .rcpt, #""verdict":"deny","reply":{"text":["a","b\u0007"]}"#,
            "reply_text: reply.text[1]: the control character U+7"
        ),
        (
            .rcpt, #""verdict":"deny","reply":{"text":["é"]}"#,
            "reply_text: reply.text[0]: not ASCII, and the transaction has no SMTPUTF8"
        ),
        (.rcpt, #""verdict":"deny","reply":{"text":[]}"#, "reply_text: reply.text: 0 lines"),
        (
            .rcpt, #""verdict":"declined","reply":{"text":["a"]}"#,
            "reply_not_allowed: reply: the client gets none with declined at rcpt"
        ),
        (.vrfy, #""verdict":"done","reply":{"text":["a"]}"#, "reply_missing: reply.code: none"),
        (.vrfy, #""verdict":"done","reply":{"code":250}"#, "reply_missing: reply.text: none"),
        (.vrfy, #""verdict":"done""#, "reply_missing: reply: none"),
        (
            .rcpt, #""verdict":"ok","notes":{"session":1}"#,
            "notes_malformed: notes.session: no object"
        ),
        (.rcpt, #""verdict":"ok","actions":{}"#, "actions_malformed: actions: no list"),
        (
            .data_post, #""verdict":"ok","actions":[\#(add),{"op":1}]"#,
            "actions_malformed: actions[1].op: missing, or no string"
        ),
        (
            .data_post, #""verdict":"ok","actions":[\#(add),{"op":"header.set","value":"x"}]"#,
            "actions_malformed: actions[1].id: missing, or of a wrong type"
        ),
        (
            .data_post, #""verdict":"ok","actions":[\#(add),{"op":"header.lose"}]"#,
            #"unknown_action: actions[1].op: "header.lose""#
        ),
        (
            .rcpt, #""verdict":"ok","actions":[\#(add)]"#,
            "action_not_allowed: actions[0].op: not allowed at rcpt"
        ),
        (
            .data_post,
            #""verdict":"ok","actions":[\#(add),{"op":"header.add","name":"X:","value":""}]"#,
            "header_name: actions[1].name: not 1 to 255 of 33 to 126 without a colon"
        ),
        (
            .data_post,
            #""verdict":"ok","actions":[\#(add),{"op":"header.add","name":"X","value":"a\nb"}]"#,
            "header_value: actions[1].value: a bare LF"
        ),
        (
            .data_post, #""verdict":"ok","actions":[\#(add),{"op":"message.replace","path":"a"}]"#,
            "action_not_allowed: actions[1].op: message.replace comes first, and once"
        ),
        (
            .data_post, #""verdict":"ok","actions":[{"op":"message.replace","path":"../a"}]"#,
            #"path_invalid: actions[0].path: "../a" is not the name of a file"#
        ),
        (
            .queue,
            #""verdict":"ok","actions":[{"op":"recipient.refuse","id":1,"verdict":"deny","reply":{"code":450}}]"#,
            "reply_code: actions[0].reply.code: 450 with deny at queue"
        ),
        (
            .connect, #""verdict":"ok","actions":[{"op":"session.client_name","value":"a b"}]"#,
            "value_invalid: actions[0].value: no host name"
        ),
        (.auth, #""verdict":"done""#, "challenge_missing: actions: no auth.challenge"),
    ])
    func `a violation names its place`(hook: Hook, members: String, expected: String) throws {
        let line = Array(#"{"type":"verdict","id":7,\#(members)}"#.utf8)
        guard case .verdict(7, let result) = try WorkerMessage.decode(line) else {
            Issue.record("no verdict")
            return
        }
        let violation: ProtocolViolation? =
            switch result {
            case .failure(let violation): violation
            case .success(let verdict):
                verdict.violation(for: hook, hasTransaction: hook != .connect, allowsUTF8: false)
            }
        #expect(violation?.description == expected)
    }

    @Test func `a verdict that cannot be read still tells its plugin`() throws {
        let line = Array(#"{"type":"verdict","id":7,"verdict":"yes","plugin":"p"}"#.utf8)
        guard case .verdict(7, .failure(let violation)) = try WorkerMessage.decode(line) else {
            Issue.record("no failure")
            return
        }
        #expect(violation.plugin == "p" && violation.inAction(3).plugin == "p")
    }
}
