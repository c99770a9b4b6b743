import JSON

extension PolicyAction {
    /// Writes the action as it stands in a verdict.
    func encode(into writer: inout JSONWriter) {
        writer.beginObject()
        switch self {
        case .addHeader(let name, let value, let atTop):
            writer.member("op", word: "header.add")
            writer.member("name", octets: name)
            writer.member("value", octets: value)
            if !atTop { writer.member("at", word: "bottom") }

        case .setHeader(let id, let value):
            writer.member("op", word: "header.set")
            writer.member("id", Int64(id))
            writer.member("value", octets: value)

        case .deleteHeader(let id):
            writer.member("op", word: "header.delete")
            writer.member("id", Int64(id))

        case .deleteHeaders(let name):
            writer.member("op", word: "header.delete_all")
            writer.member("name", octets: name)

        case .addRecipient(let address):
            writer.member("op", word: "recipient.add")
            writer.member("address", octets: address)

        case .removeRecipient(let id):
            writer.member("op", word: "recipient.remove")
            writer.member("id", Int64(id))

        case .replaceRecipient(let id, let address):
            writer.member("op", word: "recipient.replace")
            writer.member("id", Int64(id))
            writer.member("address", octets: address)

        case .refuseRecipient(let id, let verdict, let reply):
            writer.member("op", word: "recipient.refuse")
            writer.member("id", Int64(id))
            writer.member("verdict", word: verdict.word)
            if let reply {
                writer.key("reply")
                reply.encode(into: &writer)
            }

        case .replaceSender(let address):
            writer.member("op", word: "sender.replace")
            writer.member("address", octets: address)

        case .replaceMessage(let path):
            writer.member("op", word: "message.replace")
            writer.member("path", path)

        case .setRelay(let value):
            writer.member("op", word: "session.relay")
            writer.key("value")
            writer.bool(value)

        case .setClientName(let name):
            writer.member("op", word: "session.client_name")
            writer.key("value")
            if let name { writer.bytes(name) } else { writer.null() }

        case .delayReply(let milliseconds):
            writer.member("op", word: "reply.delay")
            writer.member("ms", milliseconds)

        case .challenge(let challenge, let state):
            writer.member("op", word: "auth.challenge")
            writer.member("challenge", octets: challenge)
            writer.member("state", octets: state)
        }
        writer.endObject()
    }
}
