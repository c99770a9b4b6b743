import JSON
import PolicyCore
import PolicyProtocol
import PoolCore
import SMTPCore
import SessionPlay

// MARK: - Until nothing is to be done

extension SessionSimulator {
    /// Performs what machines want, and looks at every session, until nothing changes.
    func settle() {
        var isChanged = true
        while isChanged, self.broken == nil {
            isChanged = false
            for pool in self.pools where !pool.actions.isEmpty {
                self.perform(pool)
                isChanged = true
            }
            for session in self.sessions where self.submit(session) { isChanged = true }
        }
        for session in self.touched { self.look(at: session) }
        self.touched.removeAll(keepingCapacity: true)
        self.sessions.removeAll(where: \.play.isOver)
        for pool in self.pools {
            self.check(
                pool.machine.openTickets == pool.askers.count,
                "\(pool.profile.name): \(pool.machine.openTickets) tickets, \(pool.askers.count) sessions"
            )
        }
    }

    /// Hands the session's question to its pool, once, and takes back one that it gave up.
    private func submit(_ session: SimulatedSession) -> Bool {
        let play = session.play
        if let ticket = session.ticket, ticket.submission != play.submissions || !play.isAsking {
            self.check(
                false,
                "\(session.number): the question of \(ticket.pool) was given up and not taken back"
            )
        }
        guard case .pool(let place, let hook) = play.wait, session.submitted != play.submissions
        else { return false }
        session.submitted = play.submissions
        self.counts.questions += 1
        self.check(
            session.key != play.key || place > session.lastPlace,
            "\(session.number): pool \(place) is asked again about \(hook)"
        )
        session.key = play.key
        session.lastPlace = place
        let pool = self.pools[session.route[place]]
        self.check(pool.profile.isAsked(hook), "\(pool.profile.name) is not to be asked at \(hook)")
        let ticket = pool.submit(session, hook: hook, now: self.now)
        session.ticket = (ticket, pool.number, play.submissions)
        return true
    }

    func perform(_ pool: SimulatedPool) {
        var next = 0
        while next < pool.actions.count {
            let action = pool.actions[next]
            next += 1
            switch action {
            case .send(let ticket, let worker, let eventID, _, _):
                self.send(ticket, to: worker, eventID, pool)
            case .fail(let ticket, _, let worker): self.fail(ticket, pool, worker)
            case .passOver(let ticket):
                guard let session = self.end(ticket, pool) else { continue }
                session.play.now = self.now
                session.play.poolDone(.passedOver)
            case .close(let worker, _): self.lose(worker, in: pool, isDeath: false)
            case .cancelEvent, .answerDrain, .ping, .poison, .deathCounted, .suspicionCleared: break
            }
        }
        pool.actions.removeAll()
    }

    private func end(_ ticket: PoolTicket, _ pool: SimulatedPool) -> SimulatedSession? {
        guard let session = pool.askers.removeValue(forKey: ticket) else {
            self.check(false, "\(pool.profile.name): ticket \(ticket) ends twice")
            return nil
        }
        self.check(
            session.ticket?.id == ticket && session.ticket?.pool == pool.number,
            "\(session.number): another ticket than its own ends"
        )
        session.ticket = nil
        return session
    }

