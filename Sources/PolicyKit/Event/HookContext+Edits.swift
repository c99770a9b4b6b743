// The changes that plugins ask for. Each is recorded as an action and made at once in the decoded
// copies, so that the next plugin sees it.

extension HookContext {
    func setRelay(_ value: Bool) {
        self.append(.setRelay(value))
    }

    func setClientName(_ name: String) {
        self.append(.setClientName(Array(name.utf8)))
    }

    func delayReply(by duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let milliseconds =
            min(max(seconds, 0), 86_400) * 1_000 + attoseconds / 1_000_000_000_000_000
        self.append(.delayReply(milliseconds: max(milliseconds, 0)))
    }

    /// Adds a field; what may not stand in a message is folded and encoded.
    func addHeader(_ name: Bytes, _ value: Bytes, atTop: Bool) {
        let value = self.legal(value, of: name)
        self.append(.addHeader(name: name.octets, value: value.octets, atTop: atTop))
    }

    private func legal(_ value: Bytes, of name: Bytes) -> Bytes {
        let allows8Bit = self.transaction?.sender.params.contains { $0.keyword == "SMTPUTF8" }
        return HeaderText.legal(
            value,
            nameOctets: name.octets.count,
            allows8Bit: allows8Bit ?? false
        )
    }

    /// Replaces a field's value; what may not stand in a message is folded and encoded.
    ///
    /// Behind a replaced message the frontend knows the field by its name only: the fields of that
    /// name make place for one.
    func setHeader(_ field: HeaderField, to value: Bytes) {
        let value = self.legal(value, of: field.name).octets
        if self.isReplaced(field) {
            self.append(.deleteHeaders(name: field.name.octets))
            return self.append(.addHeader(name: field.name.octets, value: value, atTop: true))
        }
        let id = field.id
        self.change(
            id: id,
            revised: { action in
                guard case .addHeader(let name, _, let atTop) = action else { return action }
                return .addHeader(name: name, value: value, atTop: atTop)
            },
            otherwise: .setHeader(id: Int(clamping: id), value: value)
        )
    }

    /// Removes a field; behind a replaced message, the fields of its name.
    func deleteHeader(_ field: HeaderField) {
        if self.isReplaced(field) {
            return self.append(.deleteHeaders(name: field.name.octets))
        }
        let action = PolicyAction.deleteHeader(id: Int(clamping: field.id))
        self.change(id: field.id, revised: { _ in nil }, otherwise: action)
    }

    func removeRecipient(id: Int64) {
        let action = PolicyAction.removeRecipient(id: Int(clamping: id))
        self.change(id: id, revised: { _ in nil }, otherwise: action)
    }

    func replaceRecipient(id: Int64, with address: Bytes) {
        self.change(
            id: id,
            revised: { _ in .addRecipient(address: address.octets) },
            otherwise: .replaceRecipient(id: Int(clamping: id), address: address.octets)
        )
    }

    func refuseRecipient(_ recipient: Recipient, _ answer: Answer) {
        guard answer.verdict == .deny || answer.verdict == .denysoft else {
            return self.fail("a recipient is refused with deny or denysoft")
        }
        self.append(
            .refuseRecipient(
                id: Int(clamping: recipient.id),
                verdict: answer.verdict,
                reply: answer.reply
            )
        )
    }

    func note(_ name: String, in scope: NoteScope) -> JSONValue? {
        self.notes(scope)[name]
    }

    func adjustKarma(by change: Int) {
        let karma = NoteKey<Int>.karma
        let before = self.note(karma.name, in: .session).flatMap { Int(json: $0) } ?? 0
        let (sum, overflow) = before.addingReportingOverflow(change)
        self.setNote(karma.name, in: .session, to: .int(Int64(overflow ? before : sum)))
        let changes = NoteKey<[KarmaChange]>.karmaChanges
        var list = self.note(changes.name, in: .session).flatMap { [KarmaChange](json: $0) } ?? []
        list.append(KarmaChange(plugin: self.plugin, change: change))
        list.removeFirst(max(0, list.count - KarmaChange.maximumCount))
        self.setNote(changes.name, in: .session, to: list.json)
    }

