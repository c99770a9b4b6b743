import NIOCore
import PolicyKit

/// A transaction whose recipients the hop has accepted, and which waits for the content.
///
/// Until the final dot is sent the hop must not deliver anything (RFC 5321 §4.1.1.4): it may be
/// abandoned, and another hop be tried. After the dot it may not.
struct NextHopTransaction: Sendable {
    let address: ServerAddress
    private let lease: SMTPConnectionPool.Lease
    private let loop: any EventLoop

    init(_ address: ServerAddress, _ lease: SMTPConnectionPool.Lease, _ loop: any EventLoop) {
        self.address = address
        self.lease = lease
        self.loop = loop
    }

    /// Closes the connection: the hop gets no content.
    func abandon() { self.lease.channel.close(promise: nil) }

    /// Sends the content, and waits for what becomes of it.
    ///
    /// - Throws: ``SMTPForwardError``, or what the spool file's reading threw; the hop may have the
    ///   message all the same.
    func send(_ message: Message, until deadline: NIODeadline) async throws -> NextHopOutcome {
        try await withTaskCancellationHandler {
            do {
                try await self.loop.submit {
                    self.lease.handler.value.setTimer(deadline, "no answer in time")
                }.get()
                return try await self.sendContent(message)
            } catch {
                self.abandon()
                throw error
            }
        } onCancel: {
            self.abandon()
        }
    }

    private func sendContent(_ message: Message) async throws -> NextHopOutcome {
        var stuffer = DotStuffer()
        var piece: [UInt8] = []
        try stuffer.append(message.header.span, to: &piece)
        for try await chunk in message.body {
            if piece.count >= MessageBody.chunkOctets {
                do {
                    try await self.lease.channel.writeAndFlush(ByteBuffer(bytes: piece)).get()
                } catch {
                    return try await self.end([])  // says why
                }
                piece.removeAll(keepingCapacity: true)
            }
            guard self.lease.channel.isActive else { return try await self.end([]) }
            try stuffer.append(chunk.span, to: &piece)
        }
        try stuffer.finish(&piece)
        return try await self.end(piece)
    }

    private func end(_ lastPiece: [UInt8]) async throws -> NextHopOutcome {
        let step = try await self.loop.flatSubmit {
            self.lease.handler.value.end(lastPiece)
        }.get()
        guard case .outcome(let outcome) = step else {
            throw SMTPForwardError(.malformed, "354 to the dot")
        }
        return outcome
    }
}
