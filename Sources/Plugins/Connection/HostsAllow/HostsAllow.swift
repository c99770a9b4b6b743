package import PolicyKit

/// Refuses or admits clients by their address, as `hosts_allow` says.
///
/// See README.md.
package struct HostsAllow: ConnectHook {
    private enum Match: String, CaseIterable {
        case first
        case longest
    }

    package static let name = "hosts_allow"

    private let hosts: ControlFile<[HostRule]>
    private let match: Match
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.match = configuration.argument(
            "match",
            as: ArgumentType<Match>.choice,
            default: .first
        )
        self.refusal = configuration.refusal()
        self.hosts = try configuration.controlFile("hosts_allow", line: HostRule.init)
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        let address = try event.clientAddress()
        let rules = event.value(of: self.hosts).lazy.filter { $0.network.contains(address) }
        let found =
            switch self.match {
            case .first: rules.first
            case .longest: rules.max { $0.network.prefixLength < $1.network.prefixLength }
            }
        guard let rule = found else { return event.pass("not listed") }
        return event.answer(
            rule.decision,
            "listed",
            self.refusal,
            rule.text ?? "Connection refused",
            detail: "7.1"
        )
    }
}

/// A line of `hosts_allow`: address or block, code, text.
private struct HostRule: Sendable {
    let network: IPNetwork
    let decision: ListedVerdict
    let text: String?

    @Sendable
    init(_ line: ControlLine) throws {
        let parts = line.columns(3)
        guard parts.count >= 2 else {
            throw line.problem("\(line.text) has no code after the address")
        }
        guard let network = IPNetwork(parsing: parts[0]) else {
            throw line.problem("\(parts[0]) is no address, block (192.0.2.0/24) or prefix (10.)")
        }
        self.network = network
        self.text = parts.count > 2 ? parts[2] : nil
        self.decision = try ListedVerdict(parts[1], in: line)
    }
}
