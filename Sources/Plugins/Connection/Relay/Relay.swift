package import PolicyKit

/// Decides which clients may relay.
///
/// See README.md.
package struct Relay: ConnectHook, RcptHook {
    package static let name = "relay"
    package static let aliases = ["check_relay", "check_norelay", "relay_only"]

    private let refused: ControlFile<[IPNetwork]>
    private let allowed: ControlFile<[IPNetwork]>
    private let moreAllowed: ControlFile<[IPNetwork]>
    private let mapAllowed: ControlFile<[IPNetwork]>
    private let isExclusive: Bool
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        let only = configuration.argument("only", as: .flag, default: false)
        self.isExclusive = only || configuration.writtenName == "relay_only"
        self.refusal = configuration.refusal()
        self.refused = try configuration.controlFile("norelayclients", line: Self.network)
        self.allowed = try configuration.controlFile("relayclients", line: Self.network)
        self.moreAllowed = try configuration.controlFile("morerelayclients", line: Self.network)
        self.mapAllowed = try configuration.controlFile("morerelayclients.cdb", line: Self.network)
    }

    package func subscription(at hook: Hook) -> Subscription? {
        hook == .rcpt && !self.isExclusive ? nil : Subscription()
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        let ip = event.session.client.ip
        guard let address = IPAddress(parsing: ip) else {
            throw PluginError("client address \(ip) is none")
        }
        if event.value(of: self.refused).contains(where: { $0.contains(address) }) {
            event.setRelay(false)
            return event.info("in norelayclients")
        }
        guard
            address == Self.loopback
                || event.value(of: self.allowed).contains(where: { $0.contains(address) })
                || event.value(of: self.moreAllowed).contains(where: { $0.contains(address) })
                || event.value(of: self.mapAllowed).contains(where: { $0.contains(address) })
        else { return event.skip("no relay client") }
        event.setRelay(true)
        return event.pass("relay client")
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        event.session.relay
            ? event.pass("relay client")
            : event.refuse(self.refusal, "Relaying denied", detail: "7.1")
    }

    private static let loopback = IPAddress(parsing: "::1")

    /// An address, a block, or a prefix that ends where an octet or a group does.
    @Sendable
    private static func network(_ line: ControlLine) throws -> IPNetwork {
        guard let word = line.words.first, let network = IPNetwork(parsing: word) else {
            throw line.problem("\(line.text) is no address, block (192.0.2.0/24) or prefix (10.)")
        }
        return network
    }
}
