import JSON
import PolicyProtocol

/// An event as it came on a line, each part parsed when a plugin asks for it.
struct WirePicture: EventPicture, Sendable {
    /// 0 for a notification.
    let id: Int64
    private(set) var hook: Hook
    /// Whether ``hook`` is not the event's own, but one that was ahead.
    private(set) var isAhead = false
    let key: String
    let attempt: Int
    /// What the plugins of ``hook`` may take: a little less than the frontend waits, so that it still
    /// hears who was too slow.
    private(set) var pluginTime: Duration
    private let text: JSONObjectText

    /// A notification's, which has no deadline of its own.
    private static let notificationTime = Duration.seconds(60)

    init(_ line: EventLine) {
        self.id = line.id
        self.hook = line.hook
        self.text = line.text
        self.key = line.key
        self.attempt = line.attempt
        self.pluginTime = line.deadlineMS.map { Self.pluginTime($0) } ?? Self.notificationTime
    }

    /// The same picture at the next of the hooks ahead; `nil` after the last.
    ///
    /// What cannot be read is not followed: then the frontend asks.
    var next: Self? {
        guard let ahead = try? self.text.object("ahead") else { return nil }
        for hook in self.hook.following {
            guard let item = ahead[hook.word], let milliseconds = try? item.int() else { continue }
            var next = self
            next.hook = hook
            next.isAhead = true
            next.pluginTime = Self.pluginTime(milliseconds)
            return next
        }
        return nil
    }

    private static func pluginTime(_ milliseconds: Int64) -> Duration {
        let milliseconds = max(0, milliseconds)
        return .milliseconds(milliseconds - min(milliseconds / 20, 250))
    }

    func session() throws -> SessionSnapshot {
        try SessionSnapshot(try WireObject(self.text).requiredObject("session"))
    }

    func transaction() throws -> TransactionSnapshot? {
        try WireObject(self.text).object("transaction").map { try TransactionSnapshot($0) }
    }

    func recipients() throws -> [Recipient] {
        try self.list("recipients").map { try Recipient(try WireObject($0)) }
    }

    func headers() throws -> [HeaderField] {
        try self.list("headers").map { item in
            let field = try WireObject(item)
            return HeaderField(
                id: try field.int("id"),
                name: try field.requiredBytes("name"),
                space: try field.bytes("space") ?? "",
                value: try field.requiredBytes("value")
            )
        }
    }

    /// A list of the transaction that is there only for who asked, and only if it fitted.
    private func list(_ name: StaticString) throws -> JSONListText {
        let line = WireObject(self.text)
        guard let list = try line.object("transaction")?.list(name) else {
            let isElided = try line.list("elided")?.contains { $0.equals(name) } ?? false
            throw PluginError(
                isElided
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
        return try list.map { TraceEntry(try $0.value()) }
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
        Sender(try WireAddress(try self.asked().requiredObject("sender")))
    }

    func recipient() throws -> Recipient {
        try Recipient(try self.asked().requiredObject("recipient"))
    }

    func octets(_ argument: StaticString) throws -> Bytes {
        try self.arguments().requiredBytes(argument)
    }

    func value(_ argument: StaticString) throws -> JSONValue? {
        try self.arguments().value(argument)
    }

    /// The arguments of what was asked: at `deny` and `ok` those of the hook that ended.
    private func asked() throws -> WireObject {
        let arguments = try self.arguments()
        guard self.hook == .deny || self.hook == .ok else { return arguments }
        return try arguments.requiredObject("args")
    }

    private func arguments() throws -> WireObject {
        try WireObject(self.text).requiredObject("args")
    }
}
