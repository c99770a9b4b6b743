package import PolicyKit

/// Refuses senders whose domain lists in the DNS name.
///
/// See README.md.
package struct RHSBL: MailHook {
    package static let name = "rhsbl"

    private let lists: WeighedLists
    private let asksHelo: Bool
    private let asksClientName: Bool
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.asksHelo = configuration.argument("helo", as: .flag, default: false)
        self.asksClientName = configuration.argument("client_name", as: .flag, default: false)
        self.refusal = configuration.refusal()
        self.lists = try WeighedLists(configuration, file: "rhsbl_zones")
    }

    package func mail(_ event: MailEvent) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        let subjects = self.subjects(event)
        if subjects.isEmpty { return event.skip("no domain") }
        guard
            let listing = await self.lists.refused(
                subjects.map { .domain($0) },
                note: .rhsbl,
                event
            )
        else { return .declined }
        let text = listing.text(
            standard: nil,
            fallback: "Mail from %DOMAIN% is refused: see %ZONE%"
        )
        return event.refuse(self.refusal, text, detail: "7.1")
    }

    /// The domains to ask about, each once; none of them is an address.
    private func subjects(_ event: MailEvent) -> [DNSName] {
        var names = [event.sender.domain.octets]
        if self.asksHelo, let hello = event.session.hello { names.append(hello.name.octets) }
        if self.asksClientName, let name = event.session.client.name {
            names.append(name.octets)
        }
        var found: [DNSName] = []
        for octets in names {
            guard let name = DNSName(octets: octets), !name.isRoot, name.text.contains("."),
                IPAddress(parsing: name.text) == nil, !found.contains(name)
            else { continue }
            found.append(name)
        }
        return found
    }
}

extension NoteKey<[String]> {
    /// The zones that list the sender's domain, or a name of the client.
    static let rhsbl = NoteKey("rhsbl", in: .transaction)
}
