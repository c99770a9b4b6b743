import JSON

/// An event as it came on a line, each part parsed when a plugin asks for it.
struct WirePicture: EventPicture, Sendable {
    /// 0 for a notification.
    let id: Int64
    let hook: Hook
    let key: String
    let attempt: Int
    let deadline: Duration
    private let text: JSONObjectText

    /// A notification's, which has no deadline of its own.
    private static let notificationTime = Duration.seconds(60)

    /// - Throws: If what every event has is missing, or of another type.
    init(_ text: JSONObjectText, id: Int64, hook: Hook) throws {
        let isEvent = id != 0
        let line = WireObject(text)
        self.id = id
        self.hook = hook
        self.text = text
        self.key = isEvent ? try line.requiredString("key") : ""
        self.attempt = isEvent ? try line.count("attempt") : 1
        self.deadline =
            isEvent ? .milliseconds(max(0, try line.int("deadline_ms"))) : Self.notificationTime
        try Self.requireObject(text, "args")
        if hook != .status {
            try Self.requireObject(text, "session")
            try Self.requireObject(text, "notes")
        }
    }

    private static func requireObject(_ text: JSONObjectText, _ key: StaticString) throws {
        guard text.raw(key)?.first == UInt8(ascii: "{") else {
            throw PluginError("the event's member \(key) is missing or of another type")
        }
    }

    func session() throws -> SessionSnapshot {
        try SessionSnapshot(try WireObject(self.text).requiredObject("session"))
    }

    func transaction() throws -> TransactionSnapshot? {
        try WireObject(self.text).object("transaction").map { try TransactionSnapshot($0) }
    }

    func recipients() throws -> [Recipient] {
        try self.list("recipients").map { try Recipient($0) }
    }

    func headers() throws -> [HeaderField] {
        try self.list("headers").map { value in
            HeaderField(
                id: try value.int("id"),
                name: try value.bytes("name"),
                value: try value.bytes("value")
            )
        }
    }

    /// A list of the transaction that is there only for who asked, and only if it fitted.
    private func list(_ name: StaticString) throws -> [JSONValue] {
        let line = WireObject(self.text)
        guard let list = try line.object("transaction")?.list(name) else {
            let elided = try line.list("elided") ?? []
            throw PluginError(
                elided.contains(.string("\(name)"))
                    ? "\(name) did not fit into the event"
                    : "\(name) was not sent: the plugin's subscription does not need it"
            )
        }
        return list
    }

    func trace() throws -> [TraceEntry] {
        guard let list = try WireObject(self.text).list("trace") else {
            throw PluginError("trace was not sent: the plugin's subscription does not need it")
        }
        return list.map { TraceEntry($0) }
    }

    func notes(_ scope: NoteScope) throws -> [String: JSONValue] {
        let notes = try WireObject(self.text).requiredObject("notes")
        let value =
            switch scope {
            case .session: try notes.value("session")
            case .transaction: try notes.value("transaction")
            }
        guard case .object(let members)? = value else { return [:] }
        return members
    }

    func sender() throws -> Sender {
        Sender(try WireAddress(try self.arguments().requiredObject("sender")))
    }

    func recipient() throws -> Recipient {
        let recipient = try self.arguments().requiredObject("recipient")
        return Recipient(id: try recipient.int("id"), try WireAddress(recipient))
    }

    func octets(_ argument: StaticString) throws -> Bytes {
        try self.arguments().requiredBytes(argument)
    }

    func value(_ argument: StaticString) throws -> JSONValue? {
        try self.arguments().value(argument)
    }

    private func arguments() throws -> WireObject {
        try WireObject(self.text).requiredObject("args")
    }
}
