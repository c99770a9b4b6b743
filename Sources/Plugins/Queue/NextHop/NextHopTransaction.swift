import NIOCore
import PolicyKit

/// A transaction whose recipients the hop has accepted, and which waits for the content.
///
/// Until the final dot, or the last octet of the chunk, is sent, the hop must not deliver anything
/// (RFC 5321 §4.1.1.4, RFC 3030 §2): it may be abandoned, and another hop be tried. After that it may not.
struct NextHopTransaction: Sendable {
    let address: ServerAddress
    private let lease: SMTPConnectionPool.Lease
    private let loop: any EventLoop
    private let form: SMTPClientMachine.ContentForm

    init(
        _ address: ServerAddress,
        _ lease: SMTPConnectionPool.Lease,
        _ loop: any EventLoop,
        _ form: SMTPClientMachine.ContentForm
    ) {
        self.address = address
        self.lease = lease
        self.loop = loop
        self.form = form
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
        switch self.form {
        case .lines:
            var stuffer = DotStuffer()
            return try await self.sendPieces(message) { octets, piece, isLast in
                try stuffer.append(octets.span, to: &piece)
                if isLast { try stuffer.finish(&piece) }
            }

        case .chunk:
            try DotStuffer.check(message.header)
            // Behind so many octets the hop reads commands: `body` has all of its octets, or throws.
            let start = "BDAT \(message.size) LAST\r\n"
            return try await self.sendPieces(message, after: start) { octets, piece, _ in
                piece += octets
            }
        }
    }

    /// Sends the message piece by piece, and waits for what becomes of it.
    ///
    /// `append` puts octets of the message behind a piece; the last time with none.
    private func sendPieces(
        _ message: Message,
        after start: String = "",
        _ append: (_ octets: [UInt8], _ piece: inout [UInt8], _ isLast: Bool) throws -> Void
    ) async throws -> NextHopOutcome {
        var piece = Array(start.utf8)
        try append(message.header, &piece, false)
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
            try append(chunk, &piece, false)
        }
        try append([], &piece, true)
        return try await self.end(piece)
    }

    private func end(_ lastPiece: [UInt8]) async throws -> NextHopOutcome {
        let step = try await self.loop.flatSubmit {
            self.lease.handler.value.end(lastPiece)
        }.get()
        guard case .outcome(let outcome) = step else {
            throw SMTPForwardError(.malformed, "354 to the content")
        }
        return outcome
    }
}
