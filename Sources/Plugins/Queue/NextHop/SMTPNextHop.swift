import Logging
import NIOCore
import PolicyKit

/// One next hop, and the connections to it that are kept.
struct SMTPNextHop: Sendable {
    /// How an attempt to hand a message over begins.
    enum Opening<Ready: Sendable>: Sendable {
        case ready(Ready)
        /// The hop refused, or cannot take such a message.
        case ended(SMTPDelivery)

        /// The hop said 421.
        var isClosing: Bool {
            if case .ended(let delivery) = self { delivery.isClosing } else { false }
        }
    }

    private let loop: any EventLoop
    private let address: ServerAddress
    private let pool: NIOLoopBoundBox<SMTPConnectionPool>

    init(
        loop: any EventLoop,
        address: ServerAddress,
        limits: SMTPConnectionPool.Limits,
        tls: NextHopTLS,
        machine: SMTPClientMachine,
        logger: Logger
    ) {
        self.loop = loop
        self.address = address
        self.pool = NIOLoopBoundBox.makeBoxSendingValue(
            SMTPConnectionPool(
                loop: loop,
                address: address,
                limits: limits,
                tls: tls,
                machine: machine,
                logger: logger
            ),
            eventLoop: loop
        )
    }

    /// Closes the connections that no delivery uses.
    func stop() async throws {
        try await self.loop.submit { self.pool.value.stop() }.get()
    }

    /// Gets a transaction as far as the content.
    ///
    /// A connection that was kept may be dead without our knowing. If it proves so before the hop
    /// has accepted `MAIL`, a new one is tried.
    ///
    /// - Throws: ``SMTPForwardError``, or what the spool file's reading threw. The hop has nothing then.
    func open(
        _ envelope: SMTPEnvelope,
        _ message: Message,
        until deadline: NIODeadline
    ) async throws -> Opening<NextHopTransaction> {
        try await self.onConnection(until: deadline) { lease in
            try await self.open(envelope, message, on: lease, deadline)
        }
    }

    /// Says `MAIL`, for a transaction whose owner says one command after the other.
    ///
    /// - Throws: ``SMTPForwardError``.
    func begin(
        _ envelope: SMTPEnvelope,
        until deadline: NIODeadline
    ) async throws -> Opening<NextHopDialogue> {
        try await self.onConnection(until: deadline) { lease in
            if let obstacle = Self.obstacle(envelope, lease) {
                try await self.giveBack(lease)
                return .ended(.impossible(obstacle))
            }
            var dialogue = NextHopDialogue(self.address, lease, self.loop, envelope)
            let reply = try await dialogue.begin(until: deadline)
            guard !reply.isPositive else { return .ready(dialogue) }
            // After 421 the connection closes by itself.
            if reply.code != 421 { dialogue.release() }
            return .ended(.attempted(.refused(reply)))
        }
    }

    private func onConnection<Ready: Sendable>(
        until deadline: NIODeadline,
        _ body: (SMTPConnectionPool.Lease) async throws -> Opening<Ready>
    ) async throws -> Opening<Ready> {
        let first = try await self.lease(isNew: false, until: deadline)
        guard first.isUsed else { return try await body(first) }
        do {
            let opening = try await body(first)
            guard opening.isClosing, try await !self.wasMailAccepted(first) else { return opening }
        } catch let error as SMTPForwardError where error.code == .closed {
            guard try await !self.wasMailAccepted(first) else { throw error }
        }
        return try await body(try await self.lease(isNew: true, until: deadline))
    }

