import Configuration
import JSON
import NIOCore
import PolicyCore
import PolicyProtocol
import PoolCore
import SMTPCore

// MARK: - Questions

extension SMTPSessionHandler {
    /// The SMTP session has a question; answered at once when no pool is to be asked.
    func ask(_ question: SMTPQuestion) {
        self.phase = .waiting
        if self.input.readableBytes > 0 { self.machine.octetsArrivedEarly() }
        if self.machine.isEarlyTalker { self.policy.clientTalkedEarly() }
        var unixMS: Int64 = 0
        switch question {
        case .headersEnd(let bodyOffset): self.headerArrived(bodyOffset)
        case .message(let facts): self.messageArrived(facts)
        case .auth: return self.askLogin(question)
        case .mail(_, let parameters):
            if parameters.futureRelease != nil { unixMS = self.server.unixMS }
        case .connect, .helo, .ehlo, .rcpt, .data, .vrfy, .help, .noop, .quit, .unrecognized: break
        }
        let (now, isMemoryUsedUp) = (self.server.nowNS, self.server.isMemoryUsedUp)
        self.tell {
            $0.asked(
                question,
                now: now,
                unixMS: unixMS,
                isMemoryUsedUp: isMemoryUsedUp,
                &$1
            )
        }
    }

    /// FUTURERELEASE is offered from EHLO to EHLO, if just then every worker that may get a message holds it.
    private func offerFutureRelease() {
        guard self.machine.configuration.mayOfferFutureRelease else { return }
        guard self.policy.keepsFutureRelease else {
            self.machine.futureRelease = nil
            return
        }
        self.machine.futureRelease = FutureReleaseOffer(
            nowSeconds: self.server.unixMS / 1_000,
            maximumSeconds: Int(clamping: self.limits.maximumFutureReleaseMS / 1_000)
        )
    }
}

// MARK: - What the policy session wants done

extension SMTPSessionHandler {
    /// Tells the policy session what happened, and does what it wants done.
    ///
    /// What it is told while that goes on, by a pool for instance, is done after that.
    @discardableResult
    func tell<Result>(
        _ event: (inout PolicySession, inout [PolicySession.Action]) -> Result
    ) -> Result {
        guard !self.isPerforming else {
            self.hasMoreActions = true
            return event(&self.policy, &self.moreActions)
        }
        // Sessions share the storage of the list, which is empty between two events.
        var actions: [PolicySession.Action] = []
        swap(&actions, &self.server.spareActions)
        let result = event(&self.policy, &actions)
        self.perform(&actions)
        swap(&actions, &self.server.spareActions)
        // Goes on with what arrived meanwhile, and sends what was answered.
        if self.phase != .waiting { self.parse() }
        return result
    }

    private func perform(_ actions: inout [PolicySession.Action]) {
        self.isPerforming = true
        var next = 0
        while next < actions.count {
            let action = actions[next]
            next += 1
            self.perform(action, &actions)
            guard self.hasMoreActions else { continue }
            self.hasMoreActions = false
            actions += self.moreActions
            self.moreActions = []
        }
        actions.removeAll(keepingCapacity: true)
        self.isPerforming = false
    }

    private func perform(_ action: PolicySession.Action, _ actions: inout [PolicySession.Action]) {
        switch action {
        case .submit(let pool, let hook):
            self.askedPool = self.pools[pool]
            self.ticket = self.pools[pool].submit(self, hook: hook)
        case .cancel(let pool): self.pools[pool].cancel(self.ticket)
        case .answer(let outcome, let hook, let recipients):
            self.answer(outcome, at: hook, recipients: recipients, &actions)
        case .hold(let milliseconds): self.hold(milliseconds)
        case .beginMessage:
            self.message = IncomingMessage(server: self.server)
            self.content.removeAll(keepingCapacity: true)
        case .storeMessage(let pool): self.storeMessage(for: self.pools[pool])
        case .takeReplacement(let path, let pool, let owner):
            self.takeReplacement(path, from: self.pools[pool], owner: owner)
        case .notify(let hook, let args): self.notify(hook, args)
        case .showShadows(let pool, let hook): self.showShadows(of: self.pools[pool], hook)
        case .shadowsDone(let outcome):
            for question in self.shadowed { question.originalDone(outcome) }
            self.shadowed.removeAll()
        case .transactionOver(let end): self.transactionOver(end)
        case .sessionOver(let end, let durationMS):
            self.summary.sessionEnded(
                self.policy.facts,
                end: end,
                durationMS: durationMS,
                counters: self.machine.counters,
                logger: self.server.logger
            )
            self.server.sessionClosed(self)
        case .refused(let refusal): self.log(refusal)
        case .commandUnknown(let reply): self.commandRefused(reply, line: EmptyCollection())
        case .skipped(let pool, let hook, let reason):
            self.summary.skipped(pool: self.pools[pool].name, hook: hook, reason: reason)
        case .replacementRefused(let refusal): self.log(refusal)
        case .messageLost(let pool, let hook, let failure):
            self.log(failure, at: hook, in: self.pools[pool])
        }
    }

