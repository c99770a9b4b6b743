import NIOCore
import NIOPosix
package import PolicyKit

/// Hands a message of a quarantine on, for the operator.
package enum QuarantineRelease {
    /// Why the message was not handed on; it is still in the quarantine.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Sends the message to its recipients by SMTP, or by LMTP.
    ///
    /// In clear text: for a server on this machine or in the operator's own network.
    ///
    /// - Parameters:
    ///   - entry: The message.
    ///   - folder: Where it is.
    ///   - address: The server.
    ///   - speaksLMTP: Whether that is a delivery agent.
    ///   - hostname: The name for EHLO.
    ///   - time: How long it may take in all.
    /// - Returns: The first line that the server accepted it with.
    /// - Throws: ``Failure`` if it did not take it for all recipients.
    package static func send(
        _ entry: QuarantineEntry,
        in folder: QuarantineFolder,
        to address: ServerAddress,
        speaksLMTP: Bool,
        hostname: String,
        within time: Duration
    ) async throws -> String {
        var logger = Logger(label: "gatepost") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        var settings = NextHops.Settings()
        settings.limits.connections = 1
        let hops = NextHops(
            loop: MultiThreadedEventLoopGroup.singleton.any(),
            settings: settings,
            machine: SMTPClientMachine(
                speaksLMTP ? .lmtp : .smtp,
                name: hostname,
                deliversPartially: false
            ),
            logger: logger
        )
        let transaction = TransactionSnapshot(
            id: entry.id,
            sender: entry.envelopeSender,
            recipientCount: entry.recipients.count,
            message: nil
        )
        let message = try Message(file: folder.messagePath(entry.id))
        let envelope = try SMTPEnvelope(
            transaction.sender,
            entry.envelopeRecipients,
            size: message.size,
            transaction
        )
        let report = try await hops.deliver(
            [NextHops.Group(route: [address], envelope: envelope)],
            message,
            until: .now() + TimeAmount(time)
        )
        await hops.stopped()
        guard let failure = report.failure else {
            let reply = report.taken.last?.reply
            return "\(reply?.code ?? 250) \(Self.text(reply?.lines.first ?? []))"
        }
        throw Failure(description: Self.text(failure))
    }

    private static func text(_ failure: NextHopReport.Failure) -> String {
        switch failure.reason {
        case .error(let error): return "\(error)"
        case .refusal:
            let reply = NextHopAnswer.answer(failure.reason).reply
            let words = [reply?.code.map { "\($0)" }, reply?.status].compactMap { $0 }
            return (words + (reply?.text ?? [])).joined(separator: " ")
        }
    }

    private static func text(_ octets: [UInt8]) -> String { "\(Bytes(octets: octets))" }
}
