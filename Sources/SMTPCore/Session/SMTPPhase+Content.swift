// MARK: - Content was read

extension SMTPPhase {
    enum ContentAction: Equatable {
        case proceed
        case askHeadersEnd
        case askMessage
        /// A chunk was taken, and more follow.
        case chunkTaken
        /// The message is over and refused with so many replies; the transaction is over with it.
        case refuse(SMTPReply, replies: Int)
        /// No content is expected now.
        case unexpected
    }

    /// The end of the header, or of the message, was read.
    mutating func contentRead(_ end: ContentEnd, _ faults: SMTPContentFaults) -> ContentAction {
        switch consume self {
        case .listening(.content(var reception)):
            switch end {
            case .header:
                let isWanted =
                    !reception.isHeaderDone && reception.refusal == nil && faults.isEmpty
                reception.isHeaderDone = true
                guard isWanted else {
                    self = .listening(.content(reception))
                    return .proceed
                }
                self = .asking(.content(.headersEnd(isComplete: false), reception))
                return .askHeadersEnd

            case .chunk:
                if let reply = reception.finalRefusal(faults) {
                    self = .listening(.commands(.greeted))
                    return .refuse(reply, replies: 1)
                }
                self = .listening(
                    .commands(
                        .betweenChunks(
                            reception.transaction,
                            isHeaderDone: reception.isHeaderDone
                        )
                    )
                )
                return .chunkTaken

            case .message:
                if let reply = reception.finalRefusal(faults) {
                    self = .listening(.commands(.greeted))
                    return .refuse(reply, replies: reception.transaction.replies)
                }
                guard reception.isHeaderDone else {
                    reception.isHeaderDone = true
                    self = .asking(.content(.headersEnd(isComplete: true), reception))
                    return .askHeadersEnd
                }
                self = .asking(.content(.message, reception))
                return .askMessage
            }

        case .listening(let input):
            self = .listening(input)
            return .unexpected

        case .asking(let question):
            self = .asking(question)
            return .unexpected

        case .unopened:
            self = .unopened
            return .unexpected

        case .closed:
            self = .closed
            return .unexpected
        }
    }

    /// What ended where reading stopped.
    enum ContentEnd {
        case header
        /// A chunk, but not the last one.
        case chunk
        case message
    }
}

extension SMTPPhase.Reception {
    /// The reply to the end of a message that was not kept; `nil` if it was.
    func finalRefusal(_ faults: SMTPContentFaults) -> SMTPReply? {
        if faults.isEmpty { return self.refusal }
        if faults.contains(.bareLineFeed) || faults.contains(.bareCarriageReturn) {
            return StandardReplies.bareNewlineInMessage
        }
        if let refusal = self.refusal { return refusal }
        if faults.contains(.messageTooBig) { return StandardReplies.messageTooBig }
        if faults.contains(.headerTooBig) { return StandardReplies.headerTooBig }
        if faults.contains(.tooManyHops) { return StandardReplies.tooManyHops }
        if faults.contains(.nul) { return StandardReplies.nulInMessage }
        return StandardReplies.textLineTooLong
    }
}
