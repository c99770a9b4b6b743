import DomainNames
package import PolicyKit

/// Limits how many connections, messages, recipients and errors come in a time.
///
/// See README.md.
package struct RateLimit: ConnectHook, MailHook, RcptHook, DenyHook, DisconnectHook {
    package static let name = "limit"

    private static let maximumRules = 64

    private let file: ControlFile<[LimitRule]>
    private let lineRules: [LimitRule]
    private let countsImmune: Bool
    private let store: PluginStore
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        var rules: [LimitRule] = []
        for text in configuration.arguments("rule", as: .text) {
            do throws(PluginError) {
                rules.append(try LimitRule(words: text.split(separator: " ").map { String($0) }))
            } catch {
                configuration.record("rule \(error)")
            }
        }
        self.lineRules = rules
        let name = configuration.argument("file", as: .text, default: "limits")
        self.countsImmune = configuration.argument("immune", as: .countOrSkip, default: false)
        self.store = configuration.guardedStore()
        self.refusal = configuration.refusal(.reject, .temp)
        let inLine = rules.count
        self.file = try configuration.controlFile(name) { lines in
            guard lines.count + inLine <= Self.maximumRules else {
                throw PluginError("\(name) has more than \(Self.maximumRules) rules")
            }
            return try lines.map { line in
                do throws(PluginError) {
                    return try LimitRule(words: line.words)
                } catch {
                    throw line.problem("\(error)")
                }
            }
        }
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        let facts = LimitFacts(event)
        let rules = self.rules(event)
        if let answer = await self.count(.connections, rules, facts, event) { return answer }
        return await self.look(rules.filter { $0.isAtConnect }, facts, event) ?? event.pass()
    }

    package func mail(_ event: MailEvent) async throws -> Answer {
        let facts = LimitFacts(event, sender: event.sender)
        let rules = self.rules(event)
        if let answer = await self.look(rules.filter { !$0.isAtConnect }, facts, event) {
            return answer
        }
        return await self.count(.messages, rules, facts, event) ?? event.pass()
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        let facts = LimitFacts(
            event,
            sender: event.transaction.sender,
            recipient: event.recipient
        )
        return await self.count(.recipients, self.rules(event), facts, event) ?? event.pass()
    }

    package func deny(_ event: DenyEvent) async throws {
        guard event.verdict == .deny || event.verdict == .deny_disconnect,
            event.plugin?.prefix(while: { $0 != ":" }) != Self.name[...]
        else { return }
        await self.addErrors(1, event)
    }

    package func disconnect(_ event: DisconnectEvent) async throws {
        // Errors of SMTP itself, which no plugin hears of.
        let errors = event.session.counters.errors
        if errors > 0 { await self.addErrors(errors, event) }
    }

    /// The rules that count for this session.
    private func rules<Stage>(_ event: HookEvent<Stage>) -> [LimitRule] {
        let rules = self.lineRules + event.value(of: self.file)
        guard !self.countsImmune, event.isImmune else { return rules }
        // Users are relay clients: what is limited for them counts.
        return rules.filter { $0.keys.contains(.user) }
    }

    /// Counts one for each rule about `subject`.
    ///
    /// - Returns: What to answer if that is too many, or the store failed; `nil` if not.
    private func count<Stage>(
        _ subject: LimitRule.Subject,
        _ rules: [LimitRule],
        _ facts: LimitFacts,
        _ event: HookEvent<Stage>
    ) async -> Answer? {
        let meant = rules.compactMap { rule in
            rule.subject == subject ? facts.key(of: rule).map { (rule, $0) } : nil
        }
        guard !meant.isEmpty else { return nil }
        let now = event.nowMilliseconds * 1_000
        let outcome = await self.store.use(event) { store in
            var exceeded: LimitRule?
            for (rule, key) in meant {
                let isWithin = try await Self.add(store, rule, key, now)
                if !isWithin, exceeded == nil { exceeded = rule }
            }
            return exceeded
        }
        switch outcome {
        case .failed(let answer): return answer
        case .done(nil): return nil
        case .done(let rule?): return self.refuse(rule, event)
        }
    }

    /// Counts one.
    ///
    /// - Returns: Whether the rule allows it.
    private static func add(
        _ store: any Store,
        _ rule: LimitRule,
        _ key: Bytes,
        _ now: Int64
    ) async throws -> Bool {
        guard rule.burst != nil else {
            let count = try await store.add(1, to: key, expiresIn: .seconds(rule.window))
            return count <= Int64(rule.count)
        }
        var isWithin = false
        try await store.update(key) { value in
            let emptyAt = value?.string.flatMap { Int64($0) }
            let filled = rule.fill(emptyAt, at: now)
            isWithin = filled != nil
            guard let filled else { return StoreChange(to: value, expiresIn: nil) }
            return StoreChange(
                to: Bytes("\(filled)"),
                expiresIn: .microseconds(filled - now)
            )
        }
        return isWithin
    }

    /// Looks whether a rule about errors is exceeded.
    private func look<Stage>(
        _ rules: [LimitRule],
        _ facts: LimitFacts,
        _ event: HookEvent<Stage>
    ) async -> Answer? {
        let meant = rules.compactMap { rule in
            rule.subject == .errors ? facts.key(of: rule).map { (rule, $0) } : nil
        }
        guard !meant.isEmpty else { return nil }
        let outcome = await self.store.use(event) { store in
            for (rule, key) in meant {
                let count = try await store.get(key)?.string.flatMap { Int64($0) } ?? 0
                if count >= Int64(rule.count) { return Optional(rule) }
            }
            return nil
        }
        switch outcome {
        case .failed(let answer): return answer
        case .done(nil): return nil
        case .done(let rule?): return self.refuse(rule, event)
        }
    }

    private func addErrors<Stage>(_ count: Int, _ event: HookEvent<Stage>) async {
        let facts = LimitFacts(event)
        let meant = self.rules(event).compactMap { rule in
            rule.subject == .errors ? facts.key(of: rule).map { (rule, $0) } : nil
        }
        guard !meant.isEmpty else { return }
        _ = await self.store.use(event) { store in
            for (rule, key) in meant {
                _ = try await store.add(Int64(count), to: key, expiresIn: .seconds(rule.window))
            }
        }
    }

    private func refuse<Stage>(_ rule: LimitRule, _ event: HookEvent<Stage>) -> Answer {
        event.info("exceeded: \(rule.description)")
        // Once a session: a client that has a hundred recipients too many is not a hundred times worse.
        let exceeded = event.notes[.limitsExceeded] ?? []
        if !exceeded.contains(rule.description) {
            event.notes[.limitsExceeded] = exceeded + [rule.description]
            if !event.isImmune { event.adjustKarma(by: -1) }
        }
        let isAtConnect = event.hook == .connect
        return event.refuse(
            self.refusal,
            rule.text ?? "Too many \(rule.subject.rawValue), try again later",
            detail: "7.0",
            code: self.refusal.type == .temp && !isAtConnect ? 451 : nil
        )
    }
}

