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
            route: hosts.map { .tcp(host: $0.host, port: $0.port ?? port ?? 25) }
        )
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    package func stop() async { await self.queue.stop() }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        let message = try event.message
        return try await self.queue.deliver(
            Self.envelope(event, size: message.size),
            message,
            event
        )
    }

    private static func envelope(_ event: QueueEvent, size: Int64) throws -> SMTPEnvelope {
        let sender = event.transaction.sender
        var is8BitMIME = false
        var isBinaryMIME = false
        var isSMTPUTF8 = false
        var requiresTLS = false
        for parameter in sender.params {
            switch parameter.keyword {
            case "BODY":
                let body = parameter.value?.string?.uppercased()
                is8BitMIME = body == "8BITMIME"
                isBinaryMIME = body == "BINARYMIME"
            case "SMTPUTF8": isSMTPUTF8 = true
            case "REQUIRETLS": requiresTLS = true
            default: break
            }
        }
        let addresses = [sender.address.octets] + event.recipients.map(\.address.octets)
        // The frontend's grammar knows no such address; in a command it would be another command.
        guard addresses.allSatisfy({ $0.allSatisfy { $0 >= 0x20 && $0 != 0x7F } }) else {
            throw PluginError("an address with control octets")
        }
        return SMTPEnvelope(
            sender: addresses[0],
            recipients: Array(addresses.dropFirst()),
            size: size,
            is8BitMIME: is8BitMIME,
            isSMTPUTF8: isSMTPUTF8 || addresses.contains { $0.contains { $0 > 0x7F } },
            isBinaryMIME: isBinaryMIME,
            requiresTLS: requiresTLS,
            notification: try Self.parameters(["RET", "ENVID"], of: sender.params),
            recipientNotifications: try event.recipients.reduce(into: [:]) { found, recipient in
                let text = try Self.parameters(["NOTIFY", "ORCPT"], of: recipient.params)
                if !text.isEmpty { found[recipient.address.octets] = text }
            }
        )
    }

    /// Those parameters that have one of `keywords`, as they stand in a command, a space before each.
    private static func parameters(
        _ keywords: Set<String>,
        of parameters: [ESMTPParameter]
    ) throws -> [UInt8] {
        var text: [UInt8] = []
        for parameter in parameters where keywords.contains(parameter.keyword) {
            guard let value = parameter.value?.octets, value.allSatisfy({ $0 > 0x20 && $0 != 0x7F })
            else { throw PluginError("a parameter with control octets") }
            text += " \(parameter.keyword)=".utf8
            text += value
        }
        return text
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
