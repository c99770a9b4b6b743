package import PolicyKit

/// Hands messages to a delivery agent by LMTP, and answers what it answered.
///
/// See the folder's README for arguments and replies.
package struct QueueLMTP: QueueHook {
    package static let name = "queue/lmtp"

    private let queue: NextHopQueue

    package init(configuration: PluginConfiguration) throws {
        let addresses = try configuration.requiredPositional("address", as: .addresses)
        self.queue = try NextHopQueue(configuration, .lmtp, route: addresses)
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    package func stop() async { await self.queue.stop() }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        try await self.queue.deliver(event)
    }
}

extension ArgumentType<[ServerAddress]> {
    fileprivate static var addresses: Self {
        Self("paths of sockets or HOST:PORT, with commas between them") { word in
            let words = word.split(separator: ",", omittingEmptySubsequences: false)
            let known = words.compactMap { ServerAddress(String($0), speaking: .lmtp) }
            return known.count == words.count ? known : nil
        }
    }
}
