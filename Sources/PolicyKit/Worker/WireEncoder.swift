import JSON
import NIOCore
import PolicyProtocol

/// Writes a worker's lines into one buffer, which is sent at the end of a loop's turn.
struct WireEncoder {
    /// The most octets of a free text.
    private static let maximumTextOctets = 1_024
    /// The largest buffer that is kept for the next lines.
    private static let keptOctets = 262_144

    fileprivate var writer = JSONWriter()
    /// The longest line that the frontend accepts.
    var peerMaximumFrameOctets = 65_536

    mutating func writeHello(_ service: WorkerService) {
        self.begin("hello")
        self.writer.key("protocol")
        self.writer.beginArray()
        self.writer.int(1)
        self.writer.int(1)
        self.writer.endArray()
        self.writer.member("pool", service.pool)
        self.writer.key("worker")
        self.writer.beginObject()
        self.writer.member("name", service.identity.name)
        self.writer.member("instance", service.identity.instance)
        self.writer.member("version", service.identity.version)
        self.writer.member("sdk", service.identity.sdk)
        self.writer.member("pid", service.identity.pid)
        self.writer.endObject()
        self.writer.member("concurrency", Int64(service.concurrency))
        self.writer.member("max_frame", Int64(service.maximumFrameOctets))
        self.writer.key("ahead")
        self.writer.bool(true)
        self.writer.key("plugins")
        self.writer.beginArray()
        for name in service.pluginNames {
            self.writer.string(name)
        }
        self.writer.endArray()
        self.writer.key("hooks")
        self.writer.beginObject()
        for hook in Hook.allCases {
            guard let chain = service.chains[hook] else { continue }
            self.writeHook(hook, chain)
        }
        self.writer.endObject()
        self.end()
    }

    private mutating func writeHook(_ hook: Hook, _ chain: HookChain) {
        self.writer.key(hook.word)
        self.writer.beginObject()
        if !chain.needs.isEmpty {
            self.writer.key("needs")
            self.writer.beginArray()
            for name in chain.needs.words {
                self.writer.string(name)
            }
            self.writer.endArray()
        }
        if chain.isObserver {
            if chain.isObserved {
                self.writer.key("observe")
                self.writer.bool(true)
            }
        } else if chain.isIdempotent {
            self.writer.key("idempotent")
            self.writer.bool(true)
        }
        self.writer.endObject()
    }

    /// Writes a verdict with everything that the chain wants changed.
    ///
    /// - Returns: What is wrong with it, and then nothing is written; else `nil`.
    mutating func writeVerdict(
        _ id: Int64,
        _ answer: Answer,
        _ plugin: String?,
        _ context: HookContext
    ) -> String? {
        let start = self.writer.octets.count
        self.begin("verdict")
        self.writer.member("id", id)
        if context.isAhead { self.writer.member("hook", word: context.hook.word) }
        self.writer.member("verdict", word: answer.verdict.word)
        if let plugin {
            self.writer.member("plugin", plugin)
        }
        if let reply = answer.reply {
            self.writeReply(reply)
        }
        self.writeNotes(context)
        let actions = context.actions
        if !actions.isEmpty {
            self.writer.key("actions")
            self.writer.beginArray()
            for action in actions {
                action.encode(into: &self.writer)
            }
            self.writer.endArray()
        }
        self.writeTrace(context.ownTrace)
        self.end()
        let length = self.writer.octets.count - start
        guard length > self.peerMaximumFrameOctets else { return nil }
        self.writer.truncate(to: start)
        return "a verdict of \(length) octets is more than the frontend accepts"
    }

    private mutating func writeReply(_ reply: PolicyReply) {
        self.writer.key("reply")
        self.writer.beginObject()
        if let code = reply.code {
            self.writer.member("code", Int64(code))
        }
        if let status = reply.status {
            self.writer.member("status", status)
        }
        if !reply.text.isEmpty {
            self.writer.key("text")
            self.writer.beginArray()
            for line in reply.text {
                self.writer.string(line)
            }
            self.writer.endArray()
        }
        self.writer.endObject()
    }