    /// Tells the SMTP session the outcome, and does what it says.
    private func answer(
        _ outcome: SMTPOutcome,
        at hook: Hook,
        recipients: Int,
        _ actions: inout [PolicySession.Action]
    ) {
        self.phase = .parsing
        if hook == .ehlo { self.offerFutureRelease() }
        let action = self.machine.answered(outcome, recipients: recipients)
        self.policy.replied(by: action, &actions)
        if hook == .auth { self.loginAnswered(outcome) }
        // The policy session has ended the transaction with the answer.
        if case .resetThenReply(let reply) = action {
            self.send(reply)
        } else {
            self.perform(action)
        }
        if hook == .quit { self.end = .quit }
    }

    private func hold(_ milliseconds: Int64) {
        let passed = {
            let now = self.server.nowNS
            self.tell { $0.delayPassed(now: now, &$1) }
        }
        guard let context = self.context else { return passed() }
        context.eventLoop.assumeIsolated().scheduleTask(
            in: .milliseconds(milliseconds),
            passed
        )
    }

    private func notify(_ hook: Hook, _ args: [UInt8]) {
        for pool in self.pools {
            pool.notify(hook, from: self, args: args)
            for shadow in pool.shadows { shadow.notify(hook, from: self, args: args) }
        }
    }

    private func transactionOver(_ end: PolicySession.TransactionEnd) {
        self.summary.transactionEnded(
            end,
            octets: end.hadMessage ? self.machine.messageOctets : nil,
            facts: self.policy.facts,
            logger: self.server.logger
        )
        self.message?.discard()
        self.message = nil
        self.policy.forgetTransaction()
    }
}

// MARK: - Shadows

extension SMTPSessionHandler {
    /// Shows the shadows of `pool` what it is about to be asked.
    private func showShadows(of pool: WorkerPool, _ hook: Hook) {
        for shadow in pool.shadows where shadow.profile.isShown(hook) {
            let question: ShadowQuestion
            do throws(ShadowQuestion.NotShown) {
                question = try ShadowQuestion(self, hook, of: pool, for: shadow)
            } catch {
                shadow.notShown(hook, error, session: self.sessionID)
                continue
            }
            self.shadowed.append(question)
            if shadow.profile.isAsked(hook) {
                _ = shadow.submit(question, hook: hook)
            } else {
                question.poolDone(.passedOver, peerUserID: .max)
            }
        }
    }
}

// MARK: - What pools ask and say

extension SMTPSessionHandler: PoolAsker {
    var openHook: Hook? { self.policy.openHook }

    var key: [UInt8] { self.policy.key }

    var sessionID: String { self.policy.facts.id }

    var transactionID: String? { self.policy.transactionID }

    var fingerprint: UInt64 { self.policy.fingerprint }

    /// What ``fingerprint`` is at `hook`, which no pool is asked about yet.
    func fingerprint(at hook: Hook) -> UInt64 { self.policy.fingerprint(at: hook) }

    var messagePath: String? { self.message?.path }

    var isHeld: Bool { self.policy.isHeld }

    func writeEvent(
        _ head: EventHead,
        to addressee: EventAddressee,
        into writer: inout JSONWriter
    ) -> Bool {
        guard let pool = self.askedPool else { return false }
        let surroundings = self.surroundings(for: pool)
        guard pool.machine.remembersPoison else {
            return self.policy.writeEvent(
                head,
                to: addressee,
                surroundings,
                isSuspect: nil,
                into: &writer
            )
        }
        let now = self.server.nowNS
        return self.policy.writeEvent(
            head,
            to: addressee,
            surroundings,
            isSuspect: { pool.machine.isSuspect($0, now: now) },
            into: &writer
        )
    }

    func surroundings(for pool: WorkerPool) -> EventSurroundings {
        EventSurroundings(
            counters: self.machine.counters,
            messagePath: self.messagePath(for: pool)
        )
    }

    func writeNotification(
        _ hook: Hook,
        args: [UInt8],
        of pool: WorkerPool,
        to addressee: EventAddressee,
        into writer: inout JSONWriter
    ) -> Bool {
        self.policy.writeNotification(
            hook,
            args: args,
            to: addressee,
            self.surroundings(for: pool),
            into: &writer
        )
    }

    func wentAhead(to hook: Hook) -> Bool { self.policy.wentAhead(to: hook) }

    func judge(_ verdict: PolicyVerdict) -> ProtocolViolation? { self.policy.judge(verdict) }

    func poolDone(_ outcome: PoolOutcome, peerUserID: UInt32) {
        let now = self.server.nowNS
        self.tell { $0.poolDone(outcome, peerUserID: peerUserID, now: now, &$1) }
    }
}
