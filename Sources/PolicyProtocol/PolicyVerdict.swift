package import JSON

/// What a worker answered to an event.
package struct PolicyVerdict: Sendable, Equatable {
    package var id: Int64
    package var verdict: Verdict
    /// What it is about, if not the event's own hook: one of those `ahead`.
    package var hook: Hook?
    /// The plugin that decided, if the worker said.
    package var plugin: String?
    package var reply: PolicyReply?
    /// Merge patches; `nil` leaves the scope alone.
    package var sessionNotes: JSONValue?
    package var transactionNotes: JSONValue?
    package var actions: [PolicyAction] = []
    package var trace: [PluginAnswer] = []

    package init(id: Int64, verdict: Verdict) {
        self.id = id
        self.verdict = verdict
    }

    /// Whether it changes anything beside giving an answer.
    package var hasEffects: Bool {
        self.sessionNotes != nil || self.transactionNotes != nil || !self.actions.isEmpty
    }
}

/// What one plugin of a worker answered, and how long it took.
package struct PluginAnswer: Sendable, Equatable {
    package var plugin: String
    package var verdict: Verdict
    package var microseconds: Int64

    package init(plugin: String, verdict: Verdict, microseconds: Int64) {
        self.plugin = plugin
        self.verdict = verdict
        self.microseconds = microseconds
    }
}

/// A change that a worker wants made; all of a verdict's are made, or none.
package enum PolicyAction: Sendable, Equatable {
    case addHeader(name: [UInt8], value: [UInt8], atTop: Bool)
    case setHeader(id: Int, value: [UInt8])
    case deleteHeader(id: Int)
    case deleteHeaders(name: [UInt8])
    case addRecipient(address: [UInt8])
    case removeRecipient(id: Int)
    case replaceRecipient(id: Int, address: [UInt8])
    /// The recipient does not get the message, and its client is told so with a reply of its own.
    ///
    /// `verdict` is `deny` or `denysoft`.
    case refuseRecipient(id: Int, verdict: Verdict, reply: PolicyReply?)
    case replaceSender(address: [UInt8])
    /// A file name in the pool's `out/` folder.
    case replaceMessage(path: String)
    case setRelay(Bool)
    /// `nil`: the client has no name.
    case setClientName([UInt8]?)
    case delayReply(milliseconds: Int64)
    /// What the client is to answer, and what the worker wants back with that answer.
    case challenge([UInt8], state: [UInt8])
}
