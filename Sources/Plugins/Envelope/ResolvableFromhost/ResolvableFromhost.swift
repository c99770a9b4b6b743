package import PolicyKit

/// Refuses a sender whose domain could not get an answer: no MX, no address, or a null MX.
///
/// See the folder's README for arguments, files and replies.
package struct ResolvableFromhost: MailHook {
    package static let name = "resolvable_fromhost"
    package static let aliases = ["require_resolvable_fromhost"]

    /// All look-ups for one sender together.
    static let totalTime: Duration = .seconds(10)

    private let refusal: Refusal
    private let invalidNetworks: ControlFile<[IPNetwork]>
    private let resolver: any NameResolver

    package init(configuration: PluginConfiguration) throws {
        self.refusal = configuration.refusal(.reject, .temp)
        self.invalidNetworks = try configuration.controlFile("invalid_resolvable_fromhost") {
            line in
            guard let network = IPNetwork(parsing: line.text) else {
                throw line.problem("\(line.text) is neither an address nor a network")
            }
            return network
        }
        self.resolver = try configuration.resolver()
    }

    package func mail(_ event: MailEvent) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        let sender = event.sender
        if sender.isNull {
            event.notes[.resolvableFromhost] = "null"
            return event.pass("null sender")
        }
        let host = sender.domain.string ?? "?"
        event.notes[.resolvableFromhostHost] = host
        if sender.domain.octets.first == UInt8(ascii: "[") {
            return self.literal(host, event)
        }
        guard let name = DNSName(octets: sender.domain.octets) else {
            return self.fail("unparsable host", event)
        }
        let search = FromhostSearch(
            resolver: self.resolver,
            invalidNetworks: event.value(of: self.invalidNetworks),
            deadline: .now + min(Self.totalTime, event.workingTime)
        )
        return self.answer(await search.find(name), name, event)
    }

    private func answer(_ result: FromhostResult, _ name: DNSName, _ event: MailEvent) -> Answer {
        switch result {
        case .exchange(let exchange):
            event.notes[.resolvableFromhost] = "mx"
            return event.pass("\(name) has MX at \(exchange)")

        case .address:
            event.notes[.resolvableFromhost] = "a"
            return event.pass("found A for \(name)")

        case .nullExchange:
            event.notes[.resolvableFromhost] = "null MX for \(name)"
            event.adjustKarma(by: -1)
            return event.refuse(
                Refusal(self.refusal.mode, .perm),
                "Sender address has null MX",
                detail: "7.27",  // RFC 7505 §4.2
                code: 550
            )

        case .absent(let reason):
            return self.fail(reason, event)

        case .unknown(let reason):
            event.notes[.resolvableFromhost] = reason
            if self.refusal.mode == .tolerate { return event.error(reason) }
            event.error(reason)
            return .denysoft(
                "Could not look up the sender's domain, try again later",
                code: 451,
                status: "4.4.3"
            )
        }
    }

    private func literal(_ host: String, _ event: MailEvent) -> Answer {
        var text = host.dropFirst().dropLast()
        if text.lowercased().hasPrefix("ipv6:") { text = text.dropFirst(5) }
        guard host.hasSuffix("]"), IPAddress(parsing: String(text)) != nil else {
            return self.fail("unparsable host", event)
        }
        event.notes[.resolvableFromhost] = "ip"
        return event.pass("\(host) is an IP")
    }

    private func fail(_ reason: String, _ event: MailEvent) -> Answer {
        event.notes[.resolvableFromhost] = reason
        event.adjustKarma(by: -1)
        return event.refuse(
            self.refusal,
            "FQDN required in the envelope sender",
            detail: "1.8",  // RFC 3463 §3.2: bad sender's system address
            code: self.refusal.type.isPermanent ? 550 : 450
        )
    }
}

extension NoteKey<String> {
    /// How the sender's domain was found: `mx`, `a`, `ip`, `null`; anything else says why not.
    static let resolvableFromhost = NoteKey("resolvable_fromhost", in: .transaction)
    /// The sender's domain.
    static let resolvableFromhostHost = NoteKey("resolvable_fromhost_host", in: .transaction)
}
