import JSON
import ProtocolTables
import Testing

@testable import PolicyProtocol

/// What a worker writes, a frontend reads: ``WorkerLine`` against ``WorkerMessage``.
@Suite struct WorkerLineTests {
    /// Every message of a worker, in each of its shapes.
    static let messages: [WorkerMessage] =
        Self.hellos.map { .hello(.success($0)) }
        + (Self.verdicts + Self.acting).map { .verdict(id: $0.id, .success($0)) }
        + [
            .error(id: 1, started: true, code: "exception", plugin: "a", message: "\u{e4}\n\""),
            .error(id: 2, started: false, code: "overloaded", plugin: nil, message: ""),
            .progress(id: 3, hook: .queue, extendMS: nil),
            .progress(id: 4, hook: nil, extendMS: 1),
            .progress(id: 9_007_199_254_740_991, hook: .data_post, extendMS: 5_000),
            .ping(-3), .pong,
            .drain(reason: "stopping"), .drain(reason: ""),
            .bye(code: "drained", message: "all answered"), .bye(code: "stopping", message: ""),
            .bye(code: "timeout", message: "no welcome"), .bye(code: "bad_frame", message: "x"),
        ]

    private static let hellos: [WorkerHello] = {
        let smallest = WorkerHello(
            pool: "p",
            name: "w",
            instance: "",
            version: "",
            pid: 0,
            concurrency: 0,
            maximumFrameOctets: 65_536
        )
        var largest = smallest
        largest.instance = "mx1:4711"
        largest.version = "1.2"
        largest.sdk = "PolicyKit/1"
        largest.pid = 4_711
        largest.concurrency = 65_535
        largest.maximumFrameOctets = 16_777_216
        largest.goesAhead = true
        largest.extensions = .all
        largest.plugins = ["b", "a"]
        for hook in Hook.allCases { largest.hooks[hook] = WorkerHello.HookRequest() }
        largest.hooks[.rcpt] = WorkerHello.HookRequest(needs: [.recipients, .trace])
        largest.hooks[.queue] = WorkerHello.HookRequest(
            needs: [.headers, .message],
            isIdempotent: true
        )
        largest.hooks[.mail] = WorkerHello.HookRequest(isObserver: true)
        return [smallest, largest]
    }()

    private static let verdicts: [PolicyVerdict] = Verdict.allCases.flatMap { word in
        let bare = PolicyVerdict(id: 1, verdict: word)
        var full = bare
        full.hook = .queue_pre
        full.plugin = "a/b c~"
        full.reply = PolicyReply(code: 250, status: "2.0.0", text: ["one", "\u{e4} \"two\""])
        full.sessionNotes = .object(["a": .null, "b": .array([.int(1), .double(0.5)])])
        full.transactionNotes = .object(["c": .object(["d": .bool(true)])])
        full.trace = [
            PluginAnswer(plugin: "x", verdict: .declined, microseconds: 0),
            PluginAnswer(plugin: "a/b c~", verdict: word, microseconds: 12),
        ]
        var coded = bare
        coded.reply = PolicyReply(code: 550, text: [])
        return [bare, full, coded]
    }

    /// A verdict with each action: those of the table, and the shapes that it does not have.
    private static let acting: [PolicyVerdict] =
        (HookTableTests.actions.sorted { $0.key < $1.key }.map(\.value) + [
            .addHeader(name: Array("X".utf8), value: [0x20, 0xFF, 0x00], atTop: false),
            .setClientName(nil), .setRelay(false), .replaceSender(address: []),
            .refuseRecipient(
                id: 2,
                verdict: .denysoft,
                reply: PolicyReply(code: 450, status: "4.7.1", text: ["ä"])
            ),
        ]).map { action in
            var verdict = PolicyVerdict(id: 7, verdict: .declined)
            verdict.actions = [action]
            return verdict
        }

    /// The line of a message that was read, without its LF; `nil` for one that was wrong.
    private static func line(of message: WorkerMessage) throws -> [UInt8]? {
        var writer = JSONWriter()
        switch message {
        case .hello(.success(let hello)): WorkerLine.hello(hello, into: &writer)
        case .verdict(_, .success(let verdict)): WorkerLine.verdict(verdict, into: &writer)
        case .hello(.failure), .verdict(_, .failure): return nil
        case .error(let id, let started, let code, let plugin, let message):
            WorkerLine.error(
                id: id,
                started: started,
                code: code,
                plugin: plugin,
                message: message,
                into: &writer
            )
        case .progress(let id, let hook, let extendMS):
            WorkerLine.progress(id: id, hook: hook, extendMS: extendMS, into: &writer)
        case .ping(let number): WorkerLine.ping(number, into: &writer)
        case .pong: WorkerLine.pong(1, into: &writer)
        case .drain("stopping"): WorkerLine.drain(.stopping, into: &writer)
        case .drain(let reason):
            WorkerLine.drain(reason: reason.isEmpty ? nil : reason, into: &writer)
        case .bye(let code, let message):
            if let code = WorkerLine.ByeCode(rawValue: code) {
                WorkerLine.bye(code, message: message, into: &writer)
            } else {
                let code = try #require(ViolationCode(rawValue: code))
                WorkerLine.bye(ProtocolViolation(code, message), into: &writer)
            }
        }
        #expect(writer.octets.last == 0x0A && !writer.octets.dropLast().contains(0x0A))
        return writer.octets.dropLast()
    }

    @Test(arguments: Self.messages)
    func `a message is read as it was written`(message: WorkerMessage) throws {
        let line = try #require(try Self.line(of: message))
        #expect(try WorkerMessage.decode(line) == message)
        #expect(try WorkerMessage.decodeInFull(line) == message)
    }

    @Test func `every message of a worker and every action is written`() throws {
        var types: Set<String> = []
        var operations: Set<String> = []
        for message in Self.messages {
            let line = try JSONValue(parsing: try #require(try Self.line(of: message)))
            types.insert(try line.text("type"))
            guard case .array(let actions)? = line["actions"] else { continue }
            for action in actions { operations.insert(try action.text("op")) }
        }
        let ours = ProtocolTables.object("messages").filter { $0.value != .string("frontend") }
        #expect(types == Set(ours.keys))
        #expect(operations == Set(ProtocolTables.words("actions")))
    }

    /// Every line of a worker in the transcripts that a frontend takes means the same when it is
    /// written again.
    @Test(arguments: (try? Transcript.all()) ?? [])
    func `a line of a transcript means the same when it is written again`(
        transcript: Transcript
    ) throws {
        for step in transcript.steps {
            guard step["from"] == .string("worker"), let line = step["line"],
                let message = try? WorkerMessage.decode(line.encoded),
                let written = try Self.line(of: message)
            else { continue }
            #expect(try WorkerMessage.decode(written) == message)
        }
    }

    @Test func `a text that is too long is cut where a character ends`() throws {
        let limit = ProtocolTables.limit("free_text")
        let text = String(repeating: "\u{1F600}", count: limit + 1)
        let cut = String(repeating: "\u{1F600}", count: limit)
        let error = WorkerMessage.error(
            id: 1,
            started: true,
            code: "exception",
            plugin: nil,
            message: text
        )
        let bye = WorkerMessage.bye(code: "drained", message: text)
        let errorLine = try #require(try Self.line(of: error))
        let byeLine = try #require(try Self.line(of: bye))
        #expect(try JSONValue(parsing: errorLine)["message"] == .string(cut))
        #expect(try JSONValue(parsing: byeLine)["message"] == .string(cut))
    }
}
