import PolicyProtocol

/// Events and notifications as a frontend writes them (protocol/events.md), for a worker that is tried.
struct SampleEvents {
    /// The message's file.
    let message: (path: String, octets: Int, bodyOffset: Int)

    /// The hooks that only tell.
    static let told: Set<Hook> = [
        .reset_transaction, .queue_post, .deny, .ok, .disconnect, .status,
    ]

    private static let inTransaction: Set<Hook> = [
        .mail, .rcpt, .data, .data_headers_end, .received_line, .data_post_headers, .data_post,
        .queue_pre, .queue, .reset_transaction, .queue_post,
    ]

    /// Whether an event of `hook` has a transaction here.
    static func hasTransaction(_ hook: Hook) -> Bool { self.inTransaction.contains(hook) }

    /// An event's line, with its LF.
    ///
    /// - Parameters:
    ///   - hook: One that is asked.
    ///   - id: The event's id.
    ///   - needs: The parts that the worker named.
    ///   - deadlineMS: Time left.
    ///   - more: Further members of the outer object, each followed by a comma.
    /// - Returns: The line.
    func event(
        _ hook: Hook,
        id: Int64,
        needs: Needs,
        deadlineMS: Int64 = 20_000,
        more: String = ""
    ) -> [UInt8] {
        Array(
            """
            {"type":"event",\(more)"id":\(id),"key":"01JD9X2T5QK7M3ZB.1.\(id)","hook":"\(hook.rawValue)",\
            "attempt":1,"deadline_ms":\(deadlineMS),\(self.picture(hook, needs))}

            """.utf8
        )
    }

    /// A notification's line, with its LF.
    func notification(_ hook: Hook, needs: Needs) -> [UInt8] {
        guard hook != .status else {
            return Array((#"{"type":"notify","hook":"status","args":"# + Self.status + "}\n").utf8)
        }
        return Array(
            #"{"type":"notify","hook":"\#(hook.rawValue)",\#(self.picture(hook, needs))}"#.utf8
        ) + [0x0A]
    }

    /// The same event as another writer may spell it: other order, white space, escapes, and octets in base64
    /// where a string would do; with members that version 1 does not have.
    func respelled(_ hook: Hook, id: Int64, needs: Needs) -> [UInt8] {
        let picture = self.picture(hook, needs)
            .replacing(
                #""address":"bob@example.net""#,
                with: #""address":{"b64":"Ym9iQGV4YW1wbGUubmV0"}"#
            )
            .replacing(
                #""listener":"mx""#,
                with: #""future":{"a":[1,null]},"l\u0069stener":"m\u0078""#
            )
            .replacing(#""notes":{"#, with: #""notes" : {"#)
        return Array(
            """
             { \(picture) , "future" : [ true , {} ] , "deadline_ms" : 20000 , "attempt":1,\t"hook":"\(hook.rawValue)",\
             "key":"k\(id)", "id" : \(id) , "type" : "event" } \r

            """.utf8
        )
    }

    private func picture(_ hook: Hook, _ needs: Needs) -> String {
        var parts = [Self.session(hook)]
        let has = Self.hasTransaction(hook)
        if has { parts.append(self.transaction(hook, needs)) }
        parts.append(#""args":"# + self.arguments(hook))
        parts.append(
            has ? #""notes":{"session":{"a":1},"transaction":{}}"# : #""notes":{"session":{"a":1}}"#
        )
        if needs.contains(.trace) { parts.append(#""trace":[]"#) }
        return parts.joined(separator: ",")
    }

    private static func session(_ hook: Hook) -> String {
        let hello = hook == .connect ? "null" : #"{"verb":"EHLO","name":"mail.example.net"}"#
        return #"""
            "session":{"id":"01JD9X2T5QK7M3ZB","listener":"mx","started_ms":1732322669123,\#
            "client":{"ip":"203.0.113.9","port":51512,"name":"mail.example.net"},\#
            "server":{"ip":"198.51.100.25","port":25},"proxy":null,"hello":\#(hello),"tls":null,"auth":null,\#
            "relay":false,"early_talker":false,"counters":{"commands":4,"errors":0,"unrecognized":0,\#
            "transactions":1,"rcpt_ok":1,"rcpt_denied":0}}
            """#
    }

    private static let sender =
        #"{"address":"bob@example.net","local":"bob","domain":"example.net","params":[["SIZE","4711"]]}"#
    private static let recipient =
        #"{"id":1,"address":"jo@example.org","local":"jo","domain":"example.org","params":[]}"#

    private func transaction(_ hook: Hook, _ needs: Needs) -> String {
        let hasRecipients = hook != .mail && hook != .rcpt
        var text = #""transaction":{"id":"01JD9X2T5QK7M3ZB.1","sender":"#
        text += hook == .mail ? "null" : Self.sender
        text += #","recipient_count":\#(hasRecipients ? 1 : 0)"#
        if needs.contains(.recipients) {
            text += #","recipients":[\#(hasRecipients ? Self.recipient : "")]"#
        }
        let late: Set<Hook> = [
            .data_headers_end, .received_line, .data_post_headers, .data_post, .queue_pre, .queue,
            .queue_post,
        ]
        if needs.contains(.headers), late.contains(hook) {
            text += #","headers":[{"id":1,"name":"From","value":" Bob <bob@example.net>"},"#
            text += #"{"id":2,"name":"Subject","value":{"b64":"IEdy/N9l"}}]"#
        }
        if needs.contains(.message), late.contains(hook), hook != .data_headers_end {
            text += #","message":{"path":"\#(self.message.path)","size":\#(self.message.octets),"#
            text += #""body_offset":\#(self.message.bodyOffset)}"#
        }
        return text + "}"
    }

    private func arguments(_ hook: Hook) -> String {
        switch hook {
        case .connect, .data, .data_headers_end, .data_post_headers, .data_post, .queue_pre, .quit:
            "{}"
        case .helo, .ehlo: #"{"name":"mail.example.net"}"#
        case .auth: #"{"mechanism":"PLAIN","user":"jo","password":"secret"}"#
        case .mail: #"{"sender":\#(Self.sender)}"#
        case .rcpt: #"{"recipient":\#(Self.recipient)}"#
        case .received_line: #"{"value":" from mail.example.net by mx1.example.org; x"}"#
        case .queue: #"{"queue_id":"01JD9X2T5QK7M3ZB.1"}"#
        case .vrfy: #"{"argument":"jo"}"#
        case .help, .noop: #"{"argument":null}"#
        case .unrecognized_command: #"{"command":"XYZZY","line":{"b64":"WFlaWlkg/wA="}}"#
        case .reset_transaction: #"{"reason":"rset"}"#
        case .queue_post: #"{"queue_id":"01JD9X2T5QK7M3ZB.1","reply":\#(Self.reply)}"#
        case .deny, .ok:
            #"""
            {"hook":"vrfy","args":{"argument":"jo"},"verdict":"\#(hook.rawValue)","plugin":"p","worker":"w",\#
            "pool":"p","failure":null,"reply":\#(Self.reply),"trace":[]}
            """#
        case .disconnect: #"{"reason":"quit","duration_ms":1834}"#
        case .status: Self.status
        }
    }

    private static let reply = #"{"code":250,"status":"2.0.0","text":["Queued"]}"#
    private static let status = #"""
        {"frontend":"conform","now_ms":1732322700000,"uptime_ms":3600000,"sessions":{"open":1,"opened":2},\#
        "spool":{"files":0,"octets":0},"pools":[]}
        """#
}
