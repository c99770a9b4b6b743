import Octets
package import PolicyKit

/// A message in the quarantine: what is known of it beside its octets.
///
/// As a file it is one JSON object (`ID.json`), beside the message (`ID.eml`).
package struct QuarantineEntry: Sendable, Equatable {
    /// The most octets of a file that is read as an entry.
    static let maximumOctets = 4_194_304

    /// The name of its files without their endings: letters, digits, `-`, `_` and `.`.
    package let id: String
    /// When it was stored, in Unix seconds.
    package var storedAt: Int64 = 0
    /// Why, in one line; not the client's words.
    package var reason = ""
    /// The octets of the message.
    package var octets: Int64 = 0
    /// The name under which the frontend logged the message.
    package var queueID = ""
    /// The session's id.
    package var session = ""
    /// The client's address.
    package var clientIP = ""
    /// The name that the client gave; `nil` if it gave none.
    package var hello: Bytes?
    /// The user who logged in; `nil` if none did.
    package var user: Bytes?
    /// The reverse-path; empty for the null reverse-path.
    package var sender = Bytes("")
    /// The parameters of MAIL that belong to the message: `BODY=8BITMIME`.
    package var parameters: [String] = []
    /// The envelope's recipients, each with its parameters of RCPT.
    package var recipients: [(address: Bytes, parameters: [String])] = []

    init(id: String) { self.id = id }

    package static func == (one: Self, other: Self) -> Bool { one.json == other.json }

    /// Whether `text` may be an id: what a file's name is made of, and no way out of the folder.
    static func isID(_ text: String) -> Bool {
        (1...200).contains(text.utf8.count) && !text.hasPrefix(".")
            && text.utf8.allSatisfy(self.isIDOctet)
    }

    /// The id for the key of an event: the same at each try.
    static func id(of key: String) -> String {
        let octets = key.utf8.prefix(200).map { self.isIDOctet($0) ? $0 : UInt8(ascii: "_") }
        let id = String(decoding: octets, as: UTF8.self)
        return id.isEmpty || id.hasPrefix(".") ? "_\(id)" : id
    }

    private static func isIDOctet(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
        default: false
        }
    }
}

// MARK: JSON

extension QuarantineEntry {
    /// What stands in the file.
    var text: [UInt8] {
        var writer = JSONWriter()
        self.json.encode(into: &writer)
        return writer.octets + [0x0A]
    }

    private var json: JSONValue {
        var members: [String: JSONValue] = [
            "stored": .int(self.storedAt), "reason": .string(self.reason),
            "octets": .int(self.octets), "queue_id": .string(self.queueID),
            "session": .string(self.session), "client": .string(self.clientIP),
            "sender": Self.json(self.sender),
            "parameters": self.parameters.json,
            "recipients": .array(
                self.recipients.map {
                    .object(["address": Self.json($0.address), "parameters": $0.parameters.json])
                }
            ),
        ]
        members["hello"] = self.hello.map(Self.json)
        members["user"] = self.user.map(Self.json)
        return .object(members)
    }

    /// Reads what ``text`` wrote; `nil` if the octets are something else.
    init?(id: String, text: [UInt8]) {
        let line = text.last == 0x0A ? Array(text.dropLast()) : text
        guard let object = try? JSONObjectText(line), let sender = Self.bytes(object["sender"]),
            let storedAt = try? object.int("stored"), let list = try? object.list("recipients")
        else { return nil }
        self.init(id: id)
        for item in list {
            guard let recipient = try? item.object(),
                let address = Self.bytes(recipient["address"])
            else { return nil }
            self.recipients.append((address, Self.words(recipient, "parameters")))
        }
        self.storedAt = storedAt
        self.reason = (try? object.string("reason")) ?? ""
        self.octets = (try? object.int("octets")) ?? 0
        self.queueID = (try? object.string("queue_id")) ?? ""
        self.session = (try? object.string("session")) ?? ""
        self.clientIP = (try? object.string("client")) ?? ""
        self.hello = Self.bytes(object["hello"])
        self.user = Self.bytes(object["user"])
        self.sender = sender
        self.parameters = Self.words(object, "parameters")
    }

    /// As the protocol writes octets: text, or an object with base64 if they are no UTF-8.
    private static func json(_ bytes: Bytes) -> JSONValue {
        bytes.string.map { .string($0) }
            ?? .object(["b64": .string(Base64.encode(bytes.octets))])
    }

    private static func bytes(_ item: JSONItemText?) -> Bytes? {
        item.flatMap { try? $0.bytes() }.map { Bytes(octets: $0) }
    }

    private static func words(_ object: JSONObjectText, _ key: StaticString) -> [String] {
        guard let list = try? object.list(key) else { return [] }
        return list.compactMap { try? $0.string() }
    }
}

// MARK: The event

extension QuarantineEntry {
    /// What stands in an event of `queue`.
    init(_ event: QueueHook.QueueEvent, reason: String, octets: Int64) {
        self.init(id: Self.id(of: event.key))
        self.storedAt = event.nowMilliseconds / 1_000
        self.reason = reason
        self.octets = octets
        self.queueID = event.queueID
        self.session = event.session.id
        self.clientIP = event.session.client.ip
        self.hello = event.session.hello?.name
        self.user = event.session.authentication?.user
        self.sender = event.transaction.sender.address
        self.parameters = Self.kept(event.transaction.sender.params)
        self.recipients = event.recipients.map { ($0.address, Self.kept($0.params)) }
    }

    /// Without those that are about this transaction alone: when the message was to be released, how
    /// large it was, who logged in before.
    private static func kept(_ parameters: [ESMTPParameter]) -> [String] {
        let dropped: Set = ["SIZE", "AUTH", "HOLDFOR", "HOLDUNTIL"]
        return parameters.compactMap { parameter in
            guard !dropped.contains(parameter.keyword) else { return nil }
            guard let value = parameter.value else { return parameter.keyword }
            return value.string.map { "\(parameter.keyword)=\($0)" }
        }
    }

    /// The sender with its parameters.
    var envelopeSender: Sender {
        var sender = Sender(AddressParts(cutting: self.sender.octets))
        sender.params = self.parameters.map(ESMTPParameter.init(kept:))
        return sender
    }

    /// The recipients with their parameters.
    var envelopeRecipients: [Recipient] {
        self.recipients.enumerated().map { index, recipient in
            var result = Recipient(
                id: Int64(index + 1),
                AddressParts(cutting: recipient.address.octets)
            )
            result.params = recipient.parameters.map(ESMTPParameter.init(kept:))
            return result
        }
    }
}

extension ESMTPParameter {
    fileprivate init(kept text: String) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        self.init(
            keyword: parts.first.map { String($0) } ?? "",
            value: parts.count > 1 ? Bytes(String(parts[1])) : nil
        )
    }
}
