package import PolicyKit

/// Refuses clients that lists in the DNS name.
///
/// See README.md.
package struct DNSBL: ConnectHook, RcptHook {
    private enum Place: String, CaseIterable {
        case connect
        case rcpt
    }

    package static let name = "dnsbl"

    /// Mailboxes that a client may reach to complain about its listing (RFC 2142 §4, RFC 5321 §4.5.1).
    private static let exempt: [Bytes] = ["postmaster", "abuse", "mailer-daemon", "root"]

    private let lists: WeighedLists
    private let allowed: ControlFile<[IPNetwork]>
    private let message: ControlFile<[String]>
    private let place: Place
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.place = configuration.argument(
            "at",
            as: ArgumentType<Place>.choice,
            default: .connect
        )
        self.refusal = configuration.refusal()
        self.lists = try WeighedLists(configuration, file: "dnsbl_zones")
        self.allowed = try configuration.controlFile("dnsbl_allow", line: ControlLine.network)
        self.message = try configuration.controlFile("dnsbl_rejectmsg")
    }

    package func subscription(at hook: Hook) -> Subscription? {
        hook == .rcpt && self.place == .connect ? nil : Subscription()
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        let address = try event.clientAddress()
        if event.isImmune { return event.skip("immune") }
        if event.value(of: self.allowed).contains(where: { $0.contains(address) }) {
            return event.skip("in dnsbl_allow")
        }
        if PrivateNetworks.contains(address) { return event.skip("private address") }
        guard let listing = await self.lists.refused([.address(address)], note: .dnsbl, event)
        else { return .declined }
        let text = listing.text(
            standard: event.value(of: self.message).first,
            fallback: "Client host %IP% is listed by %ZONE%"
        )
        switch self.place {
        case .connect: return event.refuse(self.refusal, text, detail: "7.1")
        case .rcpt:
            event.notes[.dnsblText] = text
            return event.info("refused at rcpt: \(text)")
        }
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        guard let text = event.notes[.dnsblText] else { return event.pass("not listed") }
        if event.isImmune { return event.skip("immune") }
        let local = event.recipient.local
        if Self.exempt.contains(where: { local.equalsIgnoringASCIICase($0) }) {
            return event.skip("\(local) takes mail of listed clients")
        }
        return event.refuse(self.refusal, text, detail: "7.1")
    }
}

extension NoteKey<[String]> {
    /// The zones that list the client.
    static let dnsbl = NoteKey("dnsbl", in: .session)
}

extension NoteKey<String> {
    /// What RCPT is refused with.
    fileprivate static let dnsblText = NoteKey("dnsbl_text", in: .session)
}
