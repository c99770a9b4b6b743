package import PolicyKit

/// Hands messages on to another mail server by SMTP, and answers what it answered.
///
/// See the folder's README for arguments and replies.
package struct QueueSMTPForward: QueueHook {
    package static let name = "queue/smtp-forward"

    private let queue: NextHopQueue

    package init(configuration: PluginConfiguration) throws {
        let hosts = try configuration.requiredPositional("host", as: .hosts)
        let port = configuration.positional("port", ifFits: .integer(in: 1...65_535))
        if port != nil, hosts.allSatisfy({ $0.port != nil }) {
            configuration.record("the port is given twice")
        }
        self.queue = try NextHopQueue(
            configuration,
            .smtp,
            route: hosts.map { .tcp(host: $0.host, port: $0.port ?? port ?? 25) }
        )
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    package func stop() async { await self.queue.stop() }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        try await self.queue.deliver(event)
    }
}

extension ArgumentType<[(host: String, port: Int?)]> {
    fileprivate static var hosts: Self {
        Self("host names or addresses, with commas between them, each with a port if need be") {
            word in
            let hosts = word.split(separator: ",", omittingEmptySubsequences: false)
                .map { ServerAddress.hostAndPort(String($0)) }
            let known = hosts.compactMap { $0 }
            return known.count == hosts.count ? known : nil
        }
    }
}
