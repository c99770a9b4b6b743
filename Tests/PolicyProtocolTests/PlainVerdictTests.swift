import JSON
import PolicyProtocol
import Testing

/// The short way through a verdict says what the strict check says, of every line.
@Suite struct PlainVerdictTests {
    private static let lines = [
        #"{"type":"verdict","id":81234,"verdict":"declined"}"#,
        #"{"type":"verdict","id":1,"verdict":"ok","plugin":"rcpt_ok"}"#,
        #"{"type":"verdict","id":7,"verdict":"deny","trace":[{"plugin":"a","verdict":"ok","us":0}]}"#,
        #"{"type":"verdict","id":7,"verdict":"denysoft_disconnect","plugin":"a/b c~","#
            + #""trace":[{"plugin":"x","verdict":"declined","us":12},"#
            + #"{"plugin":"","verdict":"deny_disconnect","us":310}]}"#,
        #"{"type":"verdict","id":9007199254740991,"verdict":"denysoft"}"#,
        #"{"type":"verdict","id":9007199254740992,"verdict":"done"}"#,
        #"{"type":"verdict","id":999999999999999,"verdict":"done"}"#,
        #"{"type":"verdict","id":01,"verdict":"ok"}"#,
        #"{"type":"verdict","id":0,"verdict":"ok"}"#,
        #"{"type":"verdict","id":-1,"verdict":"ok"}"#,
        #"{"type":"verdict","id":1,"verdict":"ok","verdict":"deny"}"#,
        #"{"type":"verdict","id":1,"verdict":"ok","trace":[]}"#,
        #"{"type":"verdict","id":1,"verdict":"ok","trace":[{"plugin":"a","verdict":"ok","us":01}]}"#,
        #"{"type":"verdict","id":1,"verdict":"ok","plugin":"\u0061é"}"#,
        #"{"type":"verdict","id":1,"verdict":"ok"}x"#,
        #"{"type":"verdict","id":12,"hook":"queue","verdict":"ok","plugin":"maildir"}"#,
        #"{"type":"verdict","id":12,"hook":"data_post_headers","verdict":"declined"}"#,
        #"{"type":"progress","id":12,"hook":"queue"}"#,
        #"{"type":"progress","id":12,"hook":"data_post"}"#,
        #"{"type":"progress","id":12,"hook":"queue_pre","extend_ms":5}"#,
    ]

    private enum Said: Equatable {
        case message(WorkerMessage)
        case violation(ProtocolViolation)
    }

    private func said(_ body: () throws(ProtocolViolation) -> WorkerMessage) -> Said {
        do throws(ProtocolViolation) { return .message(try body()) } catch {
            return .violation(error)
        }
    }

    private func check(_ line: [UInt8]) {
        for wantsTrace in [false, true] {
            let short = self.said { () throws(ProtocolViolation) in
                try WorkerMessage.decode(line, wantsTrace: wantsTrace)
            }
            let full = self.said { () throws(ProtocolViolation) in
                try WorkerMessage.decodeInFull(line, wantsTrace: wantsTrace)
            }
            #expect(short == full, "\(String(decoding: line, as: UTF8.self))")
        }
    }

    @Test(arguments: lines)
    func `a line, cut anywhere and with any octet changed, means the same either way`(
        text: String
    ) {
        let line = Array(text.utf8)
        self.check(line)
        for place in line.indices {
            self.check(Array(line[..<place]))
            for octet in Array("\"\\0189,:}]a _\u{1}".utf8) + [0x00, 0x7F, 0xC3, 0xFF] {
                var changed = line
                changed[place] = octet
                self.check(changed)
                changed = line
                changed.insert(octet, at: place)
                self.check(changed)
            }
        }
    }

    @Test(arguments: [127, 128, 129])
    func `a name of 128 characters passes, one of 129 does not`(count: Int) throws {
        let name = String(repeating: "n", count: count)
        let line = Array(#"{"type":"verdict","id":1,"verdict":"ok","plugin":"\#(name)"}"#.utf8)
        self.check(line)
        guard case .verdict(_, let result) = try WorkerMessage.decode(line) else {
            Issue.record("no verdict")
            return
        }
        #expect((try? result.get().plugin) == (count <= 128 ? name : nil))
    }

    @Test(arguments: [1, 256, 257])
    func `a trace of 256 entries passes, one of 257 does not`(count: Int) throws {
        let entry = #"{"plugin":"a","verdict":"ok","us":1}"#
        let trace = [String](repeating: entry, count: count).joined(separator: ",")
        let line = Array(#"{"type":"verdict","id":1,"verdict":"ok","trace":[\#(trace)]}"#.utf8)
        self.check(line)
        guard case .verdict(_, let result) = try WorkerMessage.decode(line, wantsTrace: false)
        else {
            Issue.record("no verdict")
            return
        }
        #expect(((try? result.get()) != nil) == (count <= 256))
    }
}

/// Words that are known by their octets.
@Suite struct SpelledHookTests {
    private func hook(_ text: String) throws -> Hook? {
        let line = try JSONObjectText(Array(#"{"hook":\#(text)}"#.utf8))
        return line["hook"].flatMap { Hook(spelled: $0) }
    }

    @Test(arguments: Hook.allCases)
    func `a hook is known by its word, escaped or not, and by nothing else`(hook: Hook) throws {
        let word = hook.rawValue
        #expect(try self.hook(#""\#(word)""#) == hook)
        let first = try #require(word.utf8.first)
        let escaped = #"\u00\#(String(first, radix: 16))\#(word.dropFirst())"#
        #expect(try self.hook(#""\#(escaped)""#) == hook)
        #expect(try self.hook(#""\#(word)x""#) == nil)
        #expect(try self.hook(#"["\#(word)"]"#) == nil)
        #expect(HookSet(hook).contains(hook))
    }
}
