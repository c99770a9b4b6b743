import Octets
package import PolicyKit

/// Refuses clients by the name that they give at HELO or EHLO.
///
/// See README.md.
package struct Helo: HeloHook, EhloHook, DataPostHook {
    /// How much a name must be; each with all before it.
    private enum HelloPolicy: String, CaseIterable {
        case lenient
        case rfc
        case strict
    }

    package static let name = "helo"
    package static let aliases = ["check_spamhelo"]

    private let policy: HelloPolicy
    private let time: Duration
    private let addsField: Bool
    private let refusal: Refusal
    private let badNames: ControlFile<[BadHelo]>
    private let resolver: any NameResolver

    package init(configuration: PluginConfiguration) throws {
        self.policy = configuration.argument(
            "policy",
            as: ArgumentType<HelloPolicy>.choice,
            default: .lenient
        )
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100) ... .seconds(60)),
            default: .seconds(5)
        )
        self.addsField = configuration.argument("x_helo", as: .flag, default: false)
        self.refusal = configuration.refusal(.reject, .disconnect)
        self.badNames = try configuration.controlFile("badhelo", line: BadHelo.init)
        self.resolver = try configuration.resolver()
    }

    package func subscription(at hook: Hook) -> Subscription? {
        hook == .data_post && !self.addsField ? nil : Subscription()
    }

    package func helo(_ event: HeloEvent) async throws -> Answer { try await self.check(event) }

    package func ehlo(_ event: EhloEvent) async throws -> Answer { try await self.check(event) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        event.deleteHeaders(named: "X-HELO")
        if let hello = event.session.hello {
            let printable = hello.name.octets.map { (0x21...0x7E).contains($0) ? $0 : 0x3F }
            event.addHeader("X-HELO", String(decoding: printable, as: UTF8.self))
        }
        return .declined
    }

    private func check<Stage: HelloStage>(_ event: HookEvent<Stage>) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        if event.session.hello?.verb == "LHLO" { return event.skip("LMTP") }
        let client = try event.clientAddress()
        let name = GreetedName(event.name.octets)
        for bad in event.value(of: self.badNames) where try bad.matches(name.octets) {
            return self.refuse(event, bad.text(event.name))
        }
        if let text = self.problem(of: name, client) { return self.refuse(event, text) }
        guard self.policy != .lenient, case .domain(let domain) = name.form else {
            return event.pass()
        }
        let lookup = HelloLookup(
            resolver: self.resolver,
            deadline: .now + min(self.time, event.workingTime)
        )
        let found = await lookup.look(domain, client)
        return self.answer(found, domain, event)
    }

    /// What is wrong with a name by itself; `nil`: nothing.
    private func problem(of name: GreetedName, _ client: IPAddress) -> String? {
        switch name.form {
        case .address(let address):
            return address == client
                ? "An IP address without brackets is no HELO name (RFC 5321)"
                : "Forged IPs not accepted here"

        case .literal(let address):
            // A private address is what a client behind NAT knows of itself.
            if address != client, address.isLoopback || !PrivateNetworks.contains(address) {
                return "Forged IPs not accepted here"
            }
            return self.policy == .strict
                ? "RFC 5321 allows an address literal, but we do not" : nil

        case .localhost: return client.isLoopback ? nil : "You are not localhost"
        case .domain(let domain):
            let isLocal = self.policy == .lenient || domain.text.contains(".")
            return isLocal ? nil : "HELO name is not fully qualified. Read RFC 5321"

        case .other:
            return self.policy == .lenient
                ? nil : "HELO name contains invalid characters. Read RFC 5321"
        }
    }

    private func answer<Stage: HelloStage>(
        _ found: HelloFindings,
        _ domain: DNSName,
        _ event: HookEvent<Stage>
    ) -> Answer {
        let matchedBefore =
            event.notes[.heloForwardMatch] == true && event.notes[.heloReverseMatch] == true
        event.notes[.heloForwardMatch] = found.forward == .matches
        event.notes[.heloReverseMatch] = found.reverse == .matches
        for case .unknown(let reason) in [found.forward, found.reverse] { event.error(reason) }
        if found.forward == .missing { return self.refuse(event, "HELO name does not exist") }
        if found.reverse == .missing {
            return self.refuse(event, "No reverse DNS for \(event.session.client.ip)")
        }
        if found.forward == .matches, found.reverse == .matches {
            // Once a session: a client may greet as often as it likes.
            if !matchedBefore { event.adjustKarma(by: 1) }
            return event.pass("\(domain) matches")
        }
        if self.policy == .strict, found.forward == .differs, found.reverse == .differs {
            return self.refuse(event, "That HELO name does not match your address")
        }
        return event.pass("\(domain)")
    }

    private func refuse<Stage: HelloStage>(_ event: HookEvent<Stage>, _ text: String) -> Answer {
        event.adjustKarma(by: -1)
        return event.refuse(self.refusal, text, detail: "7.1")
    }
}

extension NoteKey<Bool> {
    /// Whether the client's address, or one of its network, is among those of the name that it gave.
    static let heloForwardMatch = NoteKey("helo_forward_match", in: .session)
    /// Whether a name of the client's address is of the domain of the name that it gave.
    static let heloReverseMatch = NoteKey("helo_reverse_match", in: .session)
}
