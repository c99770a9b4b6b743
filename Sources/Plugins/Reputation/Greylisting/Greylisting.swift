package import PolicyKit

/// Refuses for a while who was not here before.
///
/// See README.md.
package struct Greylisting: MailHook, RcptHook, DataHook {
    package static let name = "greylisting"
    package static let aliases = ["denysoft_greylist"]

    private static let text = "This mail is temporarily denied"

    private let key: GreylistKey
    private let times: GreylistRecord.Times
    private let exemptions: GreylistExemptions
    /// A client that passed so often passes with every sender and recipient; 0: none does.
    private let autoWhitelist: Int
    private let isLate: Bool
    private let isPerRecipient: Bool
    private let recipients: ControlFile<[GreylistExclusion]>
    private let store: PluginStore
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.key = GreylistKey(configuration)
        self.exemptions = try GreylistExemptions(configuration)
        self.isLate = configuration.argument("deny_late", as: .flag, default: false)
        self.isPerRecipient = configuration.argument("per_recipient", as: .flag, default: false)
        let autoWhitelist = configuration.argument(
            "auto_whitelist",
            as: .integer(in: 0...1_000),
            default: 5
        )
        // Where the record is the client's own, it is white anyway.
        self.autoWhitelist = self.key.isOfClientAlone ? 0 : autoWhitelist
        let times = ArgumentType<Duration>.duration(in: .zero ... .seconds(86_400 * 400))
        let black = configuration.argument("black_timeout", as: times, default: .seconds(3_000))
        let old = configuration.argument("grey_timeout", as: times, default: .seconds(14_400))
        let window = configuration.argument("retry_window", as: times, default: old)
        let white = configuration.argument(
            "white_timeout",
            as: times,
            default: .seconds(36 * 86_400)
        )
        self.times = GreylistRecord.Times(black: black, window: window, white: white)
        if window <= black {
            configuration.record(
                "retry_window must be longer than black_timeout, or no client ever passes"
            )
        }
        configuration.ignoreOldStorage("db_dir", "nfslock", "redis", "upgrade")
        self.store = configuration.guardedStore()
        self.refusal = configuration.refusal(.reject, .temp)
        if self.refusal.type.isPermanent {
            configuration.record(
                "reject_type must be temp or temp_disconnect: the client is to come again"
            )
        }
        self.recipients = try configuration.controlFile(
            "greylist_recipients",
            line: GreylistExclusion.recipient
        )
    }

    package func subscription(at hook: Hook) -> Subscription? {
        let isAtRcpt = self.key.hasRecipient || self.isPerRecipient
        switch hook {
        case .mail: return isAtRcpt ? nil : Subscription()
        case .rcpt: return isAtRcpt ? Subscription() : nil
        default: return isAtRcpt || self.isLate ? Subscription() : nil
        }
    }

    package func mail(_ event: MailEvent) async throws -> Answer {
        try await self.answer(event, event.sender, nil)
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        if self.isPerRecipient {
            let own = event.value(of: self.recipients, for: event.recipient)
            let listed = own ?? event.value(of: self.recipients)
            guard listed.contains(where: { $0.contains(event.recipient) }) else {
                return event.skip("not in greylist_recipients")
            }
        }
        return try await self.answer(event, event.transaction.sender, event.recipient)
    }

    package func data(_ event: DataEvent) async throws -> Answer {
        guard event.notes[.greylistDenied] == true else { return event.pass() }
        return event.refuse(self.refusal, Self.text, detail: "7.1")
    }

    private func answer<Stage>(
        _ event: HookEvent<Stage>,
        _ sender: Sender,
        _ recipient: Recipient?
    ) async throws -> Answer {
        let address = try event.clientAddress()
        let one = self.isPerRecipient ? recipient : nil
        if let reason = try self.exemptions.reason(event, address, for: one) {
            return event.skip(reason)
        }
        let keys = self.key.keys(address, sender, recipient)
        let now = event.nowMilliseconds
        let (times, count) = (self.times, self.autoWhitelist)
        let outcome = await self.store.use(event) { store in
            if count > 0, try await Self.isWhite(store, keys.client, times, count, now) {
                return GreylistRecord.Outcome.known
            }
            var outcome = GreylistRecord.Outcome.new
            try await store.update(keys.record) { value in
                let tried = GreylistRecord.tried(
                    value.flatMap { GreylistRecord($0) },
                    at: now,
                    times
                )
                outcome = tried.outcome
                return StoreChange(to: tried.record.value, expiresIn: tried.lifetime)
            }
            if count > 0, outcome == .passed || outcome == .known {
                try await Self.countPass(store, keys.client, times, now)
            }
            return outcome
        }
        switch outcome {
        case .failed(let answer): return answer
        case .done(.known): return event.pass("known")
        case .done(.passed): return event.pass("came again in time")
        case .done(.new): event.info("new: \(keys.record)")
        case .done(.early(let left)): event.info("too early by \(left.components.seconds) s")
        }
        // Whoever asks by a null sender whether a recipient is there sends no DATA, and shall get its answer.
        if self.isLate || sender.isNull && recipient != nil {
            event.notes[.greylistDenied] = true
            return event.info("refused at DATA")
        }
        return event.refuse(self.refusal, Self.text, detail: "7.1")
    }

    /// Whether a client passed often enough.
    private static func isWhite(
        _ store: any Store,
        _ key: Bytes,
        _ times: GreylistRecord.Times,
        _ count: Int,
        _ now: Int64
    ) async throws -> Bool {
        guard let value = try await store.get(key), let record = GreylistRecord(value),
            record.passed >= count
        else { return false }
        try await Self.countPass(store, key, times, now)
        return true
    }

    private static func countPass(
        _ store: any Store,
        _ key: Bytes,
        _ times: GreylistRecord.Times,
        _ now: Int64
    ) async throws {
        try await store.update(key) { value in
            var record = value.flatMap { GreylistRecord($0) } ?? GreylistRecord(first: now)
            record.pass(at: now)
            return StoreChange(to: record.value, expiresIn: times.white)
        }
    }
}

