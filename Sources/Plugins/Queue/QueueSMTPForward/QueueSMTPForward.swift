package import PolicyKit

/// Hands messages on to another mail server by SMTP, and answers what it answered.
///
/// See the folder's README for arguments and replies.
package struct QueueSMTPForward: QueueHook {
    package static let name = "queue/smtp-forward"

    private let queue: NextHopQueue

    package init(configuration: PluginConfiguration) throws {
        let route = try [ServerAddress](hopsOf: configuration)
        self.queue = try NextHopQueue(configuration, .smtp, route: route)
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients], extensions: [.futureRelease, .priority])
    }

    package func stop() async { await self.queue.stop() }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        try await self.queue.deliver(event)
    }
}
