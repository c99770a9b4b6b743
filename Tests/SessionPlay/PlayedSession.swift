import JSON
package import PolicyCore
package import PolicyProtocol
package import SMTPCore

/// One session without sockets: an SMTP session and a policy session, and the octets, replies, files
/// and delays between them, as the frontend's handler performs them.
///
/// What a pool, a disk or a clock would do is left to the test: ``wait`` says what is due.
package final class PlayedSession {
    /// What has to happen before the session goes on.
    package enum Wait: Equatable {
        /// The client's next octets.
        case client
        /// The pool at this place of the route is asked.
        case pool(Int, Hook)
        /// The message is to be written for that pool.
        case store(Int)
        /// A worker's file is to be taken over.
        case replacement(path: String, pool: Int)
        /// A reply is held back for so many milliseconds.
        case delay(Int64)
        /// Nothing: the session is over.
        case over
    }

    private var smtp: SMTPSession
    private var policy: PolicySession
    private var input: [UInt8] = []
    private var content: [UInt8] = []
    /// The message that arrives, or arrived last.
    private var message: [UInt8] = []
    package private(set) var wait = Wait.client
    private var isPerforming = false
    private var actions: [PolicySession.Action] = []
    private var isClientGone = false
    private var isParsing = false
    /// Monotonic nanoseconds; the test moves them.
    package var now: UInt64 = 0
    package var isMemoryUsedUp = false
    /// The time, in Unix milliseconds, that MAIL with HOLDFOR is told.
    package var unixMS: Int64 = 0
    /// What the frontend knows of failed logins when it asks about one.
    package var logins = LoginHistory()

    /// All replies, in their order.
    package private(set) var replies: [SMTPReply] = []
    /// All actions of the policy session, in their order.
    package private(set) var performed: [PolicySession.Action] = []
    /// Whether ``performed`` and ``told`` are kept.
    package var keepsActions = true
    /// Called with each action, before it is performed.
    package var observe: ((PolicySession.Action) -> Void)?
    /// Notifications that observers would get; `line` is what a worker of ``observerNeeds`` reads.
    package private(set) var told: [(hook: Hook, args: [UInt8], line: [UInt8])] = []
    /// What observers need.
    package var observerNeeds: Needs = []

    package init(_ session: consuming PolicySession, smtp: SMTPConfiguration) {
        self.policy = session
        self.smtp = SMTPSession(configuration: smtp)
    }

    package var isOver: Bool { self.wait == .over }

    package var counters: AbuseMeter { self.smtp.counters }

    /// The hook that is asked about; `nil` between questions.
    package var openHook: Hook? { self.policy.openHook }

    /// A pool is asked.
    package var isAsking: Bool { if case .pool = self.wait { true } else { false } }

    /// The final dot was seen.
    package var isMessageComplete: Bool { self.policy.isMessageComplete }

    /// No question is open.
    package var isIdle: Bool { self.policy.isIdle }

    /// The `notes` object of events.
    package var notes: [UInt8] { self.policy.notesText }

    /// The recipients of the envelope.
    package var recipients: [EnvelopeRecipient] { self.policy.recipients }

    /// The idempotency key of the open question, or of the last one.
    package var key: [UInt8] { self.policy.key }

    /// How often the policy session wanted a pool asked.
    package private(set) var submissions = 0

    // MARK: - The client

    package func connect() { self.perform(self.smtp.connectionOpened()) }

    /// The client sends octets.
    package func receive(_ octets: [UInt8]) {
        guard !self.isOver else { return }
        self.input += octets
        if self.wait == .client { self.parse() } else { self.smtp.octetsArrivedEarly() }
    }

    /// The client sends lines.
    package func send(_ lines: String...) {
        for line in lines { self.receive(Array("\(line)\r\n".utf8)) }
    }

    /// A proxy names the client that it speaks for.
    package func clientReplaced(
        by client: Peer,
        server: Peer?,
        proxy: Peer,
        name: String? = nil,
        user: [UInt8]? = nil
    ) {
        self.policy.clientReplaced(by: client, server: server, proxy: proxy, name: name, user: user)
    }

    /// A trusted client says where the next message came from.
    package func forwarded(_ entries: [ClientAttributes.Entry]) {
        self.policy.forwarded(ClientAttributes(entries))
    }

    /// The connection is encrypted, as far as policy sees it.
    package func encrypted(_ client: ClientCertificateFacts = .notAsked) {
        let facts = TLSFacts(version: "TLSv1.3", cipher: nil, serverName: nil, client: client)
        self.tell { $0.encrypted(facts, &$1) }
    }

    /// The client closes its connection.
    ///
    /// A message that was complete is answered first, as the handler does it.
    package func leave() {
        guard !self.isOver else { return }
        self.isClientGone = true
        if self.wait == .client {
            self.parse()
        } else if !self.policy.isMessageAsked {
            self.end(.client_gone)
        }
    }

    /// The frontend has no more time for this session.
    package func shutDown() {
        guard !self.isOver else { return }
        self.tell { $0.cancelQuestion(&$1) }
        self.wait = .client
        self.perform(self.smtp.shutdownDeadlinePassed())
    }

    // MARK: - Pools, disk and clock

    /// The open question as the worker would read it; `nil` if it does not fit.
    package func event(
        needs: Needs = [],
        maximumOctets: Int = 1_048_576,
        isSuspect: ((UInt64) -> Bool)? = nil,
        isAsked: Bool = true
    ) -> [UInt8]? {
        var writer = JSONWriter()
        let isWritten = self.policy.writeEvent(
            EventHead(id: 1, attempt: 1, deadlineMS: 1_000),
            to: EventAddressee(
                needs: needs,
                maximumFrameOctets: maximumOctets,
                isAsked: isAsked
            ),
            EventSurroundings(counters: self.smtp.counters, messagePath: "/spool/m"),
            isSuspect: isSuspect,
            into: &writer
        )
        return isWritten ? writer.octets : nil
    }

    /// The pool that is asked answers.
    ///
    /// - Returns: What is wrong with the verdict; then the question is open still.
    @discardableResult
    package func answer(_ verdict: PolicyVerdict) -> ProtocolViolation? {
        if let violation = self.judge(verdict) { return violation }
        self.poolDone(.answered(verdict, worker: WorkerLabel(name: "w", connection: 1)))
        return nil
    }

    /// What is wrong with a verdict; if nothing is, ``poolDone(_:)`` has to follow.
    package func judge(_ verdict: PolicyVerdict) -> ProtocolViolation? {
        guard case .pool = self.wait else { return nil }
        return self.policy.judge(verdict)
    }

    @discardableResult
    package func answer(_ verdict: Verdict) -> ProtocolViolation? {
        self.answer(PolicyVerdict(id: 1, verdict: verdict))
    }

    /// The worker that has the question begins with a hook that was ahead; false if it was not.
    package func goAhead(to hook: Hook) -> Bool { self.policy.wentAhead(to: hook) }

    /// Grants what is asked, until `hook` is asked about or the client is to send more.
    ///
    /// Recipients and messages are accepted, all other questions declined.
    package func grant(until hook: Hook? = nil) {
        while hook == nil || self.openHook != hook {
            switch self.wait {
            case .pool(_, let asked):
                self.answer(asked == .rcpt || asked == .queue ? .ok : .declined)
            case .store: self.stored()
            case .delay: self.delayPassed()
            case .client, .replacement, .over: return
            }
        }
    }

    /// The pool that is asked is done with the question in another way.
    package func poolDone(_ outcome: PoolOutcome) {
        guard case .pool = self.wait else { return }
        self.wait = .client
        let now = self.now
        self.tell { $0.poolDone(outcome, peerUserID: 0, now: now, &$1) }
    }

    /// The message is in its file, or could not be written.
    package func stored(_ failure: SpoolFailure? = nil) {
        guard case .store = self.wait else { return }
        self.wait = .client
        let now = self.now
        self.tell { $0.messageStored(failure, now: now, &$1) }
    }

    /// - Returns: Whether the file is the message now.
    @discardableResult
    package func replaced(_ replacement: PolicySession.Replacement) -> Bool {
        guard case .replacement = self.wait else { return false }
        self.wait = .client
        let now = self.now
        return self.tell { $0.replacementTaken(replacement, now: now, &$1) }
    }

    package func delayPassed() {
        guard case .delay = self.wait else { return }
        self.wait = .client
        let now = self.now
        self.tell { $0.delayPassed(now: now, &$1) }
    }

    // MARK: - Performing

    private func parse() {
        guard !self.isParsing else { return }
        self.isParsing = true
        defer { self.isParsing = false }
        while self.wait == .client {
            if self.isClientGone, self.smtp.wait == .command { return self.end(.client_gone) }
            let step = self.smtp.next(in: self.input.span, content: &self.content)
            self.input.removeFirst(step.consumed)
            guard step.action != .needOctets else {
                if self.isClientGone { self.end(.client_gone) }
                return
            }
            self.perform(step.action)
        }
    }

    private func perform(_ action: SMTPAction) {
        switch action {
        case .needOctets, .proceed, .awaitAnswer, .dropStale: break
        case .contentAppended:
            self.message += self.content
            self.content.removeAll()
        case .ask(let question): self.ask(question)
        case .reply(let reply): self.replies.append(reply)
        case .resetThenReply(let reply):
            self.tell { $0.transactionReset(reply, &$1) }
            self.replies.append(reply)
        case .replyThenClose(let reply):
            self.replies.append(reply)
            self.end(SessionEnd(closedBy: reply), reply: reply)
        case .startTLS(let reply): self.replies.append(reply)
        // A played client has no address to be trusted for; a test tells the policy session.
        case .clientNamed: self.perform(self.smtp.close(StandardReplies.internalError))
        case .forwarded(_, let reply): self.replies.append(reply)
        case .closed: self.end(.client_gone)
        }
    }

    private func ask(_ question: SMTPQuestion) {
        if !self.input.isEmpty { self.smtp.octetsArrivedEarly() }
        if self.smtp.isEarlyTalker { self.policy.clientTalkedEarly() }
        self.message += self.content
        self.content.removeAll()
        switch question {
        case .headersEnd(let offset):
            let bodyOffset = HeaderBorder.close(&self.message, bodyOffset: offset)
            self.policy.headerRead(
                Array(self.message.prefix(bodyOffset)),
                bodyOffset: bodyOffset,
                size: self.message.count
            )
        case .message:
            self.policy.messageRead(size: self.message.count, date: [], failure: nil)
        case .connect, .helo, .ehlo, .auth, .mail, .rcpt, .data, .vrfy, .help, .noop, .quit,
            .unrecognized:
            break
        }
        let (now, isMemoryUsedUp, logins) = (self.now, self.isMemoryUsedUp, self.logins)
        let unixMS = self.unixMS
        self.tell {
            $0.asked(
                question,
                now: now,
                unixMS: unixMS,
                isMemoryUsedUp: isMemoryUsedUp,
                logins: logins,
                &$1
            )
        }
    }

    @discardableResult
    private func tell<Result>(
        _ event: (inout PolicySession, inout [PolicySession.Action]) -> Result
    ) -> Result {
        let result = event(&self.policy, &self.actions)
        guard !self.isPerforming else { return result }
        self.isPerforming = true
        while !self.actions.isEmpty {
            let action = self.actions.removeFirst()
            if self.keepsActions { self.performed.append(action) }
            self.observe?(action)
            self.perform(action)
        }
        self.isPerforming = false
        if self.wait == .client { self.parse() }
        return result
    }

    private func perform(_ action: PolicySession.Action) {
        switch action {
        case .submit(let pool, let hook):
            self.submissions += 1
            self.wait = .pool(pool, hook)
        case .storeMessage(let pool): self.wait = .store(pool)
        case .takeReplacement(let path, let pool, _):
            self.wait = .replacement(path: path, pool: pool)
        case .hold(let milliseconds):
            self.wait = .delay(milliseconds)
            if self.isClientGone { self.delayPassed() }
        case .beginMessage: self.message = []
        case .answer(let outcome, let hook, let recipients):
            self.wait = .client
            if hook == .ehlo, self.smtp.configuration.mayOfferFutureRelease {
                let offer = FutureReleaseOffer(
                    nowSeconds: self.unixMS / 1_000,
                    maximumSeconds: 3_600
                )
                self.smtp.futureRelease = self.policy.keepsFutureRelease ? offer : nil
            }
            let action = self.smtp.answered(outcome, recipients: recipients)
            self.tell { $0.replied(by: action, &$1) }
            if case .resetThenReply(let reply) = action {
                self.replies.append(reply)
            } else {
                self.perform(action)
            }
        case .notify(let hook, let args): if self.keepsActions { self.notify(hook, args) }
        case .transactionOver: self.policy.forgetTransaction()
        case .sessionOver: self.wait = .over
        case .cancel, .showShadows, .shadowsDone, .replacementRefused, .messageLost, .skipped,
            .refused, .commandUnknown:
            break
        }
    }

    private func notify(_ hook: Hook, _ args: [UInt8]) {
        var writer = JSONWriter()
        _ = self.policy.writeNotification(
            hook,
            args: args,
            to: EventAddressee(needs: self.observerNeeds, maximumFrameOctets: .max),
            EventSurroundings(counters: self.smtp.counters, messagePath: "/spool/m"),
            into: &writer
        )
        self.told.append((hook, args, writer.octets))
    }

    private func end(_ end: SessionEnd, reply: SMTPReply? = nil) {
        guard !self.isOver else { return }
        self.wait = .over
        self.smtp.connectionClosed()
        self.tell { $0.sessionEnded(end, reply: reply, durationMS: 1, &$1) }
        self.wait = .over
    }
}

@available(*, unavailable)
extension PlayedSession: Sendable {}
