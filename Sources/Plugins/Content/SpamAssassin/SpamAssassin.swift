import Glibc
package import PolicyKit

/// Asks spamd about a message: adds what it says to the header, marks the subject, refuses.
///
/// See the folder's README for arguments, files and replies. Trouble with spamd is thrown, and so
/// left to the failure policy of the pool: an unscanned message is never taken for a clean one.
package struct SpamAssassin: DataPostHook {
    package static let name = "spamassassin"

    /// Connecting, sending, scanning and the reply together.
    static let totalTime: Duration = .seconds(60)

    /// What becomes of `X-Spam-*` fields that came with the message.
    enum OldHeaders: String, CaseIterable, Sendable {
        case drop
        case rename
        case keep
    }

    private let rejectThreshold: Double?
    /// The threshold of a recipient that has a file of its own; `nil` without `per_recipient`.
    private let ownThresholds: ControlFile<Threshold?>?
    private let refusalType: RefusalType
    private let mungeThreshold: Double?
    private let subjectPrefix: String?
    private let subjectPrefixFile: ControlFile<[String]>
    private let addsHeaders: Bool
    private let oldHeaders: OldHeaders
    private let user: String
    private let scansRelayClients: Bool
    private let sizeLimit: Int
    private let spamd: ServerClient

    package init(configuration: PluginConfiguration) throws {
        let reject = configuration.argument("reject", as: .threshold)
        let oldReject = configuration.argument("reject_threshold", as: .threshold)
        if reject != nil, oldReject != nil {
            configuration.record("reject and reject_threshold are the same; write one")
        }
        self.rejectThreshold = (reject ?? oldReject)?.number
        let isPerRecipient = configuration.argument("per_recipient", as: .flag, default: false)
        self.ownThresholds =
            isPerRecipient
            ? try configuration.controlFile("spamassassin_reject", parse: Threshold.read) : nil
        self.refusalType = configuration.refusalType(default: .perm)
        self.mungeThreshold =
            configuration.argument("munge_subject_threshold", as: .threshold)?.number
        self.subjectPrefix = configuration.argument("subject_prefix", as: .headerText)
        self.subjectPrefixFile = try configuration.controlFile("subject_prefix") { line in
            guard PrintableText(line.text) != nil else { throw line.problem("not printable ASCII") }
            return line.text
        }
        self.addsHeaders = configuration.argument(
            "headers",
            as: .choice(["none": false, "all": true]),
            default: true
        )
        self.oldHeaders = configuration.argument("leave_old_headers", as: .choice, default: .rename)
        self.user = configuration.argument("spamd_user", as: .userName) ?? Self.ownUser
        self.scansRelayClients = configuration.argument(
            "relayclient",
            as: .choice(["skip": false, "scan": true]),
            default: false
        )
        self.sizeLimit = configuration.argument(
            "size_limit",
            as: .integer(in: 1...33_554_432),
            default: 500_000
        )
        self.spamd = configuration.client(
            to: configuration.argument(
                "spamd_socket",
                as: .serverAddress(defaultPort: 783),
                default: .tcp(host: "localhost", port: 783)
            )
        )
    }

    package func subscription(at hook: Hook) -> Subscription? {
        let wantsRecipients = self.asksForRecipient || self.ownThresholds != nil
        return Subscription(wantsRecipients ? [.wholeMessage, .recipients] : .wholeMessage)
    }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        if event.isImmune, !(event.session.relay && self.scansRelayClients) {
            return event.skip("immune")
        }
        let header = SpamHeader(event, self.oldHeaders)
        guard header.isCleanable else {
            return event.refuse(
                Refusal(.reject, .perm),
                "too many or too long names of X-Spam fields",
                detail: "6.0"
            )
        }
        let message = try event.message
        guard message.size <= self.sizeLimit else {
            // The message goes on, and a sender's own X-Spam fields would pass for ours.
            header.clean()
            return event.skip("too large (\(message.size))")
        }
        let user = self.user(for: event)
        let request = try await SpamdRequest(
            user: user,
            sender: event.transaction.sender.address.octets,
            message: message,
            limit: self.sizeLimit
        ).encoded()
        let octets = try await self.spamd.exchange(
            request,
            until: .close,
            limit: 2 * message.header.count + 262_144,  // the header comes back, and the report
            within: min(Self.totalTime, event.workingTime)
        )
        let reply = try SpamdReply(octets)
        return self.answer(reply, user: user, header, event)
    }

    private func answer(
        _ reply: SpamdReply,
        user: String,
        _ header: SpamHeader,
        _ event: DataPostEvent
    ) -> Answer {
        let status = reply.fields.first { $0.name.lowercased() == "x-spam-status" }
            .map { SpamStatus($0.value) }
        self.note(reply, status, event)
        let summary = "\(reply.isSpam ? "Spam" : "Ham"), \(reply.score)"
        if self.isRefused(reply.score, event) {
            return event.refuse(
                Refusal(.reject, self.refusalType),
                Self.refusalText,
                detail: "7.1"
            )
        }
        header.clean()
        if self.addsHeaders { header.add(reply.fields, user: user) }
        if let mungeThreshold, reply.score > reply.required, reply.score > mungeThreshold {
            header.markSubject(
                self.subjectPrefix ?? event.value(of: self.subjectPrefixFile).first
                    ?? "*** SPAM ***"
            )
        }
        return reply.isSpam ? event.info("fail, tolerated, \(summary)") : event.pass(summary)
    }

    private static let refusalText = "spam score exceeded threshold"
    /// The most recipients that are refused one by one: a verdict has at most 256 actions, and most of them
    /// are the header's.
    private static let mostRefusals = 50

    /// Whether the whole message is refused.
    ///
    /// It is if the score is too high for every recipient. If it is for some of them, these are refused
    /// where the client hears of each, and the message goes to all where it does not.
    private func isRefused(_ score: Double, _ event: DataPostEvent) -> Bool {
        guard let file = self.ownThresholds, !event.recipients.isEmpty else {
            return self.rejectThreshold.map { score >= $0 } ?? false
        }
        let common = event.value(of: file) ?? Threshold(number: self.rejectThreshold)
        let refusing = event.recipients.filter { recipient in
            let threshold = (event.value(of: file, for: recipient) ?? nil) ?? common
            return threshold.number.map { score >= $0 } ?? false
        }
        if refusing.count == event.recipients.count { return true }
        if event.transaction.repliesEach, refusing.count <= Self.mostRefusals {
            let answer: Answer =
                self.refusalType.isPermanent
                ? .deny(Self.refusalText, status: "5.7.1")
                : .denysoft(Self.refusalText, status: "4.7.1")
            for recipient in refusing { event.refuseRecipient(recipient, answer) }
        } else if !refusing.isEmpty {
            event.info("too high for \(refusing.count) of \(event.recipients.count) recipients")
        }
        return false
    }

    private func note(_ reply: SpamdReply, _ status: SpamStatus?, _ event: DataPostEvent) {
        var note: [String: JSONValue] = [
            "is_spam": .string(reply.isSpam ? "Yes" : "No"),
            "score": .double(reply.score), "required": .double(reply.required),
        ]
        note["autolearn"] = status?.autolearn.map { .string($0) }
        note["tests"] = status?.tests.map { .string($0) }
        note["version"] = status?.version.map { .string($0) }
        event.notes[.spamassassin] = .object(note)
        if reply.isSpam { event.adjustKarma(by: -1) }
        switch status?.autolearn {
        case "ham"?: event.adjustKarma(by: 1)
        case "spam"?: event.adjustKarma(by: -1)
        default: break
        }
    }

    // MARK: The user

    /// Whether the user depends on the recipient.
    private var asksForRecipient: Bool { self.user == "vpopmail" || self.user.contains("%") }

    /// Whose preferences count: `vpopmail`, `%u`, `%h` and `%a` stand for the recipient, if there is only one.
    private func user(for event: DataPostEvent) -> String {
        guard self.asksForRecipient else { return self.user }
        let isPattern = self.user != "vpopmail"
        let usual = isPattern ? Self.ownUser : self.user
        guard event.recipients.count == 1, let recipient = event.recipients.first,
            let address = recipient.address.string, let local = recipient.local.string,
            let host = recipient.domain.string
        else { return usual }
        var name = ""
        var rest = (isPattern ? self.user : "%a")[...]
        while let character = rest.popFirst() {
            guard character == "%", let letter = rest.first else {
                name.append(character)
                continue
            }
            rest.removeFirst()
            switch letter {
            case "u": name += local
            case "h": name += host
            case "a": name += address
            default: name.append(letter)
            }
        }
        // spamd makes paths of it.
        let isPath = name.utf8.contains(UInt8(ascii: "/")) || name == "." || name == ".."
        guard UserName(name) != nil, !isPattern || !isPath else { return usual }
        return name
    }

    private static var ownUser: String {
        guard let entry = getpwuid(geteuid()), let name = entry.pointee.pw_name else {
            return "nobody"
        }
        return String(cString: name)
    }
}

