import JSON
import PolicyProtocol
import Testing

/// Every golden transcript of which the frontend plays a part, read as the frontend reads it: a line at
/// a time, an octet at a time, and all that the worker says in one piece.
@Suite struct GoldenTests {
    static let transcripts = ((try? Transcript.all()) ?? []).filter { $0.side != "worker" }

    enum Splitting: CaseIterable {
        case lines
        case octets
        case together
    }

    @Test func `there are transcripts`() {
        #expect(Self.transcripts.count >= 120)
    }

    @Test(arguments: transcripts, Splitting.allCases)
    func `the frontend makes of each line what the transcript says`(
        transcript: Transcript,
        splitting: Splitting
    ) throws {
        var replay = FrontendReplay(transcript)
        try replay.run(splitting)
    }

    /// Rules that need the session's state: the frontend's own tests hold them.
    static let judgedWithState: Set<String> = [
        "unknown_header", "unknown_recipient", "address_invalid", "too_many_recipients",
        "no_recipients",
        "file_refused", "hook_not_reached",
    ]

    /// Those that show what a later version may add have members that this one does not write.
    @Test(arguments: transcripts.filter { !$0.name.contains("unknown-fields") })
    func `what the frontend says about itself is written as the transcripts show`(
        transcript: Transcript
    ) throws {
        for step in transcript.steps {
            guard step["from"] == .string("frontend"), let line = step["line"] else { continue }
            guard let written = try Self.written(line) else { continue }
            #expect(try JSONValue(parsing: written) == line)
        }
    }

    /// The line that ``FrontendLine`` writes from the values of `line`; `nil` for events.
    private static func written(_ line: JSONValue) throws -> [UInt8]? {
        var writer = JSONWriter()
        func int(_ key: String) -> Int64 {
            if case .int(let value)? = line[key] { value } else { -1 }
        }
        switch try line.text("type") {
        case "welcome":
            FrontendLine.welcome(
                frontendID: try #require(line["frontend"]).text("id"),
                version: try #require(line["frontend"]).text("version"),
                hostname: try #require(line["frontend"]).text("hostname"),
                connection: try line.text("connection"),
                maximumFrameOctets: Int(int("max_frame")),
                concurrency: Int(int("concurrency")),
                spool: try line.text("spool"),
                into: &writer
            )
        case "reject":
            FrontendLine.reject(
                try #require(FrontendLine.RejectCode(rawValue: try line.text("code"))),
                message: try line.text("message"),
                retryMS: int("retry_ms"),
                into: &writer
            )
        case "cancel":
            FrontendLine.cancel(id: int("id"), reason: try line.text("reason"), into: &writer)
        case "pong": FrontendLine.pong(int("n"), into: &writer)
        case "drain":
            let reason = FrontendLine.DrainReason(rawValue: try line.text("reason"))
            FrontendLine.drain(try #require(reason), into: &writer)
        case "bye":
            guard line["message"] != nil else { return nil }
            let message = try line.text("message")
            if let code = FrontendLine.ByeCode(rawValue: try line.text("code")) {
                FrontendLine.bye(code, message: message, into: &writer)
            } else {
                let code = try #require(ViolationCode(rawValue: try line.text("code")))
                FrontendLine.bye(ProtocolViolation(code, message), into: &writer)
            }
        default: return nil
        }
        #expect(writer.octets.last == 0x0A)
        return writer.octets.dropLast()
    }
}

/// One transcript, read by the frontend's half of the protocol.
struct FrontendReplay {
    private let transcript: Transcript
    /// What is known of an event, which is all that a verdict's validity depends on.
    private struct Asked {
        let hook: Hook
        let hasTransaction: Bool
        let allowsUTF8: Bool
    }

    private enum Heard {
        case message(WorkerMessage)
        case violation(ProtocolViolation)
    }

    private var asked: [Int64: Asked] = [:]
    private var isGreeted = false

    init(_ transcript: Transcript) { self.transcript = transcript }

    mutating func run(_ splitting: GoldenTests.Splitting) throws {
        var limit = 65_536
        for step in self.transcript.steps where step["line"]?["type"] == .string("welcome") {
            if case .int(let size)? = step["line"]?["max_frame"] { limit = Int(size) }
        }
        let steps = self.transcript.steps.filter { $0["from"] == .string("worker") }
        let pieces = try steps.map { try Transcript.octets(of: $0) }
        let heard = Self.hear(
            splitting == .together ? [Array(pieces.joined())] : pieces,
            limit,
            splitting
        )
        var next = heard.messages.makeIterator()
        for step in self.transcript.steps {
            if let line = step["line"], step["from"] == .string("frontend") {
                try self.noteEvent(line)
            } else if step["from"] == .string("worker") {
                if try step["expect"]?.string == "frame_cut" {
                    #expect(next.next() == nil)
                    #expect(heard.isMidFrame)
                    continue
                }
                guard let one = next.next() else {
                    Issue.record("nothing was heard of \(step)")
                    return
                }
                try self.hold(one, to: step)
            }
        }
        #expect(next.next() == nil)
    }

