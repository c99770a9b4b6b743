package import JSON

/// The lines of a worker: what ``WorkerMessage`` reads.
package enum WorkerLine {
    /// The most characters of a free text; longer ones are cut.
    static let maximumTextCharacters = 1_024

    /// Why a worker ends a connection itself (protocol/README.md §9).
    package enum ByeCode: String, Sendable, CaseIterable {
        case drained
        case stopping
        case timeout
    }

    /// Why a worker wants no more events.
    package enum DrainReason: String, Sendable, CaseIterable {
        case stopping
    }

    package static func hello(_ hello: WorkerHello, into writer: inout JSONWriter) {
        writer.beginMessage("hello")
        writer.key("protocol")
        writer.beginArray()
        writer.int(WorkerHello.protocolVersion)
        writer.int(WorkerHello.protocolVersion)
        writer.endArray()
        writer.member("pool", hello.pool)
        writer.key("worker")
        writer.beginObject()
        writer.member("name", hello.name)
        writer.member("instance", hello.instance)
        writer.member("version", hello.version)
        writer.member("sdk", hello.sdk)
        writer.member("pid", hello.pid)
        writer.endObject()
        writer.member("concurrency", Int64(hello.concurrency))
        writer.member("max_frame", Int64(hello.maximumFrameOctets))
        writer.key("ahead")
        writer.bool(hello.goesAhead)
        writer.key("violations")
        writer.bool(hello.wantsViolations)
        if !hello.extensions.isEmpty { writer.member("extensions", hello.extensions.keywords) }
        writer.member("plugins", hello.plugins)
        writer.key("hooks")
        writer.beginObject()
        for hook in Hook.allCases {
            guard let request = hello.hooks[hook] else { continue }
            writer.key(hook.word)
            self.write(request, into: &writer)
        }
        writer.endObject()
        writer.endMessage()
    }

    private static func write(_ request: WorkerHello.HookRequest, into writer: inout JSONWriter) {
        writer.beginObject()
        if !request.needs.isEmpty { writer.member("needs", request.needs.words) }
        if request.isObserver {
            writer.key("observe")
            writer.bool(true)
        }
        if request.isIdempotent {
            writer.key("idempotent")
            writer.bool(true)
        }
        writer.endObject()
    }

    package static func verdict(_ verdict: PolicyVerdict, into writer: inout JSONWriter) {
        writer.beginMessage("verdict")
        writer.member("id", verdict.id)
        if let hook = verdict.hook { writer.member("hook", word: hook.word) }
        writer.member("verdict", word: verdict.verdict.word)
        if let plugin = verdict.plugin { writer.member("plugin", plugin) }
        if let reply = verdict.reply { self.write(reply, into: &writer) }
        self.writeNotes(of: verdict, into: &writer)
        if !verdict.actions.isEmpty {
            writer.key("actions")
            writer.beginArray()
            for action in verdict.actions { action.encode(into: &writer) }
            writer.endArray()
        }
        if !verdict.trace.isEmpty { self.write(verdict.trace, into: &writer) }
        writer.endMessage()
    }

    private static func write(_ reply: PolicyReply, into writer: inout JSONWriter) {
        writer.key("reply")
        reply.encode(into: &writer)
    }

    private static func writeNotes(of verdict: PolicyVerdict, into writer: inout JSONWriter) {
        guard verdict.sessionNotes != nil || verdict.transactionNotes != nil else { return }
        writer.key("notes")
        writer.beginObject()
        if let patch = verdict.sessionNotes {
            writer.key("session")
            patch.encode(into: &writer)
        }
        if let patch = verdict.transactionNotes {
            writer.key("transaction")
            patch.encode(into: &writer)
        }
        writer.endObject()
    }

    private static func write(_ trace: [PluginAnswer], into writer: inout JSONWriter) {
        writer.key("trace")
        writer.beginArray()
        for entry in trace {
            writer.beginObject()
            writer.member("plugin", entry.plugin)
            writer.member("verdict", word: entry.verdict.word)
            writer.member("us", entry.microseconds)
            writer.endObject()
        }
        writer.endArray()
    }

    /// Says that there is no verdict; `started` false: the event was not begun and can go elsewhere.
    package static func error(
        id: Int64,
        started: Bool,
        code: String,
        plugin: String? = nil,
        message: String,
        into writer: inout JSONWriter
    ) {
        writer.beginMessage("error")
        writer.member("id", id)
        writer.member("code", code)
        writer.key("started")
        writer.bool(started)
        if let plugin { writer.member("plugin", plugin) }
        writer.member("message", self.bounded(message))
        writer.endMessage()
    }

    /// Says that the event is one of `hook` now, that it takes `extendMS` longer (1 or more), or both.
    package static func progress(
        id: Int64,
        hook: Hook? = nil,
        extendMS: Int64? = nil,
        into writer: inout JSONWriter
    ) {
        writer.beginMessage("progress")
        writer.member("id", id)
        if let hook { writer.member("hook", word: hook.word) }
        if let extendMS { writer.member("extend_ms", extendMS) }
        writer.endMessage()
    }

    package static func ping(_ number: Int64, into writer: inout JSONWriter) {
        writer.message("ping", number)
    }

    package static func pong(_ number: Int64, into writer: inout JSONWriter) {
        writer.message("pong", number)
    }

    package static func drain(_ reason: DrainReason, into writer: inout JSONWriter) {
        self.drain(reason: reason.rawValue, into: &writer)
    }

    /// The answer to a frontend's `drain`, with its reason.
    package static func drain(reason: String?, into writer: inout JSONWriter) {
        writer.beginMessage("drain")
        if let reason { writer.member("reason", reason) }
        writer.endMessage()
    }

    package static func bye(
        _ code: ByeCode,
        message: String,
        into writer: inout JSONWriter
    ) {
        writer.bye(code.rawValue, message: self.bounded(message))
    }

    /// The frontend broke the protocol.
    package static func bye(_ violation: ProtocolViolation, into writer: inout JSONWriter) {
        writer.bye(violation.code.rawValue, message: self.bounded(violation.detail))
    }

    /// A text short enough for the protocol, cut where a character ends.
    private static func bounded(_ text: String) -> String {
        guard text.unicodeScalars.count > self.maximumTextCharacters else { return text }
        return String(
            String.UnicodeScalarView(text.unicodeScalars.prefix(self.maximumTextCharacters))
        )
    }
}

extension PolicyReply {
    /// Writes the reply as it stands in a verdict.
    func encode(into writer: inout JSONWriter) {
        writer.beginObject()
        if let code = self.code { writer.member("code", Int64(code)) }
        if let status = self.status { writer.member("status", status) }
        if let lines = self.lines { writer.member("text", lines) }
        writer.endObject()
    }
}
