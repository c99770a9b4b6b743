package import PolicyKit

/// Refuses what is sent as a bounce and is none.
///
/// See README.md.
package struct BogusBounce: DataPostHook {
    private enum Action: String, CaseIterable {
        case log
        case deny
        case denysoft
    }

    package static let name = "bogus_bounce"
    package static let aliases = ["check_bogus_bounce"]

    private let refusal: Refusal

    package init(configuration: PluginConfiguration) {
        let action = configuration.positional("action", ifFits: ArgumentType<Action>.choice)
        self.refusal =
            switch action {
            case nil, .log: configuration.refusal(.tolerate)
            case .deny: configuration.refusal(.reject, .perm)
            case .denysoft: configuration.refusal(.reject, .temp)
            }
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.headers, .recipients])
    }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        guard event.transaction.sender.isNull else { return event.skip("no null sender") }
        if event.isImmune { return event.skip("immune") }
        if event.recipients.count != 1 {
            return self.refuse(event, "\(event.recipients.count) recipients")
        }
        let path = event.headers.first { $0.name.equalsIgnoringASCIICase("Return-Path") }
        guard let path, !Self.isNull(path.value) else { return event.pass("one recipient") }
        return self.refuse(event, "a Return-Path that is not <>")
    }

    private func refuse(_ event: DataPostEvent, _ reason: String) -> Answer {
        event.refuse(
            self.refusal,
            "A bounce has one recipient, and no sender: this one has \(reason)",
            detail: "7.1"
        )
    }

    private static func isNull(_ value: Bytes) -> Bool {
        value.octets.filter { ![0x20, 0x09, 0x0D, 0x0A].contains($0) }.elementsEqual("<>".utf8)
    }
}
