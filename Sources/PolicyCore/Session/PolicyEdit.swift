import JSON
package import PolicyProtocol
import SMTPCore

/// A verdict's notes and actions on a copy of the session's state: all of them, or nothing.
package struct PolicyEdit {
    private(set) var notes: PolicyNotes
    private(set) var transaction: MailTransaction?
    private(set) var isRelay: Bool?
    /// `nil`: as it is; `.some(nil)`: the client has no name.
    private(set) var clientName: String??
    private(set) var delayMS: Int64 = 0
    private(set) var challenge: (octets: [UInt8], state: [UInt8])?
    private(set) var changesRecipients = false
    /// A file in the pool's `out/` folder, to be taken over before anything is committed.
    package private(set) var replacementPath: String?
    /// Header actions behind `message.replace`: they wait for the header of that file.
    private var headerActions: [(index: Int, action: PolicyAction)] = []

    private let hook: Hook
    private let allowsUTF8: Bool
    private let maximumRecipients: Int
    private let maximumDelayMS: Int64

    init(
        notes: PolicyNotes,
        transaction: MailTransaction?,
        hook: Hook,
        allowsUTF8: Bool,
        maximumRecipients: Int,
        maximumDelayMS: Int64
    ) {
        self.notes = notes
        self.transaction = transaction
        self.hook = hook
        self.allowsUTF8 = allowsUTF8
        self.maximumRecipients = maximumRecipients
        self.maximumDelayMS = maximumDelayMS
    }

    /// Octets of memory that it holds, about.
    package var heldOctets: Int { self.notes.heldOctets + (self.transaction?.heldOctets ?? 0) }

    /// What is wrong with `verdict` as an answer at the edit's hook.
    package func violation(of verdict: PolicyVerdict) -> ProtocolViolation? {
        verdict.violation(
            for: self.hook,
            hasTransaction: self.transaction != nil,
            allowsUTF8: self.allowsUTF8
        )
    }

    /// Applies all of `verdict` to the copy.
    ///
    /// - Returns: The first thing that cannot be done; the copy is to be thrown away then.
    package mutating func apply(_ verdict: PolicyVerdict) -> ProtocolViolation? {
        let isMerged = self.notes.merge(
            session: verdict.sessionNotes,
            transaction: verdict.transactionNotes
        )
        guard isMerged else {
            return ProtocolViolation(
                .notes_too_large,
                "notes: a scope would have more than \(PolicyNotes.maximumScopeOctets) octets"
            )
        }
        let recipientsBefore = self.transaction?.recipients.count ?? 0
        for (index, action) in verdict.actions.enumerated() {
            if let violation = self.apply(action, index) { return violation.inAction(index) }
        }
        return self.changesRecipients ? self.settleRecipients(before: recipientsBefore) : nil
    }

    /// All actions are applied: each recipient once, and so many as there may be.
    private mutating func settleRecipients(before: Int) -> ProtocolViolation? {
        self.transaction?.dropRepeatedRecipients()
        let count = self.transaction?.recipients.count ?? 0
        guard count <= max(self.maximumRecipients, before) else {
            return ProtocolViolation(
                .too_many_recipients,
                "actions: \(count) recipients, over \(self.maximumRecipients)"
            )
        }
        guard count == 0, self.hook != .rcpt, !(self.transaction?.hasRefusals ?? false) else {
            return nil
        }
        return ProtocolViolation(.no_recipients, "actions: no recipient would be left")
    }

    /// The message was replaced: its fields get new ids, and the header actions that follow in the
    /// list are applied to them.
    ///
    /// - Returns: The first of them that cannot be done; the copy is to be thrown away then.
    mutating func messageReplaced(by message: ReplacedMessage) -> ProtocolViolation? {
        self.transaction?.messageReplaced(by: message)
        for (index, action) in self.headerActions {
            if let violation = self.applyToHeader(action) { return violation.inAction(index) }
        }
        return nil
    }

    private mutating func apply(_ action: PolicyAction, _ index: Int) -> ProtocolViolation? {
        switch action {
        case .setRelay(let value): self.isRelay = value
        case .setClientName(let name):
            self.clientName = .some(name.map { String(decoding: $0, as: UTF8.self) })
        case .delayReply(let ms): self.delayMS = min(max(self.delayMS, ms), self.maximumDelayMS)
        case .challenge(let octets, let state): self.challenge = (octets, state)
        case .replaceMessage(let path): self.replacementPath = path
        case .addHeader, .setHeader, .deleteHeader, .deleteHeaders:
            guard self.replacementPath == nil else {
                self.headerActions.append((index, action))
                return nil
            }
            return self.applyToHeader(action)
        case .addRecipient, .removeRecipient, .replaceRecipient, .refuseRecipient, .replaceSender:
            return self.applyToEnvelope(action)
        }
        return nil
    }

    private mutating func applyToHeader(_ action: PolicyAction) -> ProtocolViolation? {
        guard let isSMTPUTF8 = self.transaction?.isSMTPUTF8 else {
            return Self.noTransaction
        }
        return self.transaction?.withHeaders { headers in
            var isKnown = true
            switch action {
            case .addHeader(let name, let value, let atTop):
                let value = Self.spaced(value)
                let text = WrittenField(nameOctets: name.count, value: value)
                if let violation = text.violation(allows8Bit: isSMTPUTF8), !headers.contains(value)
                {
                    return violation
                }
                headers.add(name: name, value: value, atTop: atTop)
            case .setHeader(let id, let value):
                let value = Self.spaced(value)
                guard let field = headers.text(ofID: id) else {
                    return Self.unknownHeader
                }
                let text = WrittenField(nameOctets: field.nameOctets, value: value)
                let allows8Bit = isSMTPUTF8 || field.has8BitOctets
                if let violation = text.violation(allows8Bit: allows8Bit) { return violation }
                isKnown = headers.set(id: id, value: value)
            case .deleteHeader(let id): isKnown = headers.delete(id: id)
            case .deleteHeaders(let name): headers.deleteAll(name: name)
            default: break
            }
            return isKnown ? nil : Self.unknownHeader
        }
    }

    private static let noTransaction = ProtocolViolation(
        .action_not_allowed,
        "op: there is no transaction"
    )
    private static let unknownHeader = ProtocolViolation(
        .unknown_header,
        "id: no header field has it"
    )
    private static let unknownRecipient = ProtocolViolation(
        .unknown_recipient,
        "id: no recipient has it"
    )
    private static let invalidAddress = ProtocolViolation(
        .address_invalid,
        "address: none, or beyond ASCII without SMTPUTF8"
    )

    /// A value that begins without white space gets the usual one after its colon.
    private static func spaced(_ value: [UInt8]) -> [UInt8] {
        guard let first = value.first, first != 0x20, first != 0x09, first != 0x0D else {
            return value
        }
        return [0x20] + value
    }

    private mutating func applyToEnvelope(_ action: PolicyAction) -> ProtocolViolation? {
        guard self.transaction != nil else { return Self.noTransaction }
        switch action {
        case .replaceSender(let octets):
            guard let path = try? ReversePath(address: octets, options: .anyAddress),
                self.mayCarry(path.mailbox?.isNonASCII ?? false)
            else { return Self.invalidAddress }
            // At `mail` there is none yet: it gets those of the client when MAIL is granted.
            let parameters = self.transaction?.sender?.parameters ?? .none
            self.transaction?.sender = EnvelopeAddress(path, parameters)
            return nil
        case .addRecipient(let octets):
            guard let address = self.forwardAddress(octets) else {
                return Self.invalidAddress
            }
            self.transaction?.addRecipient(address)
        case .removeRecipient(let id):
            guard self.transaction?.removeRecipient(id: id) ?? false else {
                return Self.unknownRecipient
            }
        case .refuseRecipient(let id, let verdict, let reply):
            let refusal = RecipientRefusal(
                id: id,
                verdict: verdict,
                worded: reply,
                hook: self.hook,
                reply: SMTPEventMapping.refusal(
                    verdict,
                    reply,
                    at: self.hook,
                    allowsUTF8: self.transaction?.isSMTPUTF8 ?? false
                )
            )
            guard self.transaction?.refuse(refusal) ?? false else {
                return Self.unknownRecipient
            }
        case .replaceRecipient(let id, let octets):
            guard let address = self.forwardAddress(octets) else {
                return Self.invalidAddress
            }
            guard self.transaction?.replaceRecipient(id: id, with: address) ?? false else {
                return Self.unknownRecipient
            }
        default: break
        }
        self.changesRecipients = true
        return nil
    }

    private func forwardAddress(_ octets: [UInt8]) -> EnvelopeAddress? {
        guard let path = try? ForwardPath(address: octets, options: .anyAddress),
            self.mayCarry(path.isNonASCII)
        else { return nil }
        return EnvelopeAddress(path, .none)
    }

    /// Addresses beyond ASCII only where the client asked for SMTPUTF8.
    private func mayCarry(_ isNonASCII: Bool) -> Bool {
        !isNonASCII || self.transaction?.isSMTPUTF8 ?? false
    }
}
