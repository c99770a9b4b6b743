// MARK: - Content arrived

extension SMTPPhase {
    enum ContentAction: Equatable {
        case needOctets
        case contentAppended
        case proceed
        case askHeadersEnd(bodyOffset: Int)
        case askMessage(SMTPMessageFacts)
        /// The message is over and refused; the transaction with it.
        case refuse(SMTPReply)
        /// No content is expected now.
        case unexpected
    }

    /// `messageOctets` becomes the number of the message's octets so far, kept or not.
    mutating func contentArrived(
        _ octets: borrowing Span<UInt8>,
        appendingTo content: inout [UInt8],
        messageOctets: inout Int
    ) -> (action: ContentAction, consumed: Int) {
        switch consume self {
        case .receiving(var reception):
            let before = content.count
            let step = reception.scanner.scan(octets, appendingTo: &content)
            messageOctets = reception.scanner.messageOctets
            if reception.refusal != nil, content.count > before {
                content.removeLast(content.count - before)
            }
            switch step.progress {
            case .needsOctets:
                self = .receiving(reception)
                return (content.count > before ? .contentAppended : .needOctets, step.consumed)

            case .headerEnded:
                let isWanted = !reception.isHeaderDone && !reception.isDiscarding
                reception.isHeaderDone = true
                guard isWanted else {
                    self = .receiving(reception)
                    return (.proceed, step.consumed)
                }
                let bodyOffset = reception.scanner.bodyOffset
                self = .askingOnContent(.headersEnd(isComplete: false), reception)
                return (.askHeadersEnd(bodyOffset: bodyOffset), step.consumed)

            case .ended:
                if let reply = reception.finalRefusal {
                    self = .ready(.greeted)
                    return (.refuse(reply), step.consumed)
                }
                guard reception.isHeaderDone else {
                    reception.isHeaderDone = true
                    let bodyOffset = reception.scanner.bodyOffset
                    self = .askingOnContent(.headersEnd(isComplete: true), reception)
                    return (.askHeadersEnd(bodyOffset: bodyOffset), step.consumed)
                }
                let facts = reception.facts
                self = .askingOnContent(.message, reception)
                return (.askMessage(facts), step.consumed)
            }

        case .unopened:
            self = .unopened
            return (.unexpected, 0)

        case .ready(let stage):
            self = .ready(stage)
            return (.unexpected, 0)

        case .asking(let question, let stage):
            self = .asking(question, stage)
            return (.unexpected, 0)

        case .askingOnContent(let question, let reception):
            self = .askingOnContent(question, reception)
            return (.unexpected, 0)

        case .closed:
            self = .closed
            return (.unexpected, 0)
        }
    }
}

extension SMTPPhase.Reception {
    var facts: SMTPMessageFacts {
        SMTPMessageFacts(
            octets: self.scanner.messageOctets,
            bodyOffset: self.scanner.bodyOffset,
            hops: self.scanner.hops
        )
    }

    /// The reply to the final dot of a message that was not kept; `nil` if it was.
    var finalRefusal: SMTPReply? {
        let faults = self.scanner.faults
        if faults.isEmpty { return self.refusal }
        if faults.contains(.bareLineFeed) || faults.contains(.bareCarriageReturn) {
            return StandardReplies.bareNewlineInMessage
        }
        if let refusal = self.refusal { return refusal }
        if faults.contains(.messageTooBig) { return StandardReplies.messageTooBig }
        if faults.contains(.headerTooBig) { return StandardReplies.headerTooBig }
        if faults.contains(.tooManyHops) { return StandardReplies.tooManyHops }
        return StandardReplies.textLineTooLong
    }
}