    private mutating func writeNotes(_ context: HookContext) {
        guard !context.sessionPatch.isEmpty || !context.transactionPatch.isEmpty else { return }
        self.writer.key("notes")
        self.writer.beginObject()
        if !context.sessionPatch.isEmpty {
            self.writer.key("session")
            JSONValue.object(context.sessionPatch).encode(into: &self.writer)
        }
        if !context.transactionPatch.isEmpty {
            self.writer.key("transaction")
            JSONValue.object(context.transactionPatch).encode(into: &self.writer)
        }
        self.writer.endObject()
    }

    private mutating func writeTrace(_ trace: [TraceEntry]) {
        guard !trace.isEmpty else { return }
        self.writer.key("trace")
        self.writer.beginArray()
        for entry in trace {
            self.writer.beginObject()
            self.writer.member("plugin", entry.plugin ?? "")
            self.writer.member("verdict", word: (entry.verdict ?? .declined).word)
            self.writer.member("us", entry.microseconds)
            self.writer.endObject()
        }
        self.writer.endArray()
    }

    mutating func writeError(
        _ id: Int64,
        _ code: ErrorCode,
        plugin: String?,
        _ message: String
    ) {
        self.begin("error")
        self.writer.member("id", id)
        self.writer.member("code", code.rawValue)
        self.writer.key("started")
        self.writer.bool(code.isStarted)
        if let plugin {
            self.writer.member("plugin", plugin)
        }
        self.writer.member("message", Self.bounded(message))
        self.end()
    }

    mutating func writeProgress(_ id: Int64, _ milliseconds: Int64) {
        self.begin("progress")
        self.writer.member("id", id)
        self.writer.member("extend_ms", milliseconds)
        self.end()
    }

    /// The event is one of `hook` now.
    mutating func writeProgress(_ id: Int64, hook: Hook) {
        self.begin("progress")
        self.writer.member("id", id)
        self.writer.member("hook", word: hook.word)
        self.end()
    }

    mutating func writePong(_ number: Int64) {
        self.begin("pong")
        self.writer.member("n", number)
        self.end()
    }

    mutating func writeDrain(reason: String?) {
        self.begin("drain")
        if let reason {
            self.writer.member("reason", reason)
        }
        self.end()
    }

    mutating func writeBye(_ code: String, _ message: String) {
        self.begin("bye")
        self.writer.member("code", code)
        self.writer.member("message", Self.bounded(message))
        self.end()
    }

    /// How much waits to be taken.
    var outputOctets: Int { self.writer.octets.count }

    /// Everything written so far as a buffer to send; `nil` if there is nothing.
    mutating func takeOutput(_ allocator: ByteBufferAllocator) -> ByteBuffer? {
        guard !self.writer.octets.isEmpty else { return nil }
        let buffer = allocator.buffer(bytes: self.writer.octets)
        if self.writer.octets.count > Self.keptOctets {
            self.writer = JSONWriter()
        } else {
            self.writer.removeAll()
        }
        return buffer
    }

    private mutating func begin(_ type: StaticString) {
        self.writer.beginObject()
        self.writer.key("type")
        self.writer.word(type)
    }

    private mutating func end() {
        self.writer.endObject()
        self.writer.newline()
    }

    /// A text short enough for the protocol, cut where a character ends.
    private static func bounded(_ text: String) -> String {
        guard text.unicodeScalars.count > Self.maximumTextOctets else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.prefix(Self.maximumTextOctets)))
    }
}

extension HookContext {
    /// What a frontend finds wrong with `answer` and what the chain wants changed, the header's ids
    /// apart; `nil` if nothing: for tests.
    package func violation(of answer: Answer) -> String? {
        var encoder = WireEncoder()
        encoder.peerMaximumFrameOctets = 1_048_576
        if let problem = encoder.writeVerdict(1, answer, self.plugin, self) { return problem }
        do throws(ProtocolViolation) {
            let line = Array(encoder.writer.octets.dropLast())
            guard case .verdict(_, let result) = try WorkerMessage.decode(line) else { return nil }
            return try result.get().violation(
                for: self.hook,
                hasTransaction: self.transaction != nil,
                allowsUTF8: false
            )?.description
        } catch {
            return error.description
        }
    }
}

extension Needs {
    /// The words of `hello`.
    fileprivate var words: [String] {
        let words: [(Needs, String)] = [
            (.recipients, "recipients"), (.headers, "headers"), (.message, "message"),
            (.trace, "trace"),
        ]
        return words.filter { self.contains($0.0) }.map(\.1)
    }
}
