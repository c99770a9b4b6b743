package import JSON

/// The lines of a frontend that carry no event.
package enum FrontendLine {
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
        self.begin("welcome", &writer)
        writer.key("protocol")
        writer.int(WorkerHello.protocolVersion)
        writer.key("frontend")
        writer.beginObject()
        writer.key("id")
        writer.string(frontendID)
        writer.key("version")
        writer.string(version)
        writer.key("hostname")
        writer.string(hostname)
        writer.endObject()
        writer.key("connection")
        writer.string(connection)
        writer.key("max_frame")
        writer.int(Int64(maximumFrameOctets))
        writer.key("concurrency")
        writer.int(Int64(concurrency))
        writer.key("spool")
        writer.string(spool)
        writer.key("limits")
        writer.beginObject()
        writer.key("notes_octets")
        writer.int(65_536)
        writer.key("actions")
        writer.int(Int64(PolicyVerdict.maximumActions))
        writer.key("reply_lines")
        writer.int(Int64(PolicyVerdict.maximumReplyLines))
        writer.endObject()
        self.end(&writer)
    }

    package static func reject(
        code: String,
        message: String,
        retryMS: Int64,
        into writer: inout JSONWriter
    ) {
        self.begin("reject", &writer)
        writer.key("code")
        writer.string(code)
        writer.key("message")
        writer.string(message)
        writer.key("retry_ms")
        writer.int(retryMS)
        self.end(&writer)
    }

    package static func cancel(id: Int64, reason: String, into writer: inout JSONWriter) {
        self.begin("cancel", &writer)
        writer.key("id")
        writer.int(id)
        writer.key("reason")
        writer.string(reason)
        self.end(&writer)
    }

    package static func ping(_ number: Int64, into writer: inout JSONWriter) {
        self.begin("ping", &writer)
        writer.key("n")
        writer.int(number)
        self.end(&writer)
    }

    package static func pong(_ number: Int64, into writer: inout JSONWriter) {
        self.begin("pong", &writer)
        writer.key("n")
        writer.int(number)
        self.end(&writer)
    }

    package static func drain(reason: String, into writer: inout JSONWriter) {
        self.begin("drain", &writer)
        writer.key("reason")
        writer.string(reason)
        self.end(&writer)
    }

    package static func bye(code: String, message: String, into writer: inout JSONWriter) {
        self.begin("bye", &writer)
        writer.key("code")
        writer.string(code)
        writer.key("message")
        writer.string(message)
        self.end(&writer)
    }

    private static func begin(_ type: String, _ writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("type")
        writer.string(type)
    }

    private static func end(_ writer: inout JSONWriter) {
        writer.endObject()
        writer.newline()
    }
}
