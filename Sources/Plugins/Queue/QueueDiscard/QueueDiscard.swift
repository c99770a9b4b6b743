package import PolicyKit

/// Takes every message and throws it away.
///
/// See README.md.
package struct QueueDiscard: QueueHook {
    package static let name = "queue/discard"

    package init(configuration: PluginConfiguration) {}

    package func subscription(at hook: Hook) -> Subscription? { Subscription(isIdempotent: true) }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        event.info("discarded")
        return .ok("Message discarded")
    }
}