    private func send(
        _ ticket: PoolTicket,
        to id: WorkerID,
        _ eventID: Int64,
        _ pool: SimulatedPool
    ) {
        guard let session = pool.askers[ticket],
            let worker = pool.workers.first(where: { $0.id == id })
        else { return self.check(false, "\(pool.profile.name): an event of no session") }
        pool.written[ticket, default: 0] += 1
        self.check(
            pool.written[ticket, default: 0] <= 3,
            "\(session.number): written \(pool.written[ticket, default: 0]) times"
        )
        guard let hook = session.play.openHook,
            let line = session.play.event(needs: worker.hello.hooks[hook]?.needs ?? [])
        else {
            return pool.machine.couldNotSend(
                to: id,
                eventID: eventID,
                now: self.now,
                actions: &pool.actions
            )
        }
        let ahead = hook.following.isEmpty ? [] : self.ahead(line)
        let place = session.route.firstIndex(of: pool.number) ?? 0
        for named in [hook] + ahead where session.play.isMessageComplete {
            let isReader = worker.hello.hooks[named]?.needs.contains(.message) ?? false
            self.check(
                !isReader || session.stored.contains(place),
                "\(session.number): \(named) needs a message that is in no file"
            )
        }
        for named in ahead {
            let isOthers = session.route.contains { number in
                number != pool.number && self.pools[number].profile.isAsked(named)
            }
            self.check(!isOthers, "\(session.number): \(named) goes ahead of another pool")
            let isOneRule =
                named == .queue
                || pool.profile.failurePolicy(at: named) == pool.profile.failurePolicy(at: hook)
            self.check(isOneRule, "\(session.number): \(named) goes ahead, and fails otherwise")
        }
        worker.held.append(SimulatedEvent(id: eventID, ticket: ticket, hook: hook, ahead: ahead))
    }

    private func ahead(_ line: [UInt8]) -> [Hook] {
        guard let event = try? JSONValue(parsing: Array(line.dropLast())),
            case .object(let members)? = event["ahead"]
        else { return [] }
        return members.keys.compactMap(Hook.init(rawValue:)).sorted { $0.index < $1.index }
    }

    private func fail(_ ticket: PoolTicket, _ pool: SimulatedPool, _ worker: WorkerID?) {
        guard let session = self.end(ticket, pool), let hook = session.play.openHook else { return }
        let place = session.route.firstIndex(of: pool.number) ?? 0
        self.note("\(session.number): the pool fails at \(hook)")
        self.questionFailed(session, at: hook, place: place)
        session.play.now = self.now
        session.play.poolDone(
            .failed(
                reason: "worker_lost",
                worker: worker.map { WorkerLabel(name: "w", connection: $0) }
            )
        )
    }
}

// MARK: - What the session does

extension SessionSimulator {
    /// Each action of a session, before it is performed.
    func observe(_ action: PolicySession.Action, _ session: SimulatedSession) {
        self.touch(session)
        self.readReplies(of: session)
        switch action {
        case .cancel:
            guard let ticket = session.ticket else {
                return self.check(
                    false,
                    "\(session.number): takes back a question that is not open"
                )
            }
            self.counts.cancelled += 1
            session.ticket = nil
            self.pools[ticket.pool].cancel(ticket.id)
        case .showShadows:
            self.check(!session.isShadowed, "\(session.number): shadows wait for two answers")
            self.counts.shadowed += 1
            session.isShadowed = true
        case .shadowsDone:
            self.check(session.isShadowed, "\(session.number): shadows are told twice")
            session.isShadowed = false
        case .notify(let hook, _):
            if hook == .queue_post { session.queuePosts += 1 }
            if hook == .reset_transaction { session.resets += 1 }
        case .transactionOver(let end): self.transactionOver(end, session)
        case .beginMessage:
            session.stored = []
            session.isGranted = false
        case .answer(let outcome, let hook, let recipients):
            self.check(
                recipients >= session.play.recipients.count,
                "\(session.number): the SMTP session is told of \(recipients) recipients"
            )
            self.answered(outcome, at: hook, session)
        case .sessionOver:
            self.check(!session.isShadowed, "\(session.number): shadows wait for ever")
        case .submit, .storeMessage, .takeReplacement, .replacementRefused, .messageLost, .skipped,
            .hold, .refused, .commandUnknown:
            break
        }
    }

    private func transactionOver(_ end: PolicySession.TransactionEnd, _ session: SimulatedSession) {
        let observed = self.played.demand.observed
        if observed.contains(.queue_post) {
            self.check(
                session.queuePosts
                    == (end.decider != nil && session.answeredHook == .queue ? 1 : 0),
                "\(session.number): queue_post \(session.queuePosts) times, \(end.reason)"
            )
        }
        if observed.contains(.reset_transaction) {
            self.check(
                session.resets == (session.isMailGranted ? 1 : 0),
                "\(session.number): reset_transaction \(session.resets) times, \(end.reason)"
            )
        }
        (session.queuePosts, session.resets, session.isMailGranted) = (0, 0, false)
        session.transactionNotes = [:]
        session.envelope = []
        if end.decider != nil {
            self.counts.accepted += 1
            self.check(session.isGranted, "\(session.number): taken by no worker")
        }
    }

