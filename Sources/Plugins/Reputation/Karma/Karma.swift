import KarmaRecords
package import PolicyKit

/// Remembers how clients behaved, and keeps those away for a while that were bad.
///
/// See README.md.
package struct Karma: ConnectHook, MailHook, RcptHook, DataHook, DisconnectHook {
    package static let name = KarmaRecord.plugin

    /// Below this a message is not taken any more.
    private static let veryBad = -4

    private let rules: KarmaRecord.Rules
    private let lifetime: Duration
    /// The most recipients of a message of an unknown client; 0: any number.
    private let unknownRecipients: Int
    private let domains: ControlFile<[Bytes: Int]>
    private let store: PluginStore
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.rules = KarmaRecord.Rules(
            strikes: configuration.argument("strikes", as: .integer(in: 1...1_000), default: 3),
            negative: configuration.argument("negative", as: .integer(in: 1...1_000), default: 1),
            penaltyDays: configuration.argument(
                "penalty_days",
                as: .integer(in: 0...365),
                default: 1
            )
        )
        self.lifetime = configuration.argument(
            "expire",
            as: .duration(in: .seconds(3_600) ... .seconds(86_400 * 3_650)),
            default: KarmaRecord.usualLifetime
        )
        self.unknownRecipients = configuration.argument(
            "unknown_rcpts",
            as: .integer(in: 0...1_000),
            default: 0
        )
        configuration.ignoreOldStorage("db_dir", "nfslock", "redis")
        self.store = configuration.guardedStore()
        self.refusal = configuration.refusal(.naughty, .disconnect)
        self.domains = try configuration.controlFile("karma_tlds") { lines in
            try Dictionary(lines.map(Self.domain)) { _, last in last }
        }
    }

    package func subscription(at hook: Hook) -> Subscription? {
        hook == .rcpt && self.unknownRecipients == 0 ? nil : Subscription()
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        let key = KarmaRecord.key(try event.clientAddress())
        if event.isImmune { return event.skip("immune") }
        let found: Bytes?
        switch await self.store.use(event, { try await $0.get(key) }) {
        case .failed(let answer): return answer
        case .done(let value): found = value
        }
        guard let value = found else { return event.pass("no record") }
        guard let record = KarmaRecord(value) else {
            return event.error("\(key): no record: \(value)")
        }
        event.notes[.karmaHistory] = record.history
        let now = event.nowMilliseconds / 1_000
        guard record.isPenalized(at: now) else {
            return event.pass("\(record.naughty) naughty, \(record.nice) nice")
        }
        let days = record.penaltyDays(at: now)
        return event.refuse(
            self.refusal,
            "You were naughty. You cannot connect for \(days) more day\(days == 1 ? "" : "s").",
            detail: "7.1"
        )
    }

    package func mail(_ event: MailEvent) async throws -> Answer {
        let domain = event.sender.domain.asciiLowercased.octets
        let end = domain.lastIndex(of: UInt8(ascii: ".")).map { $0 + 1 } ?? domain.startIndex
        let name = Bytes(octets: Array(domain[end...]))
        guard !event.isImmune, let change = event.value(of: self.domains)[name],
            let text = name.string, event.notes[.karmaDomains]?.contains(text) != true
        else { return .declined }
        event.notes[.karmaDomains] = (event.notes[.karmaDomains] ?? []) + [text]
        event.adjustKarma(by: change)
        return event.info("sender in .\(text): \(change)")
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        guard event.transaction.recipientCount >= self.unknownRecipients,
            event.notes[.karma] ?? 0 <= 0, event.notes[.karmaHistory] ?? 0 <= 0
        else { return event.pass() }
        // A flag of the session would be too much for a list of recipients that is only long.
        let mode: Refusal.Mode = self.refusal.mode == .tolerate ? .tolerate : .reject
        return event.refuse(
            Refusal(mode, .temp),
            "Too many recipients for a client that is not known",
            detail: "5.3",
            code: 452
        )
    }

    package func data(_ event: DataEvent) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        let karma = event.notes[.karma] ?? 0
        guard karma < Self.veryBad else { return event.pass("karma \(karma)") }
        return event.refuse(self.refusal, "very bad karma: \(karma)", detail: "7.1")
    }

    package func disconnect(_ event: DisconnectEvent) async throws {
        let key = KarmaRecord.key(try event.clientAddress())
        guard !event.session.relay, let karma = event.notes[.karma], karma != 0 else {
            event.skip("no karma")
            return
        }
        let now = event.nowMilliseconds / 1_000
        let (rules, lifetime) = (self.rules, self.lifetime)
        let outcome = await self.store.use(event) { store in
            var ending = KarmaRecord.Ending.neutral
            try await store.update(key) { value in
                var record = value.flatMap { KarmaRecord($0) } ?? KarmaRecord()
                ending = record.count(karma: karma, by: rules, at: now)
                return StoreChange(
                    to: record.value,
                    expiresIn: record.lifetime(lifetime, at: now)
                )
            }
            return ending
        }
        guard case .done(let ending) = outcome else { return }
        switch ending {
        case .nice: event.pass("karma \(karma): nice")
        case .neutral: event.info("karma \(karma): neutral")
        case .naughty: event.info("karma \(karma): naughty")
        case .penalty(let days): event.info("karma \(karma): naughty, away for \(days) days")
        }
    }

    /// A line of `karma_tlds`: `tld:-2`.
    @Sendable
    private static func domain(_ line: ControlLine) throws -> (Bytes, Int) {
        let parts = line.text.split(separator: ":")
        let change = parts.last.flatMap { Int($0.trimmedOfSpaces) }
        guard parts.count == 2, let change, (-100...100).contains(change) else {
            throw line.problem("\(line.text) is no top-level domain, colon and number (top:-2)")
        }
        let name = parts[0].trimmedOfSpaces.drop { $0 == "." }.lowercased()
        return (Bytes(name), change)
    }
}

extension Substring {
    fileprivate var trimmedOfSpaces: Substring {
        var text = self.drop { $0 == " " || $0 == "\t" }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}

extension NoteKey<[String]> {
    /// The top-level domains that changed this session's karma already.
    fileprivate static let karmaDomains = NoteKey("karma_tlds", in: .session)
}
