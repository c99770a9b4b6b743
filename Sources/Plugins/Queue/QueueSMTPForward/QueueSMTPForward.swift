import NIOCore
package import PolicyKit

/// Hands messages on to another mail server by SMTP, and answers what it answered.
///
/// See the folder's README for arguments and replies.
package struct QueueSMTPForward: QueueHook {
    package static let name = "queue/smtp-forward"

    /// What is left of the event's own time for the answer to travel.
    static let margin: Duration = .milliseconds(500)

    private let hop: SMTPNextHop
    private let time: Duration
    private let place: String

    package init(configuration: PluginConfiguration) throws {
        let (host, port) = try configuration.requiredPositional("host", as: .host)
        let separatePort = configuration.positional("port", ifFits: .integer(in: 1...65_535))
        if port != nil, separatePort != nil {
            configuration.record("the port is given twice")
        }
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .seconds(1)...(.seconds(600))),
            default: .seconds(60)
        )
        let limits = SMTPConnectionPool.Limits(
            connections: configuration.argument(
                "connections",
                as: .integer(in: 1...1000),
                default: 20
            ),
            idleTime: TimeAmount(
                configuration.argument(
                    "idle_timeout",
                    as: .duration(in: .zero...(.seconds(3600))),
                    default: .seconds(30)
                )
            ),
            connectTime: TimeAmount(
                configuration.argument(
                    "connect_timeout",
                    as: .duration(in: .seconds(1)...(.seconds(60))),
                    default: .seconds(10)
                )
            )
        )
        let deliversPartially = configuration.argument(
            "partial",
            as: .choice(["refuse": false, "deliver": true]),
            default: false
        )
        let tls = NextHopTLS(configuration)
        let address = ServerAddress.tcp(host: host, port: port ?? separatePort ?? 25)
        self.place = "\(address)"
        self.hop = SMTPNextHop(
            loop: configuration.shared.eventLoop,
            address: address,
            limits: limits,
            tls: tls,
            machine: SMTPClientMachine(
                name: configuration.shared.hostname,
                deliversPartially: deliversPartially,
                login: SMTPLogin(configuration, tls.level)
            ),
            logger: configuration.logger
        )
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    package func stop() async {
        do {
            try await self.hop.stop()
        } catch {
            // The loop is gone, and the connections with it.
        }
    }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        let message = try event.message
        let envelope = try Self.envelope(event, size: message.size)
        guard !envelope.recipients.isEmpty else {
            return .deny("No recipients to deliver to", code: 554, status: "5.5.1")
        }
        let time = min(self.time, event.remainingTime - Self.margin)
        let deadline = NIODeadline.now() + TimeAmount(max(time, .milliseconds(1)))
        do {
            let delivery = try await self.hop.deliver(envelope, message, until: deadline)
            self.log(delivery, event)
            return NextHopAnswer.answer(delivery, queueID: event.queueID)
        } catch let error as SMTPForwardError {
            event.error("\(self.place): \(error)")
            return NextHopAnswer.answer(error)
        }
    }

    private func log(_ delivery: SMTPDelivery, _ event: QueueEvent) {
        switch delivery {
        case .attempted(.accepted(let reply, let refused, _)):
            let text = String(decoding: reply.lines.first ?? [], as: UTF8.self)
            event.info("\(self.place): \(reply.code) \(text)")
            for refusal in refused {
                let recipient = String(decoding: refusal.recipient, as: UTF8.self)
                event.logger.warning(
                    "delivered without a recipient that the next hop refused",
                    metadata: ["recipient": "\(recipient)", "code": "\(refusal.reply.code)"]
                )
            }

        case .attempted(.refused(let reply)):
            event.info("fail, \(self.place): \(reply.code)")

        case .attempted(.recipientsRefused(let refusals)):
            event.info("fail, \(self.place) refused \(refusals.count) recipients")

        case .impossible(let obstacle):
            event.info("fail, \(self.place) lacks what the \(obstacle) needs")
        }
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

extension ArgumentType<(String, Int?)> {
    fileprivate static var host: Self {
        Self("a host name or an address, with a port if need be") { word in
            ServerAddress.hostAndPort(word)
        }
    }
}
