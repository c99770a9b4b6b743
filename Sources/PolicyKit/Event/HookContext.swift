import Logging
import PolicyProtocol

/// One event while a worker's plugins answer it: what came, decoded when a plugin asks for it, and what
/// the plugins so far want changed.
///
/// Confined to the task that runs the chain. A part that was not sent, or that does not decode, is
/// remembered in ``failure`` and the accessor returns something empty: the chain then ends with an
/// error, so that nothing is ever decided on a picture with holes.
package final class HookContext {
    /// What the frontend sent.
    let picture: any EventPicture
    let hook: Hook
    /// Whether the event came for another hook, and this one was ahead.
    let isAhead: Bool
    let key: String
    let attempt: Int

    /// The plugin being asked: the name in logs, karma changes and flags.
    var plugin = ""
    /// Its logger.
    var pluginLogger: Logger
    private var begun = ContinuousClock.now
    /// What the plugins so far answered, and how long it took them.
    package private(set) var ownTrace: [PluginAnswer] = []
    /// The first thing that was asked for and is not there.
    package private(set) var failure: PluginError?
    /// What the plugins so far want done, in order; `nil` where a later one took it back.
    ///
    /// What the action at index *i* adds has the id −(*i* + 1) within this chain, so it never meets
    /// the frontend's ids, which are positive.
    private var recorded: [PolicyAction?] = []
    /// Some more than a verdict may have, for what is taken back again.
    private static let maximumRecorded = 2 * PolicyVerdict.maximumActions
    /// Where among them the message is replaced.
    private var replacementIndex: Int?
    /// Notes that the plugins so far have changed: a merge patch a scope.
    package private(set) var sessionPatch: [String: JSONValue] = [:]
    package private(set) var transactionPatch: [String: JSONValue] = [:]

    private(set) var environment: EventEnvironment
    private var decodedSession: SessionSnapshot?
    private var decodedTransaction: TransactionSnapshot??
    private var decodedRecipients: [Recipient]?
    private var decodedHeaders: [HeaderField]?
    private lazy var sessionNotes = self.decode([:]) { try $0.notes(.session) }
    private lazy var transactionNotes = self.decode([:]) { try $0.notes(.transaction) }

    package init(picture: any EventPicture, environment: EventEnvironment) {
        self.picture = picture
        self.hook = picture.hook
        self.isAhead = picture.isAhead
        self.key = picture.key
        self.attempt = picture.attempt
        self.environment = environment
        self.pluginLogger = environment.logger
    }

    /// The next plugin is about to be asked.
    func begin(_ plugin: String, _ logger: Logger) {
        self.plugin = plugin
        self.pluginLogger = logger
        self.begun = .now
    }

    /// The plugin that was asked has answered.
    func end(_ verdict: Verdict) {
        // Without a division of durations, which takes longer than most plugins.
        let (seconds, attoseconds) = self.begun.duration(to: .now).components
        self.ownTrace.append(
            PluginAnswer(
                plugin: self.plugin,
                verdict: verdict,
                microseconds: seconds * 1_000_000 + attoseconds / 1_000_000_000_000
            )
        )
    }

    // MARK: What came, as the plugins so far left it

    var session: SessionSnapshot {
        if let decodedSession { return decodedSession }
        var session = self.decode(.empty) { try $0.session() }
        for case .some(let action) in self.recorded {
            session.apply(action)
        }
        self.decodedSession = session
        return session
    }

    var transaction: TransactionSnapshot? {
        if let decodedTransaction { return decodedTransaction }
        var transaction = self.decode(nil) { try $0.transaction() }
        for case .some(let action) in self.recorded {
            transaction?.apply(action)
        }
        self.decodedTransaction = .some(transaction)
        return transaction
    }

    var recipients: [Recipient] {
        let all = self.allRecipients
        let isChanged = self.recorded.contains { $0?.concernsRecipients == true }
        return isChanged ? all.withoutRepeats() : all
    }

    private var allRecipients: [Recipient] {
        if let decodedRecipients { return decodedRecipients }
        var recipients = self.decode([]) { try $0.recipients() }
        for (index, action) in self.recorded.enumerated() {
            action.map { recipients.apply($0, newID: -1 - index) }
        }
        self.decodedRecipients = recipients
        return recipients
    }

    var headers: [HeaderField] {
        if let decodedHeaders { return decodedHeaders }
        var headers = self.decode([]) { try $0.headers() }
        for (index, action) in self.recorded.enumerated() {
            action.map { headers.apply($0, newID: -1 - index) }
        }
        self.decodedHeaders = headers
        return headers
    }

    var trace: [TraceEntry] {
        self.decode([]) { try $0.trace() } + self.ownTrace.map { TraceEntry($0) }
    }
    var sender: Sender { self.decode(.empty) { try $0.sender() } }
    var recipient: Recipient { self.decode(.empty) { try $0.recipient() } }
    var nowMilliseconds: Int64 { self.environment.nowMilliseconds }
    var outFolder: String { self.environment.outFolder }

    var remainingTime: Duration {
        max(.zero, ContinuousClock.now.duration(to: self.environment.deadline))
    }

    func extendTime(by duration: Duration) {
        self.environment.deadline += duration
        self.environment.link?.extend(self.environment.eventID, by: duration)
    }

    func octets(_ argument: StaticString) -> Bytes {
        self.decode(Bytes("")) { try $0.octets(argument) }
    }

    /// `nil` if the event does not have the argument.
    func octetsIfAny(_ argument: StaticString) -> Bytes? {
        self.decode(nil) { try $0.value(argument) == nil ? nil : try $0.octets(argument) }
    }

    func value<Value: NoteValue>(
        _ argument: StaticString,
        as type: Value.Type = Value.self
    ) -> Value? {
        self.decode(nil) { try $0.value(argument) }.flatMap { Value(json: $0) }
    }

    /// The current header fields and the file, or nothing.
    func wholeMessage() throws -> Message {
        let message = Message(
            headers: self.headers,
            file: self.required(self.transaction?.message, "transaction.message") ?? .empty
        )
        if let failure = self.failure { throw failure }
        return message
    }

    /// Looks whether everything that `needs` names is there.
    ///
    /// - Returns: The first part that is missing or cannot be read.
    func missingPart(of needs: Needs) -> PluginError? {
        _ = self.transaction
        if needs.contains(.recipients) { _ = self.recipients }
        if needs.contains(.headers) { _ = self.headers }
        if needs.contains(.message) {
            _ = self.required(self.transaction?.message, "transaction.message")
        }
        return self.failure
    }

    /// `value`, and a failure if there is none.
    func required<Value>(_ value: Value?, _ name: String) -> Value? {
        if value == nil {
            self.fail("the event has no \(name)")
        }
        return value
    }

    func notes(_ scope: NoteScope) -> [String: JSONValue] {
        switch scope {
        case .session: self.sessionNotes
        case .transaction: self.transactionNotes
        }
    }

    /// Sets a note, `nil` deletes it.
    func setNote(_ name: String, in scope: NoteScope, to value: JSONValue?) {
        let before = self.note(name, in: scope)
        let patch = Self.patch(from: before, to: value)
        switch scope {
        case .session:
            self.sessionNotes[name] = value
            self.sessionPatch[name] = patch
        case .transaction:
            self.transactionNotes[name] = value
            self.transactionPatch[name] = patch
        }
    }

    /// What a merge patch says for a member that was `before` and is to be `after`.
    ///
    /// The frontend's member is the one that came with the event, so a member changed twice is
    /// patched from there.
    private static func patch(from before: JSONValue?, to after: JSONValue?) -> JSONValue {
        guard let after else { return .null }
        guard let before else { return after }
        return before.mergePatch(to: after) ?? after
    }

    // MARK: Changes

    /// Everything that the plugins so far want done, in order.
    ///
    /// A replaced message comes first: the protocol wants it so, and nothing that is recorded before
    /// it depends on it.
    package var actions: [PolicyAction] {
        guard let index = self.replacementIndex, let replacement = self.recorded[index] else {
            return self.recorded.compactMap(\.self)
        }
        return [replacement] + self.recorded[..<index].compactMap(\.self)
            + self.recorded[(index + 1)...].compactMap(\.self)
    }

    /// Records an action, and makes it in what was decoded already.
    ///
    /// More than a verdict may have are a failure of the plugin, so that its work has a bound
    /// whatever the size of the message.
    func append(_ action: PolicyAction) {
        guard self.recorded.count < Self.maximumRecorded else {
            return self.fail("more than \(PolicyVerdict.maximumActions) actions")
        }
        if case .replaceMessage = action { self.dropHeaderActions() }
        self.recorded.append(action)
        let newID = -self.recorded.count
        self.decodedSession?.apply(action)
        self.decodedTransaction??.apply(action)
        self.decodedRecipients?.apply(action, newID: newID)
        self.decodedHeaders?.apply(action, newID: newID)
    }

    /// Another message takes this one's place, and what it has for a header: earlier changes of the
    /// header, and an earlier replacement, are without effect.
    private func dropHeaderActions() {
        for index in self.recorded.indices {
            switch self.recorded[index] {
            case .addHeader, .setHeader, .deleteHeader, .deleteHeaders, .replaceMessage:
                self.recorded[index] = nil
            default: break
            }
        }
        self.replacementIndex = self.recorded.count
    }

    /// Whether the message was replaced since this field was there: its id is over.
    func isReplaced(_ field: HeaderField) -> Bool {
        guard let index = self.replacementIndex else { return false }
        return field.id > -1 - Int64(index)
    }

    /// Records what is to become of something that an action of this chain has added, or of
    /// something that the frontend knows.
    ///
    /// - Parameters:
    ///   - id: What it is about.
    ///   - revised: The adding action as it would have been; `nil` takes it back.
    ///   - action: The action on what the frontend knows.
    func change(id: Int64, revised: (PolicyAction) -> PolicyAction?, otherwise action: PolicyAction)
    {
        guard id < 0 else { return self.append(action) }
        guard let index = Int(exactly: -1 - id), self.recorded.indices.contains(index) else {
            return
        }
        self.recorded[index] = self.recorded[index].flatMap(revised)
        self.decodedRecipients?.apply(action, newID: 0)
        self.decodedHeaders?.apply(action, newID: 0)
    }

    /// Whether the plugins so far want nothing changed.
    package var isWithoutEffects: Bool {
        self.recorded.isEmpty && self.sessionPatch.isEmpty && self.transactionPatch.isEmpty
    }

    // MARK: The log

    var logger: Logger {
        var logger = self.pluginLogger
        logger[metadataKey: "hook"] = "\(self.hook.rawValue)"
        logger[metadataKey: "session"] = "\(self.session.id)"
        if let transaction = self.transaction {
            logger[metadataKey: "transaction"] = "\(transaction.id)"
        }
        return logger
    }

    /// A plugin's line: the result word first, and as a field.
    func log(_ result: ResultWord, _ text: () -> String) {
        let level: Logger.Level = result == .pass || result == .skip ? .debug : .info
        guard self.pluginLogger.logLevel <= level else { return }
        let text = text()
        self.logger.log(
            level: level,
            "\(text.isEmpty ? result.rawValue : "\(result.rawValue), \(text)")",
            metadata: ["result": "\(result.rawValue)"]
        )
    }

    // MARK: Decoding

    func fail(_ message: String) {
        self.failure = self.failure ?? PluginError(message)
    }

    private func decode<Value>(
        _ placeholder: Value,
        _ body: (any EventPicture) throws -> Value
    ) -> Value {
        do {
            return try body(self.picture)
        } catch {
            self.fail("\(error)")
            return placeholder
        }
    }
}
