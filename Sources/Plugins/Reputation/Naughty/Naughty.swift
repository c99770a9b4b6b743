package import PolicyKit

/// Refuses sessions for what other plugins found: `reject naughty`.
///
/// See README.md.
package struct Naughty: ConnectHook, MailHook, RcptHook, DataHook, DataPostHook, RefusalDelay {
    private enum Place: String, CaseIterable {
        case connect
        case mail
        case rcpt
        case data
        case dataPost = "data_post"
    }

    package static let name = "naughty"
    package static let aliases = ["delay_deny"]

    private let place: Place
    /// How it refuses; `nil`: as the plugin that flagged the session first.
    private let type: RefusalType?
    private let isTolerant: Bool
    private let delaysAll: Bool
    /// The plugins whose refusals are put off; empty: all.
    private let included: [String]
    private let excluded: [String]

    package init(configuration: PluginConfiguration) {
        let isDelay = configuration.writtenName == "delay_deny"
        self.delaysAll = configuration.argument("delay_deny", as: .flag, default: isDelay)
        self.included = configuration.argument("included_plugins", as: .names, default: [])
        self.excluded = configuration.argument("excluded_plugins", as: .names, default: [])
        var places = Dictionary(
            uniqueKeysWithValues: Place.allCases.map { ($0.rawValue, Optional($0)) }
        )
        places["1"] = .rcpt
        places.updateValue(nil, forKey: "0")
        let place = configuration.argument("reject", as: .choice(places), default: .rcpt)
        self.isTolerant = place == nil
        self.place = place ?? .rcpt
        self.type = configuration.argument(
            "reject_type",
            as: .choice([
                "perm": RefusalType.perm, "hard": .perm, "temp": .temp, "soft": .temp,
                "disconnect": .disconnect, "temp_disconnect": .tempDisconnect,
            ])
        )
        if !self.delaysAll, !self.included.isEmpty || !self.excluded.isEmpty {
            configuration.record(
                "included_plugins and excluded_plugins need delay_deny 1, which puts refusals off"
            )
        }
        if self.delaysAll, self.place == .connect || self.place == .mail {
            configuration.record("with delay_deny 1 reject is rcpt, data or data_post")
        }
    }

    package func subscription(at hook: Hook) -> Subscription? {
        var subscription = Subscription()
        if hook == .rcpt { subscription.precedes = RcptOK.name }
        // At mail a login is seen, wherever sessions are refused; data_post is the net under all.
        return hook == .mail || hook == .data_post || hook.rawValue == self.place.rawValue
            ? subscription : nil
    }

    package func delaysRefusals(of plugin: Substring) -> Bool {
        self.delaysAll && plugin != Self.name
            && (self.included.isEmpty || self.included.contains { $0 == plugin })
            && !self.excluded.contains { $0 == plugin }
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer { self.dispose(event) }

    package func mail(_ event: MailEvent) async throws -> Answer {
        if event.session.authentication != nil, event.notes[.naughty] != nil {
            event.notes[.naughty] = nil
            return event.pass("logged in: the session's flags are forgotten")
        }
        return self.place == .mail ? self.dispose(event) : .declined
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer { self.dispose(event) }

    package func data(_ event: DataEvent) async throws -> Answer { self.dispose(event) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer { self.dispose(event) }

    private func dispose<Stage>(_ event: HookEvent<Stage>) -> Answer {
        if event.isImmune { return event.skip("immune") }
        let flags = (event.notes[.naughty] ?? []) + (event.notes[.delayedRefusals] ?? [])
        guard let first = flags.first else { return event.pass("clean") }
        if self.isTolerant {
            let text = flags.map { "\($0.plugin): \($0.text)" }.joined(separator: "; ")
            return event.refuse(Refusal(.tolerate), text)
        }
        return event.refuse(self.type ?? first.type, for: flags, detail: first.detail ?? "7.1")
    }
}

extension ArgumentType<[String]> {
    /// Names with commas between them.
    fileprivate static var names: Self {
        Self("names of plugins, with commas between them") { word in
            word.split(separator: ",").map { String($0) }
        }
    }
}