extension LimitRule {
    /// Whether it is looked at when the client connects.
    fileprivate var isAtConnect: Bool { self.keys.allSatisfy(\.isKnownAtConnect) }
}

/// What is known of a session that is counted.
private struct LimitFacts: Sendable {
    private var values: [LimitRule.Key: [UInt8]] = [.all: []]

    init<Stage>(
        _ event: HookEvent<Stage>,
        sender: Sender? = nil,
        recipient: Recipient? = nil
    ) {
        let session = event.session
        if let address = IPAddress(parsing: session.client.ip) {
            let isIPv6 = address.isIPv6
            self.values[.client] = Array("\(address.clientNetwork)\(isIPv6 ? "/64" : "")".utf8)
            self.values[.network] = Array("\(address.clientSite)\(isIPv6 ? "/48" : "/24")".utf8)
        }
        switch event.notes[.limitASN] {
        case .string(let text) where !text.isEmpty: self.values[.asn] = Array(text.utf8)
        case .int(let number): self.values[.asn] = Array("\(number)".utf8)
        default: break
        }
        self.values[.helo] = session.hello.map { DomainSpelling.canonical($0.name.octets) }
        self.values[.user] = session.authentication?.user.asciiLowercased.octets
        if let sender {
            self.values[.sender] = Array(
                sender.isNull
                    ? Array("<>".utf8) : DomainSpelling.canonical(address: sender.address.octets)
            )
            self.values[.senderDomain] =
                sender.isNull ? nil : DomainSpelling.canonical(sender.domain.octets)
        }
        if let recipient {
            self.values[.recipient] = DomainSpelling.canonical(address: recipient.address.octets)
            self.values[.recipientDomain] = DomainSpelling.canonical(recipient.domain.octets)
        }
    }

    /// The entry of the store in which the rule counts; `nil` if the rule does not mean this session.
    ///
    /// A rule that allows another number has the same entry, so that counts stay when it is changed.
    func key(of rule: LimitRule) -> Bytes? {
        var key = Array("\(rule.subject.rawValue) \(rule.window)s".utf8)
        if rule.burst != nil { key += Array(" burst".utf8) }
        for name in rule.keys {
            guard let value = self.values[name] else { return nil }
            key += [UInt8(ascii: " ")] + Array(name.rawValue.utf8)
            if name != .all { key += [UInt8(ascii: "=")] + ClientKey.part(value) }
        }
        return Bytes(octets: key)
    }
}

extension ArgumentType<Bool> {
    /// Whether immune sessions are counted.
    fileprivate static var countOrSkip: Self { .choice(["count": true, "skip": false]) }
}

extension NoteKey<[String]> {
    /// The rules that this session exceeded.
    static let limitsExceeded = NoteKey("limits_exceeded", in: .session)
}

extension NoteKey<JSONValue> {
    /// The number of the network that the client's address belongs to.
    fileprivate static let limitASN = NoteKey("geoip_asn", in: .session)
}
