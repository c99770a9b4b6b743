import Octets

// MARK: - Lines

extension SMTPSession {
    /// Reads the next line: a command, which is checked, or the response to a challenge.
    ///
    /// While a question is open, or content arrives, there is no next line.
    mutating func nextLine(in octets: borrowing Span<UInt8>) -> Step {
        if self.discardedLineOctets != nil { return self.discardLine(octets) }
        let count: Int?
        do {
            count = try self.lineScanner.endOfLine(in: octets)
        } catch {
            return self.refusedAsOtherProtocol(octets) ?? self.lineRefused(error, octets)
        }
        guard let count else {
            return self.refusedAsOtherProtocol(octets) ?? Step(action: .needOctets, consumed: 0)
        }
        let consumed = count + self.lineScanner.lineEndOctets
        guard self.dialogue == nil else {
            // A response has to wait for its challenge.
            if octets.count > consumed { self.isEarlyTalker = true }
            return Step(action: self.responseArrived(octets, count: count), consumed: consumed)
        }
        let line = SMTPCommandLine(in: octets, count: count)
        if let verb = self.offered(line.verb), verb.isLastInGroup, octets.count > consumed {
            self.isEarlyTalker = true
        }
        let command = Command(
            line: line,
            textOctets: count,
            lineOctets: consumed,
            hasMore: octets.count > consumed
        )
        return Step(action: self.check(command, octets), consumed: consumed)
    }

    /// A first line without an end is refused as another protocol's before its end comes.
    private mutating func refusedAsOtherProtocol(_ octets: borrowing Span<UInt8>) -> Step? {
        guard self.meter.commands == 0, self.beginsOtherProtocol(octets) else { return nil }
        self.meter.commandReceived(nil)
        return Step(action: self.refuseOtherProtocol(), consumed: octets.count)
    }

    private mutating func lineRefused(
        _ error: SMTPLineError,
        _ octets: borrowing Span<UInt8>
    ) -> Step {
        switch error {
        case .bareLineFeed:
            // Servers disagree on where such a line ends, so nothing behind it is read.
            return Step(
                action: self.close(StandardReplies.bareLineFeedInCommand),
                consumed: octets.count
            )
        case .bareCarriageReturn:
            return Step(
                action: self.close(StandardReplies.bareCarriageReturnInCommand),
                consumed: octets.count
            )
        case .lineTooLong:
            guard SMTPCommandLine(in: octets, count: octets.count).verb != .bdat else {
                // Its chunk would be read as commands.
                return Step(
                    action: self.close(StandardReplies.commandLineTooLong),
                    consumed: octets.count
                )
            }
            self.discardedLineOctets = 0
            self.lineScanner = Self.newLineScanner(self.configuration)
            return self.discardLine(octets)
        }
    }

    /// Drops the rest of a line that is too long, and answers it at its end.
    private mutating func discardLine(_ octets: borrowing Span<UInt8>) -> Step {
        var dropped = self.discardedLineOctets ?? 0
        var index = 0
        while index < octets.count {
            let octet = octets[index]
            if octet == .lineFeed {
                guard self.lineScanner.takesBareLineFeed else {
                    return self.lineRefused(.bareLineFeed(at: index), octets)
                }
                return self.discarded(upTo: index + 1)
            }
            if octet == .carriageReturn {
                guard index + 1 < octets.count else { break }
                guard octets[index + 1] == .lineFeed else {
                    return self.lineRefused(.bareCarriageReturn(at: index), octets)
                }
                return self.discarded(upTo: index + 2)
            }
            index += 1
            dropped += 1
            guard dropped <= SMTPLimits.discardedLineOctets else {
                return Step(
                    action: self.close(StandardReplies.commandLineTooLong),
                    consumed: octets.count
                )
            }
        }
        self.discardedLineOctets = dropped
        return Step(action: .needOctets, consumed: index)
    }

    /// A line that was too long has ended: it gets one reply.
    private mutating func discarded(upTo end: Int) -> Step {
        self.discardedLineOctets = nil
        guard self.dialogue == nil else {
            return Step(action: self.responseTooLong(), consumed: end)
        }
        self.meter.commandReceived(nil)
        return Step(action: self.refuse(StandardReplies.commandLineTooLong), consumed: end)
    }
}

// MARK: - Check