/// What a record is kept for.
struct GreylistKey: Sendable {
    private let hasClient: Bool
    private let hasSender: Bool
    let hasRecipient: Bool
    private let ipv4Prefix: Int
    private let ipv6Prefix: Int

    init(_ configuration: PluginConfiguration) {
        self.hasClient = configuration.argument("remote_ip", as: .flag, default: true)
        self.hasSender = configuration.argument("sender", as: .flag, default: false)
        self.hasRecipient = configuration.argument("recipient", as: .flag, default: false)
        self.ipv4Prefix = configuration.argument(
            "ipv4_prefix",
            as: .integer(in: 8...32),
            default: 32
        )
        self.ipv6Prefix = configuration.argument(
            "ipv6_prefix",
            as: .integer(in: 16...128),
            default: 64
        )
        if !self.hasClient, !self.hasSender, !self.hasRecipient {
            configuration.record("one of remote_ip, sender and recipient must be 1")
        }
    }

    var isOfClientAlone: Bool { !self.hasSender && !self.hasRecipient }

    /// The keys of the record and of the client.
    func keys(
        _ address: IPAddress,
        _ sender: Sender,
        _ recipient: Recipient?
    ) -> (record: Bytes, client: Bytes) {
        let prefix = address.isIPv6 ? self.ipv6Prefix : self.ipv4Prefix
        let isWhole = prefix == (address.isIPv6 ? 128 : 32)
        let network =
            isWhole
            ? "\(address)"
            : IPNetwork(address, prefixLength: prefix).map { "\($0)" } ?? "\(address)"
        var parts: [[UInt8]] = []
        if self.hasClient { parts.append(Array("ip=\(network)".utf8)) }
        if self.hasSender {
            parts.append(Array("sender=".utf8) + ClientKey.address(sender.address))
        }
        if self.hasRecipient, let recipient {
            parts.append(Array("recipient=".utf8) + ClientKey.address(recipient.address))
        }
        let record = Array(parts.joined(separator: [UInt8(ascii: " ")]))
        return (Bytes(octets: record), Bytes("client=\(network)"))
    }
}

