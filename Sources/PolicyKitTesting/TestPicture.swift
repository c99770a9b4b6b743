import PolicyKit

/// The picture that a frontend would send, made of values.
struct TestPicture: EventPicture {
    var isAhead: Bool { false }
    let hook: Hook
    let key: String
    let attempt = 1
    let needs: Needs
    let givenSession: SessionSnapshot
    let givenTransaction: TransactionSnapshot?
    let givenRecipients: [Recipient]
    let givenHeaders: [HeaderField]
    let givenTrace: [TraceEntry]
    let sessionNotes: [String: JSONValue]
    let transactionNotes: [String: JSONValue]
    let givenSender: Sender?
    let givenRecipient: Recipient?
    let arguments: [String: Bytes]
    let facts: [String: JSONValue]

    func session() throws -> SessionSnapshot { self.givenSession }

    func transaction() throws -> TransactionSnapshot? { self.givenTransaction }

    func recipients() throws -> [Recipient] {
        try self.part(self.givenRecipients, .recipients, "recipients")
    }

    func headers() throws -> [HeaderField] {
        try self.part(self.givenHeaders, .headers, "headers")
    }

    func trace() throws -> [TraceEntry] {
        try self.part(self.givenTrace, .trace, "trace")
    }

    func notes(_ scope: NoteScope) throws -> [String: JSONValue] {
        switch scope {
        case .session: self.sessionNotes
        case .transaction: self.transactionNotes
        }
    }

    func sender() throws -> Sender { try self.argument(self.givenSender, "sender") }

    func recipient() throws -> Recipient { try self.argument(self.givenRecipient, "recipient") }

    func octets(_ argument: StaticString) throws -> Bytes {
        try self.argument(self.arguments["\(argument)"], "\(argument)")
    }

    func value(_ argument: StaticString) throws -> JSONValue? {
        self.facts["\(argument)"] ?? self.arguments["\(argument)"].map { .string($0.description) }
    }

    /// What only a plugin that asked for it gets.
    private func part<Value>(_ value: Value, _ need: Needs, _ name: String) throws -> Value {
        guard self.needs.contains(need) else {
            throw PluginError("\(name) was not sent: the plugin's subscription does not need it")
        }
        return value
    }

    private func argument<Value>(_ value: Value?, _ name: String) throws -> Value {
        guard let value else { throw PluginError("there is no argument \(name) at \(self.hook)") }
        return value
    }
}
