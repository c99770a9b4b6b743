package import JSON

/// The lines of a frontend that carry no event: what ``FrontendMessage`` reads.
package enum FrontendLine {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// Why a frontend does not take a worker (protocol/README.md §3).
    package enum RejectCode: String, Sendable, CaseIterable {
        case protocol_unsupported
        case pool_unknown
        case user_denied
        case bad_hello
        case pool_full
        case quarantined
    }

    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// Why a frontend ends a connection itself (protocol/README.md §9).
    package enum ByeCode: String, Sendable, CaseIterable {
        case shutdown
        case slow_reader
        case zombie
        case quarantined
    }

    /// Why a worker gets no more events: it asked for that, or the frontend stops.
    package enum DrainReason: String, Sendable, CaseIterable {
        case requested
        case shutdown
    }

    package static func welcome(
        frontendID: String,
        version: String,
        hostname: String,
        connection: String,
        maximumFrameOctets: Int,
        concurrency: Int,
        spool: String,
        into writer: inout JSONWriter
    ) {
        writer.beginMessage("welcome")
        writer.member("protocol", WorkerHello.protocolVersion)
        writer.key("frontend")
        writer.beginObject()
        writer.member("id", frontendID)
        writer.member("version", version)
        writer.member("hostname", hostname)
        writer.endObject()
        writer.member("connection", connection)
        writer.member("max_frame", Int64(maximumFrameOctets))
        writer.member("concurrency", Int64(concurrency))
        writer.member("spool", spool)
        writer.key("limits")
        writer.beginObject()
        writer.member("notes_octets", Int64(PolicyVerdict.maximumNotesOctets))
        writer.member("actions", Int64(PolicyVerdict.maximumActions))
        writer.member("reply_lines", Int64(PolicyVerdict.maximumReplyLines))
        writer.endObject()
        writer.endMessage()
    }

    package static func reject(
        _ code: RejectCode,
        message: String,
        retryMS: Int64,
        into writer: inout JSONWriter
    ) {
        writer.beginMessage("reject")
        writer.member("code", code.rawValue)
        writer.member("message", message)
        writer.member("retry_ms", retryMS)
        writer.endMessage()
    }

    package static func cancel(id: Int64, reason: String, into writer: inout JSONWriter) {
        writer.beginMessage("cancel")
        writer.member("id", id)
        writer.member("reason", reason)
        writer.endMessage()
    }

    /// Tells a worker that its answer to the event `id` was invalid, and why.
    package static func violation(
        _ violation: ProtocolViolation,
        id: Int64,
        hook: Hook,
        plugin: String?,
        into writer: inout JSONWriter
    ) {
        writer.beginMessage("violation")
        writer.member("id", id)
        writer.member("hook", word: hook.word)
        if let plugin { writer.member("plugin", plugin) }
        writer.member("violation", violation.code.rawValue)
        writer.member("message", violation.detail)
        writer.endMessage()
    }

    package static func ping(_ number: Int64, into writer: inout JSONWriter) {
        writer.message("ping", number)
    }

    package static func pong(_ number: Int64, into writer: inout JSONWriter) {
        writer.message("pong", number)
    }

    package static func drain(_ reason: DrainReason, into writer: inout JSONWriter) {
        writer.beginMessage("drain")
        writer.member("reason", reason.rawValue)
        writer.endMessage()
    }

    package static func bye(_ code: ByeCode, message: String, into writer: inout JSONWriter) {
        writer.bye(code.rawValue, message: message)
    }

    /// The worker broke the protocol.
    package static func bye(_ violation: ProtocolViolation, into writer: inout JSONWriter) {
        writer.bye(violation.code.rawValue, message: violation.detail)
    }
}