    private static func hear(
        _ pieces: [[UInt8]],
        _ limit: Int,
        _ splitting: GoldenTests.Splitting
    ) -> (messages: [Heard], isMidFrame: Bool) {
        var decoder = FrameDecoder(maximumFrameOctets: limit)
        var messages: [Heard] = []
        func receive(_ octets: UnsafeRawBufferPointer) -> Bool {
            do throws(FrameTooLong) {
                try decoder.receive(octets) { line in
                    do throws(ProtocolViolation) {
                        messages.append(.message(try WorkerMessage.decode(line)))
                        return true
                    } catch {
                        messages.append(.violation(error))
                        return false
                    }
                }
            } catch {
                messages.append(.violation(ProtocolViolation(.frame_too_long)))
            }
            if case .violation? = messages.last { return false }
            return true
        }
        for piece in pieces {
            let isOpen = piece.withUnsafeBytes { bytes in
                guard splitting == .octets else { return receive(bytes) }
                return bytes.indices.allSatisfy {
                    receive(UnsafeRawBufferPointer(rebasing: bytes[$0...$0]))
                }
            }
            guard isOpen else { break }
        }
        return (messages, decoder.isMidFrame)
    }

    private mutating func noteEvent(_ line: JSONValue) throws {
        guard line["type"] == .string("event"), case .int(let id)? = line["id"],
            let hook = Hook(rawValue: try line.text("hook"))
        else { return }
        let sender = line["args"]?["sender"] ?? line["transaction"]?["sender"] ?? .null
        var allowsUTF8 = false
        if case .array(let parameters)? = sender["params"] {
            allowsUTF8 = parameters.contains(.array([.string("SMTPUTF8"), .null]))
        }
        self.asked[id] = Asked(
            hook: hook,
            hasTransaction: line["transaction"] != nil,
            allowsUTF8: allowsUTF8
        )
    }

    private mutating func hold(_ heard: Heard, to step: JSONValue) throws {
        let expected = try step["expect"]?.string
        let violation = try step["violation"]?.string
        let wasGreeted = self.isGreeted
        switch (heard, expected) {
        case (.violation(let error), let expected?):
            guard wasGreeted else {
                #expect(expected == "bad_hello")
                return
            }
            #expect(error.code.rawValue == expected)
            if let violation { #expect(error.detail.hasPrefix(violation), "\(error)") }
        case (.violation(let error), nil): Issue.record("\(error): \(step)")
        case (.message(.hello(let hello)), _): self.hold(hello, to: expected)
        case (.message, let expected) where !wasGreeted: #expect(expected == "bad_hello")
        case (.message(.verdict(let id, let result)), _):
            self.hold(id, result, expected, violation)
        case (.message(.error(_, let started, _, _, _)), let expected?):
            let isOver = ["duplicate_answer", "late_answer", "unknown_id"].contains(expected)
            #expect(isOver || expected == (started ? "worker_error" : "not_started"))
        case (.message(.progress), let expected):
            #expect(expected == nil || expected == "stale_progress")
        case (.message(let message), let expected): #expect(expected == nil, "\(message)")
        }
    }

    private mutating func hold(_ hello: Result<WorkerHello, HelloRefusal>, to expected: String?) {
        switch hello {
        case .success(let hello):
            if self.isGreeted {
                #expect(expected == "unexpected_message")
            } else {
                #expect(expected == (hello.pool == "policy" ? nil : "pool_unknown"))
            }
            self.isGreeted = true
        case .failure(let refusal): #expect(refusal.code.rawValue == expected, "\(refusal)")
        }
    }

    private func hold(
        _ id: Int64,
        _ result: Result<PolicyVerdict, ProtocolViolation>,
        _ expected: String?,
        _ violation: String?
    ) {
        guard expected == nil || expected == "invalid_verdict" else { return }
        guard let asked = self.asked[id] else {
            Issue.record("no event \(id)")
            return
        }
        let found: ProtocolViolation? =
            switch result {
            case .failure(let error): error
            case .success(let verdict):
                verdict.violation(
                    for: asked.hook,
                    hasTransaction: asked.hasTransaction,
                    allowsUTF8: asked.allowsUTF8
                )
            }
        guard !GoldenTests.judgedWithState.contains(violation ?? "") else {
            #expect(found == nil)
            return
        }
        #expect(found?.code.rawValue == violation, "event \(id): \(found?.detail ?? "")")
    }
}