/// Who is left alone.
struct GreylistExemptions: Sendable {
    private let files: [ControlFile<[GreylistExclusion]>]
    private let isTLSExempt: Bool
    private let isWhitelistedExempt: Bool
    /// Only clients of these countries are looked at; empty: all.
    private let countries: [String]
    /// Only clients with these facts are looked at; empty: all.
    private let systems: [(name: String, value: String)]

    init(_ configuration: PluginConfiguration) throws {
        self.isTLSExempt = configuration.argument("exempt_tls", as: .flag, default: false)
        self.isWhitelistedExempt = configuration.argument(
            "exempt_whitelisthost",
            as: .flag,
            default: true
        )
        self.countries =
            configuration.argument("geoip", as: .text)?.split(separator: ",")
            .map { $0.lowercased() } ?? []
        let words = configuration.argument("p0f", as: .text)?.split(separator: ",") ?? []
        self.systems = stride(from: 0, to: words.count - 1, by: 2).map {
            (String(words[$0]), String(words[$0 + 1]))
        }
        if !words.count.isMultiple(of: 2) {
            configuration.record(
                "argument p0f must be names and values with commas between: genre,Windows"
            )
        }
        let names = try configuration.controlFile("greylist_exclude_files").value(
            startedMilliseconds: .max
        )
        for name in names where name.contains("/") {
            configuration.record(
                "greylist_exclude_files names \(name); it must name files of the configuration folder, "
                    + "which may $include others"
            )
        }
        self.files = try (["greylist_exclude"] + names.filter { !$0.contains("/") }).map {
            try configuration.controlFile($0, line: GreylistExclusion.client)
        }
        let old = try configuration.controlFile("denysoft_greylist").value(
            startedMilliseconds: .max
        )
        if !old.isEmpty {
            configuration.warn(
                "the file denysoft_greylist is not read: write its arguments into this line"
            )
        }
    }

    /// Why this client is left alone; `nil`: it is not.
    ///
    /// The `recipient`'s own files count in place of the common ones; `nil`: only the common ones.
    func reason<Stage>(
        _ event: HookEvent<Stage>,
        _ address: IPAddress,
        for recipient: Recipient?
    ) throws -> String? {
        if event.isImmune {
            let isByHost =
                !self.isWhitelistedExempt && !event.session.relay
                && event.notes[.whitelisthost] != nil && event.notes[.whitelistsender] == nil
                && event.notes[.whitelistRecipient] != true
            if !isByHost { return "immune" }
        }
        if event.notes[.naughty]?.isEmpty == false { return "naughty" }
        if self.isTLSExempt, event.session.tls != nil { return "TLS" }
        if !self.countries.isEmpty {
            let country = event.notes[.greylistCountry]?.lowercased()
            guard let country, self.countries.contains(country) else {
                return "not of a country that is greylisted"
            }
        }
        if !self.systems.isEmpty {
            let facts = event.notes[.greylistSystem]
            let isMeant = self.systems.allSatisfy { name, value in
                facts?[name].flatMap { String(json: $0) }?.lowercased() == value.lowercased()
            }
            guard isMeant else { return "not of a system that is greylisted" }
        }
        for file in self.files {
            let own = recipient.flatMap { event.value(of: file, for: $0) }
            for line in own ?? event.value(of: file)
            where try line.contains(client: address, name: event.session.client.name) {
                return "excluded"
            }
        }
        return nil
    }
}

extension NoteKey<Bool> {
    /// The message is refused at DATA.
    fileprivate static let greylistDenied = NoteKey("greylist_denied", in: .transaction)
}

extension NoteKey<String> {
    /// The country of the client, two letters.
    fileprivate static let greylistCountry = NoteKey("geoip_country", in: .session)
}

extension NoteKey<JSONValue> {
    /// What is known of the client's system.
    fileprivate static let greylistSystem = NoteKey("p0f", in: .session)
}
