import PolicyKit

/// Refuses mail for one address.
struct RefuseEve: RcptHook {
    static let name = "refuse_eve"

    private let address: String

    init(configuration: PluginConfiguration) throws {
        self.address = try configuration.requiredPositional("address", as: .text)
    }

    func rcpt(_ event: RcptEvent) async throws -> Answer {
        event.recipient.address.string == self.address
            ? .deny("\(self.address) has left", status: "5.1.1") : .declined
    }
}

@main
enum ExternalWorker {
    static func main() async {
        await Worker.main(name: "external-worker", plugins: [RefuseEve.self])
    }
}
