import HTTPClient
package import PolicyKit

/// Asks rspamd about a message, and does what it wants done.
///
/// See README.md.
package struct Rspamd: DataPostHook {
    package static let name = "rspamd"

    /// What happens if rspamd cannot be asked.
    private enum ErrorOutcome: String, CaseIterable, Sendable {
        /// The failure policy of the pool decides.
        case policy
        case `defer`
        case decline
    }

    /// Which of the changes that rspamd wants are made.
    private enum Changes: String, CaseIterable, Sendable {
        case all
        case headers
        case none
    }

    /// The most octets of an answer.
    private static let answerLimit = 2_000_000
    /// The most recipients that rspamd is told.
    private static let maximumRecipients = 1_000

    private let refusal: Refusal
    private let server: HTTPServerClient
    private let password: String?
    private let settings: String?
    private let settingsOfUsers: String?
    private let time: Duration
    private let sizeLimit: Int
    private let scansRelayClients: Bool
    private let defersGreylisted: Bool
    private let changes: Changes
    private let onError: ErrorOutcome
    private let spamField: String?
    private let scoreField: String?
    private let actionField: String?
    private let symbolsField: String?
    private let hostname: String

    package init(configuration: PluginConfiguration) throws {
        self.refusal = configuration.refusal()
        let usual = HTTPServerURL("localhost:11333", defaultPath: "/checkv2")
        let url = configuration.argument(
            "server",
            as: .httpServer(defaultPort: 11_333, defaultPath: "/checkv2")
        )
        guard let url = url ?? usual else { throw PluginError("server is no server") }
        self.server = configuration.httpClient(to: url)
        self.password = configuration.argument("password_file", as: .text)
            .flatMap {
                PasswordFile.password(configuration, argument: "password_file", $0)
            }.map { String(decoding: $0, as: UTF8.self) }
        self.settings = configuration.argument("settings_id", as: .text)
        self.settingsOfUsers = configuration.argument("settings_id_of_users", as: .text)
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100)...(.seconds(600))),
            default: .seconds(30)
        )
        self.sizeLimit = configuration.argument(
            "size_limit",
            as: .integer(in: 1...100_000_000),
            default: 10_000_000
        )
        self.scansRelayClients = configuration.argument(
            "relayclient",
            as: .choice(["skip": false, "scan": true]),
            default: false
        )
        self.defersGreylisted = configuration.argument(
            "greylist",
            as: .choice(["accept": false, "defer": true]),
            default: false
        )
        self.changes = configuration.argument("changes", as: .choice, default: .all)
        self.onError = configuration.argument("on_error", as: .choice, default: .policy)
        func field(_ name: String, _ usual: String?) -> String? {
            let word = configuration.argument(name, as: .fieldName) ?? usual
            return word == "none" ? nil : word
        }
        self.spamField = field("spam_header", "X-Spam")
        self.scoreField = field("score_header", "X-Rspamd-Score")
        self.actionField = field("action_header", "X-Rspamd-Action")
        self.symbolsField = field("symbols_header", nil)
        self.hostname = configuration.shared.hostname
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        if event.isImmune, !(event.session.relay && self.scansRelayClients) {
            return event.skip("immune")
        }
        let message = try event.message
        guard message.size <= self.sizeLimit else {
            self.dropForgedFields(event)
            return event.skip("too large (\(message.size))")
        }
        let request = HTTPRequest(
            "POST",
            self.server.url.path,
            fields: self.facts(event),
            body: try await message.bytes(limit: self.sizeLimit),
            isRepeatable: true
        )
        do {
            let answer = try await self.server.ask(
                request,
                limit: Self.answerLimit,
                within: min(self.time, event.workingTime)
            )
            guard answer.status == 200 else {
                throw RspamdError("the status \(answer.status)")
            }
            return self.answer(try RspamdReply(answer.body), event)
        } catch {
            guard error is HTTPFailure || error is RspamdError else { throw error }
            return try self.failed(error, event)
        }
    }

    private func failed(_ error: any Error, _ event: DataPostEvent) throws -> Answer {
        let text = "\(self.server.url): \(error)"
        switch self.onError {
        case .policy: throw PluginError(text)
        case .decline:
            self.dropForgedFields(event)
            return event.error(text)
        case .defer:
            event.error(text)
            return .denysoft("The message cannot be checked now, try again later", status: "4.7.1")
        }
    }

    // MARK: The question

    /// What rspamd is told beside the message: request fields of its protocol.
    private func facts(_ event: DataPostEvent) -> [HTTPField] {
        let session = event.session
        var fields = [
            HTTPField("IP", session.client.ip),
            HTTPField("From", Self.text(event.transaction.sender.address)),
            HTTPField("Queue-Id", event.transaction.id), HTTPField("MTA-Name", self.hostname),
        ]
        func add(_ name: String, _ value: String?) {
            if let value, !value.isEmpty { fields.append(HTTPField(name, value)) }
        }
        add("Helo", (session.hello?.name).map { Self.text($0) })
        add("Hostname", session.client.name.map { Self.text($0) })
        for recipient in event.recipients.prefix(Self.maximumRecipients) {
            fields.append(HTTPField("Rcpt", Self.text(recipient.address)))
        }
        if event.recipients.count == 1, let only = event.recipients.first {
            add("Deliver-To", Self.text(only.address))
        }
        let user = (session.authentication?.user).map { Self.text($0) }
        add("User", user)
        add("TLS-Version", session.tls?.version)
        add("TLS-Cipher", session.tls?.cipher)
        add("TLS-Cert-Issuer", session.tls?.clientCertificate?.issuer)
        add("Settings-ID", (user == nil ? nil : self.settingsOfUsers) ?? self.settings)
        add("Password", self.password)
        return fields
    }

    private static func text(_ bytes: Bytes) -> String {
        String(decoding: bytes.octets.prefix(1_000), as: UTF8.self)
    }

    // MARK: The answer

    private func answer(_ reply: RspamdReply, _ event: DataPostEvent) -> Answer {
        let summary = "\(reply.action.rawValue), \(reply.score) of \(reply.required)"
        event.notes[.rspamd] = .object([
            "action": .string(reply.action.rawValue), "score": .double(reply.score),
            "required": .double(reply.required),
            "symbols": .array(reply.symbols.map { .string($0.name) }),
        ])
        self.dropForgedFields(event)
        if reply.isSkipped { return event.skip("rspamd did not look at it") }
        switch reply.action {
        case .reject, .softReject:
            event.adjustKarma(by: -1)
            let isSoft = reply.action == .softReject
            return event.refuse(
                Refusal(self.refusal.mode, isSoft ? .temp : self.refusal.type),
                Self.line(reply.message) ?? (isSoft ? "Try again later" : "Spam message rejected"),
                detail: "7.1"
            )

        case .greylist where self.defersGreylisted:
            return event.refuse(
                Refusal(self.refusal.mode, .temp),
                Self.line(reply.message) ?? "Try again later",
                detail: "7.1"
            )

        case .discard:
            event.adjustKarma(by: -1)
            guard self.refusal.mode == .reject else {
                return event.refuse(self.refusal, "rspamd wants it discarded")
            }
            event.info("discarded, \(summary)")
            return .done(250, "2.0.0", "Message taken")

        case .quarantine:
            event.adjustKarma(by: -1)
            event.notes[.quarantine] = "rspamd: \(Self.line(reply.message) ?? summary)"

        case .addHeader, .rewriteSubject: event.adjustKarma(by: -1)
        case .noAction, .greylist: break
        }
        self.change(event, as: reply)
        let isSpam = ![.noAction, .greylist].contains(reply.action)
        return isSpam ? event.info("fail, tolerated, \(summary)") : event.pass(summary)
    }

    /// One line of a reply: printable ASCII.
    private static func line(_ text: String?) -> String? {
        guard let text else { return nil }
        let octets = text.utf8.prefix(400).map { 0x20...0x7E ~= $0 ? $0 : 0x20 }
        let line = String(decoding: octets, as: UTF8.self)
        return line.allSatisfy { $0 == " " } ? nil : line
    }

    /// No field that a sender wrote may pass for one of ours, also if rspamd is not asked or does not answer.
    private func dropForgedFields(_ event: DataPostEvent) {
        for name in [self.spamField, self.scoreField, self.actionField, self.symbolsField] {
            if let name { event.deleteHeaders(named: name) }
        }
    }

    private func change(_ event: DataPostEvent, as reply: RspamdReply) {
        if self.changes != .none { self.changeHeaders(event, reply) }
        if let symbolsField {
            let symbols = reply.symbols.map { "\($0.name)(\($0.score))" }
            event.addHeader(symbolsField, symbols.isEmpty ? "none" : symbols.joined(separator: " "))
        }
        if let actionField { event.addHeader(actionField, reply.action.rawValue) }
        if let scoreField { event.addHeader(scoreField, "\(reply.score) / \(reply.required)") }
        let isMarked = [.addHeader, .rewriteSubject, .quarantine].contains(reply.action)
        if isMarked, let spamField { event.addHeader(spamField, "Yes") }
        if reply.action == .rewriteSubject, let subject = reply.subject {
            event.setSubject(Bytes(" \(subject)"))
        }
        if self.changes == .all { self.changeEnvelope(event, reply) }
    }

    private func changeHeaders(_ event: DataPostEvent, _ reply: RspamdReply) {
        let fields = event.headers
        for removal in reply.removals {
            if removal.index == 0 {
                event.deleteHeaders(named: removal.name)
                continue
            }
            let named = fields.filter { $0.name.equalsIgnoringASCIICase(Bytes(removal.name)) }
            // The first is 1, the last is -1.
            let index = removal.index > 0 ? removal.index - 1 : named.count + removal.index
            if named.indices.contains(index) { event.deleteHeader(named[index]) }
        }
        // Each goes to the top, so the last is added first.
        for field in reply.additions.reversed() where field.isOnTop {
            event.addHeader(field.name, field.value)
        }
        for field in reply.additions where !field.isOnTop {
            event.addHeader(field.name, field.value, at: .bottom)
        }
    }

    private func changeEnvelope(_ event: DataPostEvent, _ reply: RspamdReply) {
        if let sender = reply.sender { event.replaceSender(with: Bytes(sender)) }
        for recipient in event.recipients {
            let isGone = reply.goneRecipients.contains {
                Bytes($0).equalsIgnoringASCIICase(recipient.address)
            }
            if isGone { event.removeRecipient(recipient) }
        }
        for address in reply.newRecipients { event.addRecipient(Bytes(address)) }
    }
}

extension NoteKey<JSONValue> {
    /// What rspamd said: `action`, `score`, `required` and the names of the `symbols`.
    static let rspamd = NoteKey("rspamd", in: .transaction)
}

extension NoteKey<String> {
    /// Why the message is to be put aside: a queue plugin may look at it.
    static let quarantine = NoteKey("quarantine", in: .transaction)
}

extension ArgumentType<String> {
    /// The name of a header field, or `none`.
    fileprivate static var fieldName: Self {
        Self("the name of a header field, or none") { RspamdReply.isFieldName($0) ? $0 : nil }
    }
}
