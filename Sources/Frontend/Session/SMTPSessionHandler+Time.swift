import Configuration
import NIOCore
import PolicyCore
import SMTPCore

// MARK: - Timeouts and shutdown

extension SMTPSessionHandler {
    /// Looks at this session's timers.
    func timePassed(_ time: TickTime) {
        let now = time.nowMS
        let excess = self.charge(time)
        // While a question is open, or a reply is held back, the silence is not the client's.
        if self.phase == .waiting { self.lastHeardMS = now }
        guard self.phase != .closing else {
            if now >= self.lingerUntilMS, let context = self.context { self.close(context) }
            return
        }
        guard self.phase != .securing else {
            if now >= self.phaseUntilMS { self.encryptionFailed(HandshakeTimeout()) }
            return
        }
        guard self.phase != .proxyHeader else {
            if now >= self.phaseUntilMS { self.proxyHeaderRefused("it did not come in time") }
            return
        }
        if let excess { return self.end(by: excess) }
        let limits = self.limits
        let isOver = now - self.openedMS >= limits.sessionTimeoutMS
        if let blocked = self.blockedSinceMS {
            // A client that takes no replies would not take a 421 either.
            if isOver || now - blocked >= limits.replyTimeoutMS { self.endNow(.timeout) }
            return
        }
        let silence: Int64? =
            switch self.machine.wait {
            case .command: self.commandTimeoutMS
            case .content: limits.dataTimeoutMS
            case .answer, .handshake, .nothing: nil
            }
        let isSilent = silence.map { now - self.lastHeardMS >= $0 } ?? false
        guard isSilent || isOver, self.phase != .greetingHeld else { return }
        self.end = .timeout
        self.perform(isOver ? self.machine.sessionTimedOut() : self.machine.timedOut())
        self.flush()
    }

    /// Charges the time since this was done last to the client, if it was its turn.
    private func charge(_ time: TickTime) -> ClientBudgets.Excess? {
        let elapsed = time.since(self.chargedTime)
        self.chargedTime = time
        return self.budgets.timePassed(
            elapsed,
            turn: self.clientTurn,
            self.machine.counters.progress(octets: self.machine.arrivedContentOctets),
            self.budgetLimits
        )
    }

    /// For how many milliseconds no timer of this session can be over if its client sends nothing;
    /// `nil` while something else may happen, or the client was heard just now.
    func quietMS(_ now: Int64) -> Int64? {
        guard self.phase == .parsing, self.machine.wait == .command, !self.isTurnOver,
            self.blockedSinceMS == nil, now - self.lastHeardMS >= Self.quietAfterMS
        else { return nil }
        let silence = self.lastHeardMS + self.commandTimeoutMS - now
        let session = self.openedMS + self.limits.sessionTimeoutMS - now
        let budget = self.budgets.leftMS(
            inTransaction: self.machine.isInTransaction,
            self.budgetLimits
        )
        return min(silence, session, budget ?? .max)
    }

    /// Something happens: until now the client had its turn, and the next tick looks at the session.
    func wake() {
        guard self.rest != nil else { return }
        // Had the client gone past a limit, the tick that is due then would have found it.
        _ = self.charge(self.server.time)
        self.server.sessionWoken(self)
    }

    /// What the client has to do next; `nil` while this side has to do something.
    private var clientTurn: ClientBudgets.Turn? {
        switch self.phase {
        case .securing: return .command
        case .proxyHeader, .greetingHeld, .waiting, .closing: return nil
        case .parsing: break
        }
        guard !self.isTurnOver else { return nil }
        switch self.machine.wait {
        case .command: return self.machine.isInTransaction ? .envelope : .command
        case .content: return .content
        case .answer, .handshake, .nothing: return nil
        }
    }

    /// The client took more time than it has, or sent more commands.
    private func end(by excess: ClientBudgets.Excess) {
        let reply = excess.reply
        self.summary.exceeded(excess)
        self.end = SessionEnd(closedBy: reply)
        // A client that takes no replies would not take a 421 either.
        guard self.blockedSinceMS == nil else { return self.endNow(SessionEnd(closedBy: reply)) }
        self.perform(self.machine.close(reply))
        self.flush()
    }

    /// The frontend stops: idle sessions end now, a transaction may finish.
    func shutDown() {
        self.wake()
        switch self.phase {
        case .proxyHeader, .greetingHeld, .securing: return self.endNow(.shutdown)
        case .parsing, .waiting, .closing: break
        }
        self.perform(self.machine.shutdownRequested())
        self.flush()
    }

    /// The time for finishing is up: 421, whatever is going on.
    func shutdownOverdue() {
        self.wake()
        guard self.phase != .securing else { return self.endNow(.shutdown) }
        self.end = .shutdown
        self.tell { $0.cancelQuestion(&$1) }
        self.phase = .parsing
        self.perform(self.machine.shutdownDeadlinePassed())
        self.flush()
    }

    /// The frontend is about to stop: 421 in the banner's place.
    func refuseToStart() {
        self.end = .shutdown
        self.phase = .parsing
        self.perform(self.machine.close(StandardReplies.shuttingDown))
        self.flush()
    }

    /// Closes at once; nothing was answered 250 that is not safe.
    func endNow(_ end: SessionEnd) {
        self.wake()
        self.end = end
        self.phase = .closing
        if let context = self.context { self.close(context) } else { self.sessionOver() }
    }

    /// Closes the connection.
    func close(_ context: ChannelHandlerContext) {
        self.server.connectionClosed(of: self)
        context.close(promise: nil)
    }
}
