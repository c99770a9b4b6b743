package import JSON

/// An `event` or a `notify`: what every one has is read and checked, each other part is read when it
/// is wanted.
package struct EventLine: Sendable {
    /// 0 for a notification.
    package let id: Int64
    /// What is asked, or what it tells.
    package private(set) var hook: Hook
    /// Whether ``hook`` is not the event's own, but one that was ahead.
    package private(set) var isAhead = false
    /// Empty for a notification.
    package let key: String
    /// 1 for a notification.
    package let attempt: Int
    /// How long the frontend waits at ``hook``; `nil` for a notification.
    package private(set) var deadlineMS: Int64?
    package let text: JSONObjectText

    /// - Throws: If what every event has is missing, or of another type.
    init(_ text: JSONObjectText, id: Int64, hook: Hook) throws {
        let isEvent = id != 0
        let line = WireObject(text)
        self.id = id
        self.hook = hook
        self.text = text
        self.key = isEvent ? try line.requiredString("key") : ""
        self.attempt = isEvent ? try line.count("attempt") : 1
        self.deadlineMS = isEvent ? try line.int("deadline_ms") : nil
        try Self.requireObject(text, "args")
        if hook != .status {
            try Self.requireObject(text, "session")
            try Self.requireObject(text, "notes")
        }
    }

    private static func requireObject(_ text: JSONObjectText, _ key: StaticString) throws {
        guard text[key]?.isObject ?? false else { throw MissingMember(key: key) }
    }

    /// The same event at the next of the hooks ahead; `nil` after the last.
    ///
    /// What cannot be read is not followed: then the frontend asks.
    package var next: Self? {
        guard let ahead = try? self.text.object("ahead") else { return nil }
        for hook in self.hook.following {
            guard let item = ahead[hook.word], let milliseconds = try? item.int() else { continue }
            var next = self
            next.hook = hook
            next.isAhead = true
            next.deadlineMS = milliseconds
            return next
        }
        return nil
    }
}

// MARK: - Parts

extension EventLine {
    package func session() throws -> SessionSnapshot {
        try SessionSnapshot(try WireObject(self.text).requiredObject("session"))
    }

    package func transaction() throws -> TransactionSnapshot? {
        try WireObject(self.text).object("transaction").map { try TransactionSnapshot($0) }
    }

    package func recipients() throws -> [Recipient] {
        try self.list("recipients").map { try Recipient(try WireObject($0)) }
    }

    package func headers() throws -> [HeaderField] {
        try self.list("headers").map { try HeaderField(try WireObject($0)) }
    }

    /// A list of the transaction that is there only for a worker that needs it, and only if it fitted.
    private func list(_ name: StaticString) throws -> JSONListText {
        let line = WireObject(self.text)
        guard let list = try line.object("transaction")?.list(name) else {
            let isElided = try line.list("elided")?.contains { $0.equals(name) } ?? false
            throw MissingPart(name: name, isElided: isElided)
        }
        return list
    }

    package func trace() throws -> [TraceEntry] {
        guard let list = try WireObject(self.text).list("trace") else {
            throw MissingPart(name: "trace", isElided: false)
        }
        return try list.map { TraceEntry(try $0.value()) }
    }

    package func notes(_ scope: NoteScope) throws -> [String: JSONValue] {
        let notes = try WireObject(self.text).requiredObject("notes")
        let value =
            switch scope {
            case .session: try notes.value("session")
            case .transaction: try notes.value("transaction")
            }
        guard case .object(let members)? = value else { return [:] }
        return members
    }

    package func sender() throws -> Sender {
        Sender(try AddressParts(try self.asked().requiredObject("sender")))
    }

    package func recipient() throws -> Recipient {
        try Recipient(try self.asked().requiredObject("recipient"))
    }

    /// An argument of type Bytes.
    package func octets(_ argument: StaticString) throws -> Bytes {
        try self.arguments().requiredBytes(argument)
    }

    /// An argument of any type; `nil` if there is none.
    package func value(_ argument: StaticString) throws -> JSONValue? {
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

/// A part of the event that is sent only to a worker that needs it is not there.
package struct MissingPart: Error, CustomStringConvertible {
    package let name: StaticString
    /// Whether it was left out because the event would have been too long.
    package let isElided: Bool

    package var description: String {
        self.isElided
            ? "\(self.name) did not fit into the event"
            : "\(self.name) was not sent: the plugin's subscription does not need it"
    }
}
