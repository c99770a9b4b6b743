import PolicyKit
import StandardPlugins

/// Refuses a client by its network: a plugin of this package's author.
struct RefuseNetwork: HeloHook {
    static let name = "refuse_network"

    private let network: IPNetwork

    init(configuration: PluginConfiguration) throws {
        self.network = try configuration.requiredPositional("network", as: .network)
    }

    func helo(_ event: HeloEvent) async throws -> Answer {
        guard let client = IPAddress(parsing: event.session.client.ip),
            self.network.contains(client)
        else { return .declined }
        return .deny("\(client) is not welcome")
    }
}

extension ArgumentType<IPNetwork> {
    fileprivate static var network: Self {
        Self("an address or a network, as 192.0.2.0/24") { IPNetwork(parsing: $0) }
    }
}

/// Runs Gatepost's plugins beside the author's.
@main
enum MixedWorker {
    static func main() async {
        await Worker.main(
            name: "mixed-worker",
            plugins: Worker.standardPlugins + [RefuseNetwork.self]
        )
    }
}
