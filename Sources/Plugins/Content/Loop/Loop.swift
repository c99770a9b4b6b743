package import PolicyKit

/// Refuses a message that has been through too many servers.
///
/// See README.md.
package struct Loop: DataPostHook {
    package static let name = "loop"
    package static let aliases = ["check_loop"]

    private let limit: Int
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) {
        self.limit = configuration.positional("hops", as: .integer(in: 1...10_000), default: 100)
        self.refusal = configuration.refusal()
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(.headers) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        let hops = event.headers.count { field in
            field.name.equalsIgnoringASCIICase("Received")
                || field.name.equalsIgnoringASCIICase("Delivered-To")
        }
        guard hops >= self.limit else { return event.pass("\(hops) hops") }
        return event.refuse(self.refusal, "Too many hops", detail: "4.6")
    }
}