    /// SMTP is told the outcome: what the workers said decides it.
    private func answered(_ outcome: SMTPOutcome, at hook: Hook, _ session: SimulatedSession) {
        self.check(!session.isDelayed, "\(session.number): a reply was not held back")
        self.check(!session.isShadowed, "\(session.number): shadows were not told")
        let reply: SMTPReply? =
            switch outcome {
            case .granted(let reply): reply.flatMap { $0.code.rawValue >= 400 ? $0 : nil }
            case .refused(let reply), .refusedThenClose(let reply): reply
            case .answeredEach(let replies): replies.first { $0.code.rawValue >= 400 }
            case .challenged: nil
            }
        if session.mustRefuse {
            self.check(reply != nil, "\(session.number): consent at \(hook) in spite of a refusal")
            if let wanted = session.refusalClass, let reply {
                self.check(
                    reply.code.rawValue / 100 == wanted,
                    "\(session.number): \(reply.code.rawValue) at \(hook), not \(wanted)yz"
                )
            }
            if reply != nil { self.counts.refused += 1 }
        } else if hook == .rcpt || hook == .queue {
            self.check(
                (reply == nil) == session.isGranted,
                "\(session.number): \(reply == nil ? "granted" : "refused") at \(hook), by no worker"
            )
        } else if hook != .unrecognized_command {
            self.check(reply == nil, "\(session.number): refused at \(hook) by no worker")
        }
        session.answeredHook = hook
        if hook == .mail, reply == nil { session.isMailGranted = true }
        session.mustRefuse = false
        session.refusalClass = nil
        if hook == .rcpt, reply == nil, let address = session.asked.first,
            !session.envelope.contains(address)
        {
            session.envelope.append(address)
        }
        if !hook.isAboutMessage { session.isGranted = false }
    }

    /// Matches replies with the commands that they answer.
    private func readReplies(of session: SimulatedSession) {
        let play = session.play
        while session.seen < play.replies.count {
            let reply = play.replies[session.seen]
            session.seen += 1
            guard !session.pending.isEmpty else {
                // 421 at the end answers no command.
                self.check(play.isOver, "\(session.number): a reply to no command: \(reply)")
                continue
            }
            self.replied(session, session.pending.removeFirst(), reply)
        }
    }

    /// The session has come to rest for now.
    func look(at session: SimulatedSession) {
        self.readReplies(of: session)
        let play = session.play
        guard !play.isOver else { return }
        if play.wait == .client, play.isIdle {
            self.check(
                session.pending.isEmpty || session.isClientGone,
                "\(session.number): no reply to \(session.pending)"
            )
        }
        let notes = try? JSONValue(parsing: play.notes)
        self.check(
            notes == session.notes(hasTransaction: notes?["transaction"] != nil),
            "\(session.number): notes \(String(decoding: play.notes, as: UTF8.self))"
        )
        let envelope = play.recipients.map {
            String(decoding: $0.address.address, as: UTF8.self)
        }
        self.check(
            envelope == session.envelope,
            "\(session.number): recipients \(envelope), not \(session.envelope)"
        )
    }

    private func replied(_ session: SimulatedSession, _ command: Command, _ reply: SMTPReply) {
        let isPositive = reply.code.rawValue < 400
        switch command {
        case .data: session.isSendingContent = reply.code.rawValue == 354
        case .dot:
            self.check(
                isPositive == session.isGranted || session.play.isOver,
                "\(session.number): \(reply.code.rawValue) to the final dot, granted: \(session.isGranted)"
            )
        case .rcpt: if !session.asked.isEmpty { session.asked.removeFirst() }
        case .greeting, .helo, .ehlo, .mail, .rset, .noop, .vrfy, .help, .unknown, .quit: break
        }
    }
}