extension SMTPSession {
    /// The verb, if the listener knows it; else it is as any unknown word.
    private func offered(_ verb: SMTPVerb?) -> SMTPVerb? {
        switch verb {
        case .xclient: self.configuration.trust.contains(.xclient) ? verb : nil
        case .xforward: self.configuration.trust.contains(.xforward) ? verb : nil
        case .lhlo: self.configuration.isLMTP ? verb : nil
        default: verb
        }
    }

    /// One command line, read where it lies.
    struct Command {
        let line: SMTPCommandLine
        /// Octets of the line without its end.
        let textOctets: Int
        /// Octets of the line, its end included.
        let lineOctets: Int
        /// Octets follow that are already here.
        let hasMore: Bool
    }

    private mutating func check(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        let verb = self.offered(command.line.verb)
        self.meter.commandReceived(verb)
        if verb == nil, self.meter.commands == 1, self.beginsOtherProtocol(octets) {
            return self.refuseOtherProtocol()
        }
        if verb != .bdat {
            self.isBehindRefusedChunk = false
            self.droppedChunkOctets = 0
        }
        if let reply = self.refusalOfOneMore(verb) { return self.close(reply) }
        if command.lineOctets > SMTPLimits.commandLineOctets, self.isTooLong(command) {
            guard verb != .bdat else { return self.close(StandardReplies.commandLineTooLong) }
            return self.refuse(StandardReplies.commandLineTooLong)
        }
        if let reply = self.refusalOfUnmet(verb) { return self.refuse(reply) }
        // A NUL behind BDAT is no chunk size.
        if verb != .bdat, octets.contains(.nul, before: command.lineOctets) {
            return self.refuse(StandardReplies.nulInCommand)
        }
        switch verb {
        case .helo, .ehlo: return self.checkHello(verb == .ehlo ? .ehlo : .helo, command, octets)
        case .lhlo: return self.checkHello(.ehlo, command, octets)
        case .mail: return self.checkMail(command, octets)
        case .rcpt: return self.checkRecipient(command, octets)
        case .data: return self.checkData(command)
        case .rset: return self.checkReset(command)
        case .noop: return self.checkNoop(command, octets)
        case .vrfy: return self.checkVerify(command, octets)
        case .expn: return self.refuse(StandardReplies.expnNotImplemented)
        case .help: return self.ask(.help, .help(octets.octets(command.line.argument)))
        case .quit: return self.checkQuit(command)
        case .starttls: return self.checkStartTLS(command)
        case .auth: return self.checkAuth(command, octets)
        case .bdat: return self.checkChunk(command, octets)
        case .xclient: return self.checkXClient(command, octets)
        case .xforward: return self.checkXForward(command, octets)
        case nil: return self.checkUnrecognized(command, octets)
        }
    }

    private func isTooLong(_ command: Command) -> Bool {
        command.lineOctets
            > self.configuration.lineOctets(of: command.line.verb, in: self.security)
    }

    /// The reply to one command too many; `nil` if it is within the limits.
    private func refusalOfOneMore(_ verb: SMTPVerb?) -> SMTPReply? {
        let limits = self.configuration.limits
        if verb != .quit, self.meter.hasTooManyCommands(limits) {
            return StandardReplies.tooManyCommands
        }
        switch verb {
        case .quit:
            return nil
        case .rcpt:
            return self.meter.hasTooManyRefusedRecipients(limits)
                ? StandardReplies.tooManyRefusedRecipients : nil
        default:
            return self.meter.hasTooManyWithoutMessage(limits)
                ? StandardReplies.tooManyWithoutMessage : nil
        }
    }

    /// Refuses a command with a reply of our own, which counts as the client's error.
    mutating func refuse(_ reply: SMTPReply) -> SMTPAction {
        self.meter.errorMade()
        let isGreeted = self.phase.stage?.isGreeted ?? false
        if self.meter.hasTooManyErrors(self.configuration.limits, beforeHello: !isGreeted) {
            return self.close(StandardReplies.tooManyErrors)
        }
        return .reply(reply)
    }

    /// A command passed its check: policy is asked.
    mutating func ask(
        _ open: SMTPPhase.CommandQuestion,
        _ question: SMTPQuestion
    ) -> SMTPAction {
        // A command is checked only while commands are read.
        guard self.phase.commandChecked(open) else {
            return self.close(StandardReplies.internalError)
        }
        return self.asked(question)
    }
}
