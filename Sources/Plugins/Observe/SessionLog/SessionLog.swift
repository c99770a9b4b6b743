package import PolicyKit

/// Writes what happened: a line for each message, refusal and session.
///
/// See README.md.
package struct SessionLog: QueuePostHook, DenyHook, DisconnectHook {
    package static let name = "logging"

    package init(configuration: PluginConfiguration) {}

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription(hook == .queue_post ? .recipients : [])
    }

    package func queuePost(_ event: QueuePostEvent) async throws {
        let transaction = event.transaction
        let recipients = event.recipients.map { Self.quoted($0.address) }
        event.logger.info(
            "message queued",
            metadata: [
                "client": "\(event.session.client.ip)", "queue_id": "\(event.queueID)",
                "from": "\(Self.quoted(transaction.sender.address))",
                "to": "\(recipients.joined(separator: ","))",
                "size": "\(transaction.message?.size ?? 0)",
                "reply": "\(Self.line(event.reply))",
            ]
        )
    }

    package func deny(_ event: DenyEvent) async throws {
        let sender = event.sender ?? event.currentTransaction?.sender
        event.logger.info(
            "refused",
            metadata: [
                "client": "\(event.session.client.ip)",
                "at": "\(event.decidedHook?.rawValue ?? "")",
                "verdict": "\(event.verdict?.rawValue ?? "")", "by": "\(event.plugin ?? "")",
                "worker": "\(event.worker ?? "")", "failure": "\(event.failure ?? "")",
                "from": "\(Self.quoted(sender?.address ?? ""))",
                "to": "\(Self.quoted(event.recipient?.address ?? ""))",
                "reply": "\(Self.line(event.reply))",
            ]
        )
    }

    package func disconnect(_ event: DisconnectEvent) async throws {
        let milliseconds = Int64(event.sessionTime / .milliseconds(1))
        event.logger.info(
            "session over",
            metadata: [
                "client": "\(event.session.client.ip)",
                "hello": "\(Self.quoted(event.session.hello?.name ?? ""))",
                "reason": "\(event.reason)", "duration_ms": "\(milliseconds)",
                "transactions": "\(event.session.counters.transactions)",
                "karma": "\(event.notes[.karma] ?? 0)",
            ]
        )
    }

    /// Octets as a log line may have them: printable, and bounded.
    private static func quoted(_ octets: Bytes) -> String {
        octets.octets.prefix(256).reduce(into: "") { text, octet in
            if 0x21...0x7E ~= octet, octet != UInt8(ascii: "\\") {
                text.unicodeScalars.append(Unicode.Scalar(octet))
            } else {
                let digits = String(octet, radix: 16)
                text += "\\x" + (digits.count == 1 ? "0" : "") + digits
            }
        }
    }

    private static func line(_ reply: PolicyReply?) -> String {
        guard let reply else { return "" }
        let code = reply.code.map { "\($0) " } ?? ""
        let status = reply.status.map { "\($0) " } ?? ""
        return code + status + reply.text.joined(separator: " / ")
    }
}