    private func open(
        _ envelope: SMTPEnvelope,
        _ message: Message,
        on lease: SMTPConnectionPool.Lease,
        _ deadline: NIODeadline
    ) async throws -> Opening<NextHopTransaction> {
        try await withTaskCancellationHandler {
            do {
                if let obstacle = try await Self.obstacle(envelope, message, lease) {
                    try await self.giveBack(lease)
                    return .ended(.impossible(obstacle))
                }
                let begun = try await self.loop.flatSubmit {
                    lease.handler.value.begin(envelope, until: deadline)
                }.get()
                switch begun {
                case .content(let form):
                    return .ready(NextHopTransaction(self.address, lease, self.loop, form))

                case .outcome(let outcome): return .ended(.attempted(outcome))
                case .answer(let reply): return .ended(.attempted(.refused(reply)))
                }
            } catch {
                lease.channel.close(promise: nil)
                throw error
            }
        } onCancel: {
            lease.channel.close(promise: nil)
        }
    }

    /// What the envelope needs and the hop does not offer.
    private static func obstacle(
        _ envelope: SMTPEnvelope,
        _ lease: SMTPConnectionPool.Lease
    ) -> SMTPObstacle? {
        let capabilities = lease.capabilities
        // RFC 8689 §4.2.1
        guard !envelope.requiresTLS || lease.isVerified && capabilities.hasREQUIRETLS else {
            return .encryption
        }
        guard !envelope.isBinaryMIME || capabilities.hasChunking && capabilities.hasBinaryMIME
        else { return .binary }
        guard envelope.futureRelease.isEmpty || capabilities.hasFutureRelease else {
            return .futureRelease
        }
        if let maximum = capabilities.maximumSize, let size = envelope.size, size > maximum {
            return .size
        }
        let addresses = [envelope.sender] + envelope.recipients
        guard capabilities.hasSMTPUTF8 || !addresses.contains(where: { $0.contains { $0 > 0x7F } })
        else { return .address }
        return nil
    }

    /// What the message needs and the hop does not offer.
    static func obstacle(
        _ envelope: SMTPEnvelope,
        _ message: Message,
        _ lease: SMTPConnectionPool.Lease
    ) async throws -> SMTPObstacle? {
        if let obstacle = self.obstacle(envelope, lease) { return obstacle }
        let capabilities = lease.capabilities
        if !capabilities.hasSMTPUTF8, envelope.isSMTPUTF8,
            message.header.contains(where: { $0 > 0x7F })
        {
            return .header
        }
        guard envelope.is8BitMIME, !capabilities.has8BitMIME else { return nil }
        return try await self.has8BitOctets(message) ? .content : nil
    }

    private static func has8BitOctets(_ message: Message) async throws -> Bool {
        if message.header.contains(where: { $0 > 0x7F }) { return true }
        for try await chunk in message.body where chunk.contains(where: { $0 > 0x7F }) {
            return true
        }
        return false
    }

    private func lease(
        isNew: Bool,
        until deadline: NIODeadline
    ) async throws -> SMTPConnectionPool.Lease {
        try await self.loop.flatSubmit {
            self.pool.value.lease(isNew: isNew, until: deadline)
        }.get()
    }

    private func giveBack(_ lease: SMTPConnectionPool.Lease) async throws {
        try await self.loop.submit { self.pool.value.freed(lease.handler.value) }.get()
    }

    private func wasMailAccepted(_ lease: SMTPConnectionPool.Lease) async throws -> Bool {
        try await self.loop.submit { lease.handler.value.wasMailAccepted }.get()
    }
}

/// What became of a message.
enum SMTPDelivery: Sendable, Equatable {
    case attempted(NextHopOutcome)
    /// It was not offered: the hop cannot take such a message.
    case impossible(SMTPObstacle)

    /// The hop said 421.
    var isClosing: Bool {
        if case .attempted(.refused(let reply)) = self { reply.code == 421 } else { false }
    }
}

/// What a hop lacks.
enum SMTPObstacle: Sendable, Equatable {
    /// It says in EHLO that it takes no message of this size.
    case size
    /// An address needs SMTPUTF8.
    case address
    /// A header field needs SMTPUTF8.
    case header
    /// The content needs 8BITMIME.
    case content
    /// The client wants TLS all the way.
    case encryption
    /// The content has no lines, and needs BINARYMIME.
    case binary
    /// The message is to be held, and needs FUTURERELEASE.
    case futureRelease
}