    /// Adds a flag to the note `key`.
    func flagNaughty(
        _ text: String,
        _ type: RefusalType,
        detail: String?,
        in key: NoteKey<[NaughtyFlag]> = .naughty
    ) {
        var flags = self.note(key.name, in: key.scope).flatMap { [NaughtyFlag](json: $0) } ?? []
        guard flags.count < NaughtyFlag.maximumCount else { return }
        flags.append(NaughtyFlag(plugin: self.plugin, text: text, type: type, detail: detail))
        self.setNote(key.name, in: key.scope, to: flags.json)
    }

    /// Makes a flag of a plugin's refusal: of the session, at `mail` of the transaction.
    func putOff(_ answer: Answer) {
        let type: RefusalType
        switch answer.verdict {
        case .deny: type = .perm
        case .denysoft: type = .temp
        case .deny_disconnect: type = .disconnect
        case .denysoft_disconnect: type = .tempDisconnect
        case .declined, .ok, .done: return
        }
        let text = answer.reply?.text.joined(separator: "\n") ?? ""
        let status = answer.reply?.status?.split(separator: ".") ?? []
        self.flagNaughty(
            text.isEmpty ? "Access denied" : text,
            type,
            detail: status.count == 3 ? "\(status[1]).\(status[2])" : nil,
            in: self.hook == .mail ? .delayedRefusals : .naughty
        )
        self.log(.info) { "the refusal is put off until RCPT" }
    }
}

/// Who changed a session's karma, and by how much.
public struct KarmaChange: NoteValue, Sendable, Equatable {
    /// The latest changes that a session remembers.
    static let maximumCount = 64

    /// The plugin.
    public let plugin: String
    /// What it added.
    public let change: Int

    init(plugin: String, change: Int) {
        self.plugin = plugin
        self.change = change
    }

    /// The value in `json`, `nil` if it is not of this type.
    public init?(json: JSONValue) {
        guard let plugin = json["plugin"].flatMap({ String(json: $0) }),
            let change = json["change"].flatMap({ Int(json: $0) })
        else { return nil }
        self.init(plugin: plugin, change: change)
    }

    /// The value as it travels.
    public var json: JSONValue {
        .object(["plugin": .string(self.plugin), "change": .int(Int64(self.change))])
    }
}

/// A refusal that was put off: `reject naughty`.
public struct NaughtyFlag: NoteValue, Sendable, Equatable {
    /// The most flags that a session remembers, and so the most lines of the reply.
    static let maximumCount = 20

    /// The plugin that would have refused.
    public let plugin: String
    /// Its reply.
    public let text: String
    /// How it would have refused.
    public let type: RefusalType
    /// The enhanced status code of its reply without the class, as in `7.1`; `nil` if it named none.
    public let detail: String?

    init(plugin: String, text: String, type: RefusalType, detail: String? = nil) {
        self.plugin = plugin
        self.text = text
        self.type = type
        self.detail = detail
    }

    /// The value in `json`, `nil` if it is not of this type.
    public init?(json: JSONValue) {
        guard let plugin = json["plugin"].flatMap({ String(json: $0) }),
            let text = json["text"].flatMap({ String(json: $0) }),
            let type = json["reject_type"].flatMap({ String(json: $0) })
                .flatMap({ RefusalType(rawValue: $0) })
        else { return nil }
        let detail = json["detail"].flatMap { String(json: $0) }
        self.init(plugin: plugin, text: text, type: type, detail: detail)
    }

    /// The value as it travels.
    public var json: JSONValue {
        var members: [String: JSONValue] = [
            "plugin": .string(self.plugin), "text": .string(self.text),
            "reject_type": .string(self.type.rawValue),
        ]
        members["detail"] = self.detail.map { .string($0) }
        return .object(members)
    }
}

extension NoteKey<[KarmaChange]> {
    /// The latest changes of ``NoteKey/karma``.
    public static let karmaChanges = NoteKey("karma_changes", in: .session)
}

