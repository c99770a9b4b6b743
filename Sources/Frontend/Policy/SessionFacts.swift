import Configuration
import JSON
import NIOCore
import PolicyProtocol
import SMTPCore

/// What is known of a session outside a transaction, and its JSON.
///
/// Everything but the counters changes rarely, so its text is kept until something does: an event
/// then costs a copy instead of a dozen fields.
struct SessionFacts {
    let id: String
    let listener: String
    /// Unix milliseconds.
    let startedMS: Int64
    let clientIP: String
    let clientPort: Int
    let serverIP: String
    let serverPort: Int
    var clientName: String? { didSet { self.fixedText = nil } }
    /// `HELO` or `EHLO`, and the name that came with it.
    var hello: (verb: String, name: [UInt8])? { didSet { self.fixedText = nil } }
    var isRelay = false { didSet { self.fixedText = nil } }
    var isEarlyTalker = false {
        didSet { if self.isEarlyTalker != oldValue { self.fixedText = nil } }
    }

    /// The members before `counters`, with the opening brace.
    private var fixedText: [UInt8]?

    init(
        id: String,
        listener: String,
        startedMS: Int64,
        client: SocketAddress?,
        server: SocketAddress?
    ) {
        self.id = id
        self.listener = listener
        self.startedMS = startedMS
        self.clientIP = Self.address(client)
        self.clientPort = client?.port ?? 0
        self.serverIP = Self.address(server)
        self.serverPort = server?.port ?? 0
    }

    /// The address as policy sees it: IPv4 in IPv6 is IPv4.
    private static func address(_ address: SocketAddress?) -> String {
        guard let text = address?.ipAddress else { return "0.0.0.0" }
        return IPAddress(parsing: text).map { "\($0)" } ?? text
    }

    /// Writes the `session` object of an event.
    mutating func encode(counters: AbuseMeter, into writer: inout JSONWriter) {
        let fixed = self.fixedText ?? self.encodeFixedText()
        self.fixedText = fixed
        writer.rawOpenObject(fixed)
        writer.key("counters")
        writer.beginObject()
        writer.key("commands")
        writer.int(Int64(clamping: counters.commands))
        writer.key("errors")
        writer.int(Int64(clamping: counters.errors))
        writer.key("unrecognized")
        writer.int(Int64(clamping: counters.unrecognized))
        writer.key("transactions")
        writer.int(Int64(clamping: counters.transactions))
        writer.key("rcpt_ok")
        writer.int(Int64(clamping: counters.recipientsGranted))
        writer.key("rcpt_denied")
        writer.int(Int64(clamping: counters.recipientsRefused))
        writer.endObject()
        writer.endObject()
    }

    private func encodeFixedText() -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("id")
        writer.string(self.id)
        writer.key("listener")
        writer.string(self.listener)
        writer.key("started_ms")
        writer.int(self.startedMS)
        writer.key("client")
        Self.encodeEndpoint(
            self.clientIP,
            self.clientPort,
            name: .some(self.clientName),
            into: &writer
        )
        writer.key("server")
        Self.encodeEndpoint(self.serverIP, self.serverPort, name: nil, into: &writer)
        writer.key("proxy")
        writer.null()
        writer.key("hello")
        if let hello = self.hello {
            writer.beginObject()
            writer.key("verb")
            writer.string(hello.verb)
            writer.key("name")
            writer.bytes(hello.name)
            writer.endObject()
        } else {
            writer.null()
        }
        writer.key("tls")
        writer.null()
        writer.key("auth")
        writer.null()
        writer.key("relay")
        writer.bool(self.isRelay)
        writer.key("early_talker")
        writer.bool(self.isEarlyTalker)
        return writer.octets
    }

    /// A `name` of `nil` leaves the member out; `.some(nil)` writes null.
    private static func encodeEndpoint(
        _ ip: String,
        _ port: Int,
        name: String??,
        into writer: inout JSONWriter
    ) {
        writer.beginObject()
        writer.key("ip")
        writer.string(ip)
        writer.key("port")
        writer.int(Int64(port))
        if let name {
            writer.key("name")
            if let name { writer.string(name) } else { writer.null() }
        }
        writer.endObject()
    }
}
