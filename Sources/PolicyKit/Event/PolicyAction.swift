import JSON

/// A change that a plugin wants made.
package enum PolicyAction: Sendable, Equatable {
    case addHeader(name: Bytes, value: Bytes, atTop: Bool)
    case setHeader(id: Int64, value: Bytes)
    case deleteHeader(id: Int64)
    case deleteHeaders(name: Bytes)
    case addRecipient(address: Bytes)
    case removeRecipient(id: Int64)
    case replaceRecipient(id: Int64, address: Bytes)
    case replaceSender(address: Bytes)
    case replaceMessage(path: String)
    case setRelay(Bool)
    case setClientName(Bytes)
    case delayReply(milliseconds: Int64)
}

extension PolicyAction {
    /// Writes the action as it stands in a verdict.
    func encode(into writer: inout JSONWriter) {
        writer.beginObject()
        switch self {
        case .addHeader(let name, let value, let atTop):
            writer.operation("header.add")
            writer.member("name", name)
            writer.member("value", value)
            if !atTop { writer.member("at", "bottom") }

        case .setHeader(let id, let value):
            writer.operation("header.set")
            writer.member("id", id)
            writer.member("value", value)

        case .deleteHeader(let id):
            writer.operation("header.delete")
            writer.member("id", id)

        case .deleteHeaders(let name):
            writer.operation("header.delete_all")
            writer.member("name", name)

        case .addRecipient(let address):
            writer.operation("recipient.add")
            writer.member("address", address)

        case .removeRecipient(let id):
            writer.operation("recipient.remove")
            writer.member("id", id)

        case .replaceRecipient(let id, let address):
            writer.operation("recipient.replace")
            writer.member("id", id)
            writer.member("address", address)

        case .replaceSender(let address):
            writer.operation("sender.replace")
            writer.member("address", address)

        case .replaceMessage(let path):
            writer.operation("message.replace")
            writer.member("path", Bytes(path))

        case .setRelay(let value):
            writer.operation("session.relay")
            writer.key("value")
            writer.bool(value)

        case .setClientName(let name):
            writer.operation("session.client_name")
            writer.member("value", name)

        case .delayReply(let milliseconds):
            writer.operation("reply.delay")
            writer.member("ms", milliseconds)
        }
        writer.endObject()
    }
}

extension JSONWriter {
    fileprivate mutating func operation(_ name: String) {
        self.key("op")
        self.string(name)
    }

    mutating func member(_ key: StaticString, _ octets: Bytes) {
        self.key(key)
        self.bytes(octets.octets)
    }

    mutating func member(_ key: StaticString, _ number: Int64) {
        self.key(key)
        self.int(number)
    }

    mutating func member(_ key: StaticString, word: StaticString) {
        self.key(key)
        self.word(word)
    }

    mutating func member(_ key: StaticString, _ text: String) {
        self.key(key)
        self.string(text)
    }
}
