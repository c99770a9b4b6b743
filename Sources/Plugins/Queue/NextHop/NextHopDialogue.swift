import NIOCore
import PolicyKit

/// A transaction with a hop whose owner says one command after the other.
struct NextHopDialogue: Sendable {
    let address: ServerAddress
    /// As the hop knows it: with the recipients that it accepted.
    private(set) var envelope: SMTPEnvelope
    /// The hop's reply for each recipient that it was asked about.
    private(set) var replies: [[UInt8]: SMTPServerReply] = [:]
    /// The hop's reply to `MAIL`.
    private(set) var mailReply: SMTPServerReply?
    /// It was kept between two questions, so the hop may have closed it meanwhile.
    var wasKept = false
    private let lease: SMTPConnectionPool.Lease
    private let loop: any EventLoop

    init(
        _ address: ServerAddress,
        _ lease: SMTPConnectionPool.Lease,
        _ loop: any EventLoop,
        _ envelope: SMTPEnvelope
    ) {
        self.address = address
        self.lease = lease
        self.loop = loop
        self.envelope = envelope
        self.envelope.recipients = []
        self.envelope.recipientNotifications = [:]
    }

    /// Says `MAIL`.
    ///
    /// - Throws: ``SMTPForwardError``; the connection is closed then, as with the other functions.
    mutating func begin(until deadline: NIODeadline) async throws -> SMTPServerReply {
        let reply = try await self.answer(to: .mail(self.envelope), deadline)
        self.mailReply = reply
        return reply
    }

    /// Says `RCPT`, unless the hop accepted the recipient before.
    mutating func ask(
        _ recipient: [UInt8],
        notification: [UInt8],
        until deadline: NIODeadline
    ) async throws -> SMTPServerReply {
        if let reply = self.replies[recipient], reply.isPositive { return reply }
        guard self.lease.capabilities.hasSMTPUTF8 || !recipient.contains(where: { $0 > 0x7F })
        else {
            self.replies[recipient] = Self.noSuchAddresses
            return Self.noSuchAddresses
        }
        let reply = try await self.answer(
            to: .rcpt(recipient, notification: notification),
            deadline
        )
        guard reply.code != 421 || !self.wasKept else {
            throw SMTPForwardError(.closed, "421 to RCPT")
        }
        self.replies[recipient] = reply
        if reply.isPositive { self.envelope.recipients.append(recipient) }
        return reply
    }

    /// Says `DATA`, unless the content is to go by `BDAT`.
    ///
    /// - Returns: The transaction that waits for the content, or what keeps the hop from taking it; then the
    ///   connection is given back or closed.
    mutating func contentWanted(
        _ message: Message,
        until deadline: NIODeadline
    ) async throws -> SMTPNextHop.Opening<NextHopTransaction> {
        self.envelope.size = message.size
        do {
            if let obstacle = try await SMTPNextHop.obstacle(self.envelope, message, self.lease) {
                self.release()
                return .ended(.impossible(obstacle))
            }
        } catch {
            self.abandon()
            throw error
        }
        switch try await self.say(.content, deadline) {
        case .content(let form):
            return .ready(NextHopTransaction(self.address, self.lease, self.loop, form))

        case .outcome(.refused(let reply)) where reply.code == 421 && self.wasKept:
            throw SMTPForwardError(.closed, "421 to DATA")

        case .outcome(let outcome): return .ended(.attempted(outcome))
        case .answer(let reply): return .ended(.attempted(.refused(reply)))
        }
    }

    /// Whether the connection is still there.
    var isConnected: Bool { self.lease.channel.isActive }

    /// Whether this is a transaction of `envelope`'s sender and parameters, and of no recipients but its own.
    func serves(_ envelope: SMTPEnvelope) -> Bool {
        self.isConnected && self.envelope.head == envelope.head
            && Set(self.envelope.recipients).isSubset(of: envelope.recipients)
    }

    /// Ends the transaction without content; others may have the connection.
    func release() {
        self.loop.execute { self.lease.handler.value.release() }
    }

    /// Closes the connection.
    func abandon() { self.lease.channel.close(promise: nil) }

    private func answer(
        to command: SMTPClientHandler.Command,
        _ deadline: NIODeadline
    ) async throws -> SMTPServerReply {
        guard case .answer(let reply) = try await self.say(command, deadline) else {
            throw SMTPForwardError(.malformed, "an answer out of turn")
        }
        return reply
    }

    private func say(
        _ command: SMTPClientHandler.Command,
        _ deadline: NIODeadline
    ) async throws -> SMTPClientHandler.Step {
        try await withTaskCancellationHandler {
            do {
                return try await self.loop.flatSubmit {
                    self.lease.handler.value.say(command, until: deadline)
                }.get()
            } catch {
                self.abandon()
                throw error
            }
        } onCancel: {
            self.abandon()
        }
    }

    /// RFC 6531 §3.5: said in the place of a hop that does not know SMTPUTF8.
    private static let noSuchAddresses = SMTPServerReply(
        code: 553,
        lines: [Array("5.6.7 The next mail server knows no such addresses".utf8)]
    )
}

extension SMTPEnvelope {
    /// What `MAIL` says, apart from the size.
    fileprivate var head: Self {
        var head = self
        head.recipients = []
        head.recipientNotifications = [:]
        head.size = nil
        head.hearsEach = false
        return head
    }
}