extension NoteKey<JSONValue> {
    /// What spamd said: `is_spam` (`Yes` or `No`), `score`, `required`, `autolearn`, `tests`, `version`.
    static let spamassassin = NoteKey("spamassassin", in: .transaction)
}

/// A score, or never.
private struct Threshold: Sendable {
    /// `nil`: never.
    let number: Double?

    /// As the argument `reject` and the file `spamassassin_reject` have it.
    init?(word: String) {
        if word.lowercased() == "userprefs" {
            self.number = nil
        } else if let number = SpamdReply.number(word) {
            self.number = number == 0 ? nil : number
        } else {
            return nil
        }
    }

    init(number: Double?) { self.number = number }

    /// The first line of a file; `nil` if there is none.
    @Sendable
    static func read(_ lines: [ControlLine]) throws -> Self? {
        guard let line = lines.first else { return nil }
        guard let threshold = Self(word: line.text) else {
            throw line.problem("\(line.text) is no score")
        }
        return threshold
    }
}

/// Text that may stand in a header field.
private struct PrintableText: Sendable {
    let text: String

    init?(_ text: String) {
        guard !text.isEmpty, text.utf8.count <= 200,
            text.utf8.allSatisfy({ 0x20...0x7E ~= $0 })
        else { return nil }
        self.text = text
    }
}

/// A name that may stand in a line of spamd's protocol.
private struct UserName: Sendable {
    init?(_ text: String) {
        guard !text.isEmpty, text.utf8.count <= 320,
            text.utf8.allSatisfy({ 0x21...0x7E ~= $0 })
        else { return nil }
    }
}

extension ArgumentType<Threshold> {
    fileprivate static var threshold: Self {
        Self("a score, or userprefs (never), or 0 (never)") { Threshold(word: $0) }
    }
}

extension ArgumentType<String> {
    fileprivate static var headerText: Self {
        Self("printable ASCII, at most 200 characters") { PrintableText($0)?.text }
    }

    fileprivate static var userName: Self {
        Self("a user's name, printable ASCII") { UserName($0) == nil ? nil : $0 }
    }
}
