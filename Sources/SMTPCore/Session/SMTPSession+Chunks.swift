// BDAT: messages that arrive in chunks.

extension SMTPSession {
    /// BDAT: so many octets follow the command line, whatever comes of it.
    ///
    /// A chunk that is refused is dropped before the reply is sent, and never read as commands. The
    /// transaction is over with it: what is left of the message cannot be accepted any more. Chunks that
    /// follow a refused one were in the pipeline, and are no mistakes of the client's. Where it is not
    /// known how much to drop, or it is too much, the session ends.
    ///
    /// - Note: RFC 3030 §2.
    mutating func checkChunk(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        guard self.configuration.extensions(in: self.security).contains(.chunking) else {
            return self.close(StandardReplies.bdatNotOffered)
        }
        let chunk: SMTPChunk
        do {
            chunk = try SMTPChunk(octets, in: command.line.argument)
        } catch {
            self.meter.errorMade()
            return self.close(
                error == .tooBig ? StandardReplies.messageTooBig : StandardReplies.chunkSyntax
            )
        }
        self.chunks.begin(chunk)
        switch self.phase.stage {
        case .betweenChunks:
            guard self.hasRoom(for: chunk, behind: self.messageOctets) else {
                return self.refuseChunk(StandardReplies.messageTooBig)
            }
            guard self.phase.chunkBegun() else {
                return self.close(StandardReplies.internalError)
            }
            return .proceed

        case .inTransaction(let transaction):
            guard transaction.recipients > 0 else {
                return transaction.hasRefusedRecipients
                    ? self.refuseChunk(self.configuration.noValidRecipients)
                    : self.refuseMistakenChunk(StandardReplies.recipientFirst)
            }
            guard self.hasRoom(for: chunk, behind: 0) else {
                return self.refuseChunk(StandardReplies.messageTooBig)
            }
            self.chunks = SMTPChunkFraming()
            self.chunks.begin(chunk)
            return self.ask(.bdat, .data)

        case .greeted: return self.refuseMistakenChunk(StandardReplies.mailFirst)
        case .connected, nil: return self.refuseMistakenChunk(self.configuration.helloFirst)
        }
    }

    private func hasRoom(for chunk: SMTPChunk, behind octets: Int) -> Bool {
        chunk.octets <= self.configuration.limits.maximumMessageOctets - octets
    }

    /// A chunk came out of order: the client's error, unless it was sent behind a refused chunk.
    private mutating func refuseMistakenChunk(_ reply: SMTPReply) -> SMTPAction {
        guard !self.isBehindRefusedChunk else { return self.refuseChunk(reply) }
        self.meter.errorMade()
        let isGreeted = self.phase.stage?.isGreeted ?? false
        if self.meter.hasTooManyErrors(self.configuration.limits, beforeHello: !isGreeted) {
            return self.close(StandardReplies.tooManyErrors)
        }
        return self.refuseChunk(reply)
    }

    /// Drops the chunk, then answers; closes if it is too much to drop.
    private mutating func refuseChunk(_ reply: SMTPReply) -> SMTPAction {
        let (dropped, isOver) = self.droppedChunkOctets.addingReportingOverflow(
            self.chunks.octetsLeft
        )
        guard !isOver, dropped <= self.configuration.limits.maximumDroppedChunkOctets else {
            return self.close(reply)
        }
        self.droppedChunkOctets = dropped
        guard self.phase.chunkRefused(reply) else {
            return self.close(StandardReplies.internalError)
        }
        return .proceed
    }

    /// Reads on in a chunk that is kept.
    mutating func nextChunkOctets(
        in octets: borrowing Span<UInt8>,
        isRefused: Bool,
        content: inout [UInt8]
    ) -> Step {
        let before = content.count
        let step = self.chunks.read(octets, into: &self.contentMeter, appendingTo: &content)
        if isRefused { content.removeLast(content.count - before) }
        let action: SMTPAction
        switch step.progress {
        case .headerEnded: action = self.contentRead(.header)
        case .chunkEnded: action = self.contentRead(.chunk, endsByDot: false)
        case .ended: action = self.contentRead(.message, endsByDot: false)
        case .read where content.count > before: action = .contentAppended
        case .read: action = self.chunks.octetsLeft == 0 ? .proceed : .needOctets
        }
        return Step(action: action, consumed: step.consumed)
    }

    /// Drops octets of a refused chunk; the reply is due once all of them are gone.
    mutating func nextDroppedOctets(
        in octets: borrowing Span<UInt8>,
        _ drop: SMTPPhase.Drop
    ) -> Step {
        let dropped = self.chunks.drop(of: octets.count)
        guard self.chunks.octetsLeft == 0 else {
            return Step(action: .needOctets, consumed: dropped)
        }
        // What the log says of a refused command is the command, not the content behind it.
        guard dropped == 0 else { return Step(action: .proceed, consumed: dropped) }
        self.phase.chunkDropped()
        self.isBehindRefusedChunk = true
        if self.chunks.isLast { self.reply(drop.reply, toEachOf: drop.repliesOfMessage) }
        let action: SMTPAction =
            drop.endsTransaction ? .resetThenReply(drop.reply) : .reply(drop.reply)
        return Step(action: action, consumed: 0)
    }
}

// MARK: - The phase

extension SMTPPhase {
    /// A chunk follows that the message goes on with.
    ///
    /// `false`, and nothing changes, unless one was expected.
    mutating func chunkBegun() -> Bool {
        guard case .betweenChunks(let transaction, let isHeaderDone)? = self.commandStage else {
            return false
        }
        var reception = Reception(transaction, isChunked: true)
        reception.isHeaderDone = isHeaderDone
        self = .listening(.content(reception))
        return true
    }

    /// A chunk follows that is dropped, and refused after that; a transaction is over with it.
    ///
    /// `false`, and nothing changes, unless a command was being waited for.
    mutating func chunkRefused(_ reply: SMTPReply) -> Bool {
        guard let stage = self.commandStage else { return false }
        self = .listening(.dropping(Drop(reply, at: stage)))
        return true
    }

    /// All of the chunk was dropped: commands are read again.
    mutating func chunkDropped() {
        guard let drop = self.drop else { return }
        self = .listening(.commands(drop.stage))
    }

    /// A chunk on its way out.
    struct Drop: Equatable {
        let reply: SMTPReply
        /// Where the dialogue goes on.
        let stage: Stage
        let endsTransaction: Bool
        /// How many replies the end of the message would have.
        let repliesOfMessage: Int

        init(_ reply: SMTPReply, at stage: Stage) {
            self.reply = reply
            self.stage = stage.isInTransaction ? .greeted : stage
            self.endsTransaction = stage.isInTransaction
            self.repliesOfMessage = stage.transaction?.replies ?? 1
        }
    }

    /// The chunk on its way out; `nil` if there is none.
    var drop: Drop? {
        switch self {
        case .listening(.dropping(let drop)): drop
        case .listening: nil
        case .asking: nil
        case .unopened: nil
        case .closed: nil
        }
    }
}