extension NoteKey<[NaughtyFlag]> {
    /// The refusals that were put off in this session.
    public static let naughty = NoteKey("naughty", in: .session)
    /// The refusals of this transaction's sender that were put off until RCPT (`naughty delay_deny 1`).
    public static let delayedRefusals = NoteKey("delayed_refusals", in: .transaction)
}

extension HookContext {
    /// What the recorded actions make of headers and recipients, each new one with an id that has
    /// not been used: what a frontend does with a verdict, for tests.
    package func edited(
        headers: [HeaderField],
        recipients: [Recipient]
    ) -> (
        headers: [HeaderField], recipients: [Recipient]
    ) {
        var headers = headers
        var recipients = recipients
        for action in self.actions {
            headers.apply(action, newID: Int(headers.map(\.id).max() ?? 0) + 1)
            recipients.apply(action, newID: Int(recipients.map(\.id).max() ?? 0) + 1)
        }
        return (headers, recipients.withoutRepeats())
    }

    /// The notes as plugins so far left them.
    package func currentNotes(_ scope: NoteScope) -> [String: JSONValue] {
        self.notes(scope)
    }
}

extension SessionSnapshot {
    /// Makes the changes of `action` that concern the session.
    mutating func apply(_ action: PolicyAction) {
        switch action {
        case .setRelay(let value): self.relay = value
        case .setClientName(let name): self.client.name = name.map { Bytes(octets: $0) }
        default: break
        }
    }
}

extension TransactionSnapshot {
    /// Makes the changes of `action` that concern the sender.
    mutating func apply(_ action: PolicyAction) {
        guard case .replaceSender(let address) = action else { return }
        self.sender = Sender(AddressParts(cutting: address))
    }
}

extension [Recipient] {
    /// Makes the changes of `action` that concern recipients.
    mutating func apply(_ action: PolicyAction, newID: Int) {
        switch action {
        case .addRecipient(let address):
            self.append(Recipient(id: Int64(newID), AddressParts(cutting: address)))

        case .removeRecipient(let id), .refuseRecipient(let id, _, _):
            self.removeAll { $0.id == Int64(id) }

        case .replaceRecipient(let id, let address):
            guard let index = self.firstIndex(where: { $0.id == Int64(id) }) else { return }
            let params = self[index].params
            self[index] = Recipient(id: Int64(id), AddressParts(cutting: address))
            self[index].params = params

        default:
            break
        }
    }
}

extension PolicyAction {
    /// Whether it changes the list of recipients.
    var concernsRecipients: Bool {
        switch self {
        case .addRecipient, .removeRecipient, .replaceRecipient, .refuseRecipient: true
        default: false
        }
    }
}

extension [Recipient] {
    /// The list with each recipient once: of those that are the same the first stays.
    ///
    /// The same are those of one local part and one domain, whose letter case does not count.
    package func withoutRepeats() -> [Recipient] {
        var seen: Set<[Bytes]> = []
        return self.filter { recipient in
            let isPostmaster = recipient.domain.octets.isEmpty
            let local = isPostmaster ? recipient.local.asciiLowercased : recipient.local
            return seen.insert([local, recipient.domain.asciiLowercased]).inserted
        }
    }
}

extension [HeaderField] {
    /// Makes the changes of `action` that concern the header.
    mutating func apply(_ action: PolicyAction, newID: Int) {
        switch action {
        case .addHeader(let name, let value, let atTop):
            let field = HeaderField(
                id: Int64(newID),
                name: Bytes(octets: name),
                value: Bytes(octets: value)
            )
            self.insert(field, at: atTop ? self.startIndex : self.endIndex)

        case .setHeader(let id, let value):
            guard let index = self.firstIndex(where: { $0.id == Int64(id) }) else { return }
            self[index].value = Bytes(octets: value)
            self[index].space = ""

        case .deleteHeader(let id):
            self.removeAll { $0.id == Int64(id) }

        case .deleteHeaders(let name):
            let name = Bytes(octets: name)
            self.removeAll { $0.name.equalsIgnoringASCIICase(name) }

        default:
            break
        }
    }
}
