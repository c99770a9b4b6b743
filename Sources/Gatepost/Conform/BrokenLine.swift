/// A line after which a worker says bye and closes.
struct BrokenLine {
    let name: String
    /// The code of the bye.
    let code: String
    let octets: [UInt8]
    /// Whether every worker finds it; if not, many parsers of JSON hide it.
    let isMust: Bool

    private init(_ name: String, _ code: String, _ text: String, isMust: Bool = true) {
        self.init(name, code, Array(text.utf8), isMust: isMust)
    }

    private init(_ name: String, _ code: String, _ octets: [UInt8], isMust: Bool = true) {
        self.name = name
        self.code = code
        self.octets = octets + [0x0A]
        self.isMust = isMust
    }

    static let all = [
        Self("a line that is no JSON", "bad_frame", "hello"),
        Self("an object that is cut short", "bad_frame", #"{"type":"ping","n":1"#),
        Self("a list", "bad_frame", #"[{"type":"ping","n":1}]"#),
        Self(
            "octets that are no UTF-8",
            "bad_frame",
            Array(#"{"type":"ping","n":1,"x":""#.utf8) + [0xFF, 0x22, 0x7D],
            isMust: false
        ),
        Self("a type that is unknown", "unknown_type", #"{"type":"nod","n":1}"#),
        Self("an object without a type", "unknown_type", #"{"n":1}"#),
        Self(
            "a message of the worker's own",
            "unexpected_message",
            #"{"type":"verdict","id":1,"verdict":"ok"}"#
        ),
        Self(
            "a second welcome",
            "unexpected_message",
            #"{"type":"welcome","protocol":1,"frontend":{"id":"a","version":"0","hostname":"a"},"#
                + #""connection":"w1","max_frame":65536,"concurrency":1,"spool":"/tmp","#
                + #""limits":{"notes_octets":65536,"actions":256,"reply_lines":20}}"#
        ),
        Self("a ping without n", "bad_message", #"{"type":"ping"}"#),
        Self("an event without an id", "bad_message", #"{"type":"event","hook":"rcpt"}"#),
        Self(
            "a key that is there twice",
            "bad_frame",
            #"{"type":"ping","n":1,"n":2}"#,
            isMust: false
        ),
        Self("1.0 for an integer", "bad_message", #"{"type":"ping","n":1.0}"#, isMust: false),
        Self(
            "a lone surrogate",
            "bad_frame",
            #"{"type":"ping","n":1,"x":"\ud800"}"#,
            isMust: false
        ),
        Self("NaN", "bad_frame", #"{"type":"ping","n":1,"x":NaN}"#, isMust: false),
        Self("U+0000 in a key", "bad_frame", #"{"type":"ping","n":1,"\u0000":1}"#, isMust: false),
        Self(
            "33 levels of nesting",
            "bad_frame",
            #"{"type":"ping","n":1,"x":"# + String(repeating: "[", count: 32)
                + String(repeating: "]", count: 32) + "}",
            isMust: false
        ),
    ]
}
