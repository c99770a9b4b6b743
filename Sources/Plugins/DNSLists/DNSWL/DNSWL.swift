package import PolicyKit

/// Leaves clients alone that lists in the DNS vouch for.
///
/// See README.md.
package struct DNSWL: ConnectHook {
    package static let name = "dnswl"
    package static let aliases = ["dns_whitelist_soft"]

    /// What a list says to a server that asks it too much, in the place of an answer.
    private static let overLimit = ListCodes("127.0.0.255")

    private let lists: ControlFile<[DNSList]>
    private let arguments: ListArguments

    package init(configuration: PluginConfiguration) throws {
        self.arguments = try ListArguments(configuration)
        self.lists = try configuration.controlFile("whitelist_zones", parse: DNSList.lists)
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        let address = try event.clientAddress()
        if event.isImmune { return event.skip("immune") }
        if PrivateNetworks.contains(address) { return event.skip("private address") }
        let lists = event.value(of: self.lists)
        let answers = await self.arguments.ask(lists, about: [.address(address)], event)
        for entry in Listing(answers).entries {
            if entry.codes.contains(where: { Self.overLimit?.contains($0) == true }) {
                event.error("\(entry.list.zone): refuses this server's questions with 127.0.0.255")
                continue
            }
            event.notes[.whitelisthost] = .string(entry.list.text ?? entry.list.zone.text)
            return event.pass("listed by \(entry.list.zone)")
        }
        return event.pass("in none of \(lists.count) lists")
    }
}
