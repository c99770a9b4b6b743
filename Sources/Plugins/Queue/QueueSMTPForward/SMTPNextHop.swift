import Logging
import NIOCore
import PolicyKit

/// Takes a message to the next hop, on a connection that is kept.
struct SMTPNextHop: Sendable {
    private let loop: any EventLoop
    private let deliversPartially: Bool
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
        self.deliversPartially = machine.deliversPartially
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

    /// Delivers, or says why not.
    ///
    /// Where the hop takes fewer recipients in one transaction than there are, the message is sent
    /// again for the recipients that are left, until the hop has it for all. If the hop then refuses
    /// some, the recipients before them have the message already.
    ///
    /// - Throws: ``SMTPForwardError``, or what the spool file's reading threw.
    func deliver(
        _ envelope: SMTPEnvelope,
        _ message: Message,
        until deadline: NIODeadline
    ) async throws -> SMTPDelivery {
        var envelope = envelope
        var refused: [NextHopRefusal] = []
        var taken: SMTPServerReply?
        while true {
            let delivery = try await self.transact(envelope, message, until: deadline)
            guard case .attempted(let outcome) = delivery else { return delivery }
            switch (outcome, taken) {
            // Each transaction is for fewer recipients than the one before.
            case (.accepted(let reply, let others, let left), _):
                refused += others
                guard !left.isEmpty else { return .attempted(.accepted(reply, refused: refused)) }
                envelope.recipients = left
                taken = reply

            case (.recipientsRefused(let others), let reply?)
            where self.deliversPartially && others.allSatisfy({ $0.reply.replyClass == 5 }):
                return .attempted(.accepted(reply, refused: refused + others))

            case (.refused, _), (.recipientsRefused, _):
                return delivery
            }
        }
    }

    /// One transaction.
    ///
    /// A connection that was kept may be dead without our knowing. If it proves so before the hop
    /// has accepted `MAIL`, the message goes to a new one; later never, so nothing is sent twice.
    private func transact(
        _ envelope: SMTPEnvelope,
        _ message: Message,
        until deadline: NIODeadline
    ) async throws -> SMTPDelivery {
        let first = try await self.lease(isNew: false, until: deadline)
        guard first.isUsed else {
            return try await self.deliver(envelope, message, on: first, deadline)
        }
        do {
            let delivery = try await self.deliver(envelope, message, on: first, deadline)
            guard delivery.isClosing, try await !self.wasMailAccepted(first) else {
                return delivery
            }
        } catch let error as SMTPForwardError where error.code == .closed {
            guard try await !self.wasMailAccepted(first) else { throw error }
        }
        let second = try await self.lease(isNew: true, until: deadline)
        return try await self.deliver(envelope, message, on: second, deadline)
    }

    private func deliver(
        _ envelope: SMTPEnvelope,
        _ message: Message,
        on lease: SMTPConnectionPool.Lease,
        _ deadline: NIODeadline
    ) async throws -> SMTPDelivery {
        try await withTaskCancellationHandler {
            do {
                if let obstacle = try await self.obstacle(envelope, message, lease.capabilities) {
                    try await self.giveBack(lease)
                    return .impossible(obstacle)
                }
                return .attempted(try await self.transact(envelope, message, lease, deadline))
            } catch {
                lease.channel.close(promise: nil)
                throw error
            }
        } onCancel: {
            lease.channel.close(promise: nil)
        }
    }

    private func transact(
        _ envelope: SMTPEnvelope,
        _ message: Message,
        _ lease: SMTPConnectionPool.Lease,
        _ deadline: NIODeadline
    ) async throws -> NextHopOutcome {
        let begun = try await self.loop.flatSubmit {
            lease.handler.value.begin(envelope, until: deadline)
        }.get()
        if case .outcome(let outcome) = begun { return outcome }
        var stuffer = DotStuffer()
        var piece: [UInt8] = []
        try stuffer.append(message.header.span, to: &piece)
        for try await chunk in message.body {
            if piece.count >= MessageBody.chunkOctets {
                do {
                    try await lease.channel.writeAndFlush(ByteBuffer(bytes: piece)).get()
                } catch {
                    return try await self.end(lease, [])  // says why
                }
                piece.removeAll(keepingCapacity: true)
            }
            guard lease.channel.isActive else { return try await self.end(lease, []) }
            try stuffer.append(chunk.span, to: &piece)
        }
        try stuffer.finish(&piece)
        return try await self.end(lease, piece)
    }

    private func end(
        _ lease: SMTPConnectionPool.Lease,
        _ lastPiece: [UInt8]
    ) async throws -> NextHopOutcome {
        let step = try await self.loop.flatSubmit { lease.handler.value.end(lastPiece) }.get()
        guard case .outcome(let outcome) = step else {
            throw SMTPForwardError(.malformed, "354 to the dot")
        }
        return outcome
    }

    /// What the message needs and the hop does not offer.
    private func obstacle(
        _ envelope: SMTPEnvelope,
        _ message: Message,
        _ capabilities: SMTPCapabilities
    ) async throws -> SMTPObstacle? {
        // Passing REQUIRETLS on needs a verified hop that offers it (RFC 8689 §4.2.1): not done yet.
        guard !envelope.requiresTLS else { return .encryption }
        // It could be sent by BDAT alone, which this client does not speak.
        guard !envelope.isBinaryMIME else { return .binary }
        if let maximum = capabilities.maximumSize, envelope.size > maximum { return .size }
        if !capabilities.hasSMTPUTF8 {
            let addresses = [envelope.sender] + envelope.recipients
            if addresses.contains(where: { $0.contains { $0 > 0x7F } }) { return .address }
            if envelope.isSMTPUTF8, message.header.contains(where: { $0 > 0x7F }) { return .header }
        }
        guard envelope.is8BitMIME, !capabilities.has8BitMIME else { return nil }
        return try await Self.has8BitOctets(message) ? .content : nil
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
}
