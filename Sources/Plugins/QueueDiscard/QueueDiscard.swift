public import PolicyKit

/// Takes every message and throws it away. See README.md.
public struct QueueDiscard: QueueHook {
    public static let name = "queue/discard"

    public init(configuration: PluginConfiguration) {}

    public func subscription(at hook: Hook) -> Subscription? { Subscription(isIdempotent: true) }

    public func queue(_ event: QueueEvent) async throws -> Answer {
        event.info("discarded")
        return .ok("Message discarded")
    }
}
