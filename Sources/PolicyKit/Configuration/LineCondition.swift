import Addresses
import PolicyProtocol

/// When a line of `config/plugins` counts: `if WHAT` and `unless WHAT` at its end.
///
/// A line with several of them counts if all of them hold. What is not known yet at a hook, as the sender at
/// `connect`, does not hold.
package struct LineCondition: Sendable, Equatable, CustomStringConvertible {
    /// What is looked at.
    enum Subject: Sendable, Equatable {
        /// The client may send to every recipient.
        case relay
        /// The client has logged in.
        case auth
        /// The connection is encrypted.
        case tls
        /// Checks leave the session alone (``HookEvent/isImmune``).
        case immune
        /// The sender is the null reverse-path.
        case nullSender
        /// One of these listeners took the connection.
        case listener([String])
        /// The client's address is in one of these blocks.
        case network([IPNetwork])
        /// The note `geoip_country` is one of these, in capitals.
        case country([String])
        /// The sender's domain is one of these, or below one that begins with a dot; in small letters.
        case senderDomain([String])
        /// At `rcpt` the recipient's domain, and later that of every recipient, is one of these.
        case recipientDomain([String])
        /// A note of session or transaction is there, and not false.
        case note(String)
    }

    let subject: Subject
    /// `if`: it must hold; `unless`: it must not.
    let isWanted: Bool
    /// As it is written, without `if` or `unless`.
    let text: String

    /// `unless relay`, as it is written.
    package var description: String { "\(self.isWanted ? "if" : "unless") \(self.text)" }

    /// Whether the event needs the recipients for it.
    var needsRecipients: Bool {
        if case .recipientDomain = self.subject { true } else { false }
    }

    /// Reads what stands after `if` or `unless`.
    ///
    /// - Returns: `nil` if it is none of ``expectation``.
    init?(_ text: String, isWanted: Bool) {
        guard let subject = Subject(text) else { return nil }
        self.subject = subject
        self.isWanted = isWanted
        self.text = text
    }

    /// What may stand after `if` and `unless`, to follow "must be".
    static let expectation =
        "relay, auth, tls, immune, null_sender, listener=NAME, network=ADDRESS, country=CODE, "
        + "sender_domain=DOMAIN, recipient_domain=DOMAIN or note=NAME; several values are separated by commas"

    /// Takes the conditions from the end of a line's words.
    ///
    /// - Parameter words: The arguments of the line; without the conditions afterwards.
    /// - Returns: The conditions in the order of the line, and what is wrong with them.
    static func take(
        from words: inout [String]
    ) -> (conditions: [LineCondition], problems: [String]) {
        var conditions: [LineCondition] = []
        var problems: [String] = []
        if let last = words.last, let word = Self.wanted(last) {
            problems.append(
                "\(word ? "if" : "unless") has no condition after it: it must be \(Self.expectation)"
            )
            words.removeLast()
        }
        while words.count >= 2, let isWanted = Self.wanted(words[words.count - 2]) {
            let text = words.removeLast()
            words.removeLast()
            if let condition = Self(text, isWanted: isWanted) {
                conditions.append(condition)
            } else {
                problems.append("condition \(text) is unknown: it must be \(Self.expectation)")
            }
        }
        if let middle = words.first(where: { Self.wanted($0) != nil }) {
            problems.append(
                "\(middle) stands before other arguments; put the conditions at the end of the line"
            )
            words.removeAll()
        }
        return (conditions.reversed(), problems.reversed())
    }

    private static func wanted(_ word: String) -> Bool? {
        switch word.lowercased() {
        case "if": true
        case "unless": false
        default: nil
        }
    }
}

extension LineCondition.Subject {
    init?(_ text: String) {
        guard let equals = text.firstIndex(of: "=") else {
            switch text.lowercased() {
            case "relay": self = .relay
            case "auth": self = .auth
            case "tls": self = .tls
            case "immune": self = .immune
            case "null_sender": self = .nullSender
            default: return nil
            }
            return
        }
        let values = text[text.index(after: equals)...].split(
            separator: ",",
            omittingEmptySubsequences: false
        )
        .map(String.init)
        guard values.allSatisfy({ !$0.isEmpty }) else { return nil }
        switch text[..<equals].lowercased() {
        case "listener": self = .listener(values)
        case "network":
            let networks = values.compactMap { IPNetwork(parsing: $0) }
            guard networks.count == values.count else { return nil }
            self = .network(networks)

        case "country": self = .country(values.map { $0.uppercased() })
        case "sender_domain": self = .senderDomain(values.map { $0.lowercased() })
        case "recipient_domain": self = .recipientDomain(values.map { $0.lowercased() })
        case "note":
            guard values.count == 1 else { return nil }
            self = .note(values[0])

        default: return nil
        }
    }
}

extension [LineCondition] {
    /// Whether all of them hold for this event, as the plugins before the line left it.
    ///
    /// - Throws: ``PluginError`` if the event does not have what one of them looks at.
    func hold(in context: HookContext) throws(PluginError) -> Bool {
        guard !self.isEmpty else { return true }
        let event = HookEvent<ObservedStage>(context)
        let broken = self.first { !$0.holds(event) }
        if let failure = context.failure { throw failure }
        if let broken { event.skip("its line says \(broken)") }
        return broken == nil
    }

    /// What an event must have for them.
    var needs: Needs { self.contains(where: \.needsRecipients) ? .recipients : [] }
}

extension LineCondition {
    fileprivate func holds(_ event: HookEvent<ObservedStage>) -> Bool {
        self.isTrue(event) == self.isWanted
    }

    private func isTrue(_ event: HookEvent<ObservedStage>) -> Bool {
        switch self.subject {
        case .relay: return event.session.relay
        case .auth: return event.session.authentication != nil
        case .tls: return event.session.tls != nil
        case .immune: return event.isImmune
        case .nullSender: return Self.sender(event)?.address.octets.isEmpty == true
        case .listener(let names): return names.contains(event.session.listener)
        case .network(let networks):
            guard let address = IPAddress(parsing: event.session.client.ip) else { return false }
            return networks.contains { $0.contains(address) }

        case .country(let codes):
            return event.notes[NoteKey<String>("geoip_country", in: .session)]
                .map { codes.contains($0.uppercased()) } ?? false

        case .senderDomain(let domains):
            return Self.sender(event).map { Self.is($0.domain, in: domains) } ?? false

        case .recipientDomain(let domains):
            let recipients =
                event.hook == .rcpt ? [event.context.recipient] : event.context.recipients
            return !recipients.isEmpty && recipients.allSatisfy { Self.is($0.domain, in: domains) }

        case .note(let name):
            return [NoteScope.session, .transaction].contains {
                event.isNoted(NoteKey(name, in: $0))
            }
        }
    }

    /// The sender of the command at `mail`, of the transaction after it; `nil` before.
    private static func sender(_ event: HookEvent<ObservedStage>) -> Sender? {
        event.hook == .mail ? event.context.sender : event.currentTransaction?.sender
    }

    private static func `is`(_ domain: Bytes, in domains: [String]) -> Bool {
        let domain = String(decoding: domain.octets, as: UTF8.self).lowercased()
        return domains.contains { entry in
            entry.hasPrefix(".") ? domain.hasSuffix(entry) : domain == entry
        }
    }
}
