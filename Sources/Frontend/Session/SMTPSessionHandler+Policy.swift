import Configuration
import JSON
import NIOCore
import PolicyProtocol
import SMTPCore

/// The hooks of a complete message, in their order.
enum MessageStage {
    case receivedLine
    case dataPostHeaders
    case dataPost
    case queuePre
    case queue

    var hook: Hook {
        switch self {
        case .receivedLine: .received_line
        case .dataPostHeaders: .data_post_headers
        case .dataPost: .data_post
        case .queuePre: .queue_pre
        case .queue: .queue
        }
    }

    var next: MessageStage? {
        switch self {
        case .receivedLine: .dataPostHeaders
        case .dataPostHeaders: .dataPost
        case .dataPost: .queuePre
        case .queuePre: .queue
        case .queue: nil
        }
    }
}

// MARK: - Asking

extension SMTPSessionHandler {
    /// Opens `question`; answered at once when nobody is to be asked.
    func ask(_ question: SMTPQuestion) {
        self.question = question
        self.phase = .waiting
        if self.input.readableBytes > 0 { self.machine.octetsArrivedEarly() }
        if self.machine.isEarlyTalker { self.policy.facts.isEarlyTalker = true }
        switch question {
        case .connect: self.ask(.connect, args: EventArguments.none)
        case .helo(let name): self.askHello("HELO", .helo, name)
        case .ehlo(let name): self.askHello("EHLO", .ehlo, name)
        case .mail(let path, let parameters):
            self.askSender(EnvelopeAddress(path, parameters.all), isSMTPUTF8: parameters.isSMTPUTF8)
        case .rcpt(let path, let parameters): self.askRecipient(EnvelopeAddress(path, parameters))
        case .data: self.ask(.data, args: EventArguments.none)
        case .headersEnd(let bodyOffset): self.askHeadersEnd(bodyOffset)
        case .message(let facts): self.askMessage(facts)
        case .vrfy(let argument):
            self.ask(.vrfy) { EventArguments.argument(argument, into: &$0) }
        case .help(let argument):
            self.ask(.help) { EventArguments.argument(argument, into: &$0) }
        case .noop(let argument):
            self.ask(.noop) { EventArguments.argument(argument, into: &$0) }
        case .quit: self.ask(.quit, args: EventArguments.none)
        case .unrecognized(let command, let line):
            self.ask(.unrecognized_command) {
                EventArguments.unrecognized(command: command, line: line, into: &$0)
            }
        }
    }

    private func ask(_ hook: Hook, args: (inout JSONWriter) -> Void) {
        if let decision = self.policy.ask(hook, args: args) { self.policyDecided(decision) }
    }

    private func askHello(_ verb: String, _ hook: Hook, _ name: [UInt8]) {
        self.previousHello = self.policy.facts.hello
        self.policy.facts.hello = (verb, name)
        self.ask(hook) { EventArguments.name(name, into: &$0) }
    }

    private func askSender(_ sender: EnvelopeAddress, isSMTPUTF8: Bool) {
        self.policy.transactionProposed(isSMTPUTF8: isSMTPUTF8)
        self.proposedSender = sender
        if self.server.isMemoryUsedUp, let question = self.question {
            let outcome = SMTPOutcome.refused(StandardReplies.memoryUsedUp)
            self.settle(question, outcome)
            return self.answer(outcome, .undecided, at: .mail)
        }
        self.ask(.mail) { EventArguments.sender(sender, into: &$0) }
    }

    private func askRecipient(_ address: EnvelopeAddress) {
        self.policy.transaction?.propose(address)
        guard let candidate = self.policy.transaction?.candidate else {
            return self.policyDecided(.undecided)
        }
        self.ask(.rcpt) { EventArguments.recipient(candidate, into: &$0) }
    }

    private func askHeadersEnd(_ bodyOffset: Int) {
        self.storeContent(isHeaderComplete: false)
        let bodyOffset = self.policy.message?.closeHeader(at: bodyOffset) ?? bodyOffset
        self.policy.transaction?.headerRead(self.policy.message?.head(bodyOffset) ?? [])
        self.policy.transaction?.bodyOffset = bodyOffset
        self.policy.transaction?.size = self.policy.message?.size ?? 0
        self.isHeaderComplete = true
        guard self.policy.fitsHeaderAtQueue else {
            let outcome = SMTPOutcome.refused(StandardReplies.headerTooBig)
            return self.answer(outcome, .undecided, at: .data_headers_end)
        }
        self.ask(.data_headers_end, args: EventArguments.none)
    }

    // MARK: The complete message

    private func askMessage(_ facts: SMTPMessageFacts) {
        self.storeContent(isHeaderComplete: true)
        self.policy.transaction?.size = self.policy.message?.size ?? facts.octets
        self.policy.isMessageComplete = true
        self.receivedText = nil
        self.stage = .receivedLine
        self.askStage()
    }

    /// Asks about the stage and, while nobody has to be waited for, about those that follow.
    private func askStage() {
        while true {
            guard let decision = self.policy.ask(self.stage.hook, args: self.stageArguments) else {
                return
            }
            if let outcome = self.stageDecided(decision) {
                return self.answer(outcome, decision, at: self.stage.hook)
            }
        }
    }

    private func stageArguments(_ writer: inout JSONWriter) {
        switch self.stage {
        case .receivedLine: EventArguments.value(self.receivedValue(), into: &writer)
        case .dataPostHeaders, .dataPost, .queuePre: EventArguments.none(&writer)
        case .queue: EventArguments.queueID(self.policy.transaction?.id ?? "", into: &writer)
        }
    }

    /// The worker declined the stages before that of `hook`, and is asked about that one now.
    ///
    /// Its `args` take the place of those in `arguments`.
    func stagesPassed(to hook: Hook, arguments: inout JSONWriter) {
        while self.stage.hook != hook, self.stageDecided(.undecided) == nil { continue }
        arguments.removeAll()
        arguments.beginObject()
        self.stageArguments(&arguments)
        arguments.endObject()
    }

    /// - Returns: The outcome of the whole message; `nil` if the next stage, already set, is due.
    private func stageDecided(_ decision: PolicyDecision) -> SMTPOutcome? {
        let hook = self.stage.hook
        var outcome = SMTPEventMapping.outcome(
            of: decision,
            at: hook,
            in: self.machine.configuration,
            allowsUTF8: self.policy.transaction?.isSMTPUTF8 ?? false
        )
        if self.stage == .receivedLine { self.addReceivedField(decision) }
        if self.stage == .queue, case .granted(nil) = outcome, let id = self.policy.transaction?.id
        {
            outcome = .granted(SMTPEventMapping.queued(id))
        }
        guard case .granted = outcome, !decision.isDone, let next = self.stage.next else {
            if case .granted = outcome { self.decider = decision.decider }
            return outcome
        }
        self.policy.notifyDecision(hook, decision, isRefusal: false, reply: nil)
        self.stage = next
        return nil
    }

    /// The value of our trace field, made once a message.
    private func receivedValue() -> [UInt8] {
        if let value = self.receivedText { return value }
        let facts = self.policy.facts
        let isSMTPUTF8 = self.policy.transaction?.isSMTPUTF8 ?? false
        let recipients = self.policy.transaction?.recipients ?? []
        let field = ReceivedField(
            helloName: facts.hello?.name ?? [],
            clientName: facts.clientName,
            clientAddress: facts.clientIP,
            hostname: self.server.configuration.hostname,
            protocolName: isSMTPUTF8
                ? "UTF8SMTP" : facts.hello?.verb == "HELO" ? "SMTP" : "ESMTP",
            transactionID: self.policy.transaction?.id ?? facts.id,
            recipient: recipients.count == 1 ? recipients[0].address.address : nil,
            date: self.server.date()
        )
        let value = field.value()
        self.receivedText = value
        return value
    }

    /// Puts our trace field on top, or what policy wants in its place.
    private func addReceivedField(_ decision: PolicyDecision) {
        guard self.server.areHeadersWanted else { return }
        let value: [UInt8]
        if case .verdict(.ok, let reply?) = decision.outcome {
            value = Array(" \(reply.text.joined(separator: "\r\n\t"))".utf8)
        } else {
            value = self.receivedValue()
        }
        self.policy.transaction?.withHeaders {
            $0.add(name: Array("Received".utf8), value: value, atTop: true)
        }
    }
}

// MARK: - Being answered

extension SMTPSessionHandler {
    /// All pools have spoken: called back when somebody had to be waited for.
    func policyDecided(_ decision: PolicyDecision) {
        guard decision.delayMS > 0, let context = self.context else { return self.apply(decision) }
        var decision = decision
        let delay = TimeAmount.milliseconds(decision.delayMS)
        decision.delayMS = 0
        context.eventLoop.assumeIsolated().scheduleTask(in: delay) { self.apply(decision) }
    }

    private func apply(_ decision: PolicyDecision) {
        guard self.phase == .waiting, let question = self.question else { return }
        if case .message = question {
            let hook = self.stage.hook
            if let outcome = self.stageDecided(decision) {
                self.answer(outcome, decision, at: hook)
            } else {
                self.askStage()
            }
            return
        }
        let hook = question.hook
        let outcome = SMTPEventMapping.outcome(
            of: decision,
            at: hook,
            in: self.machine.configuration,
            allowsUTF8: self.policy.transaction?.isSMTPUTF8 ?? false
        )
        self.settle(question, outcome)
        self.answer(outcome, decision, at: hook)
    }

    /// What a command's answer does to the policy side, before its reply goes out.
    private func settle(_ question: SMTPQuestion, _ outcome: SMTPOutcome) {
        let isGranted = outcome.isGrant
        switch question {
        case .helo, .ehlo:
            if !isGranted { self.policy.facts.hello = self.previousHello }
        case .mail:
            let sender = self.proposedSender
            self.proposedSender = nil
            if isGranted {
                if self.policy.transaction?.sender == nil {
                    self.policy.transaction?.sender = sender
                }
            } else {
                self.policy.transaction?.sender = sender
                self.isMailRefused = true
            }
        case .rcpt:
            // The machine counts the candidate itself.
            self.policy.transaction?.candidateAnswered(isGranted: isGranted)
        case .data:
            if isGranted {
                self.policy.message = IncomingMessage(server: self.server)
                self.isHeaderComplete = false
                self.content.removeAll(keepingCapacity: true)
            }
        case .connect, .headersEnd, .message, .vrfy, .help, .noop, .quit, .unrecognized: break
        }
    }

    /// Tells the machine, does what it says, and goes on with what has arrived meanwhile.
    private func answer(_ outcome: SMTPOutcome, _ decision: PolicyDecision, at hook: Hook) {
        if let reply = outcome.refusal, !decision.isSilent(at: hook) {
            self.policy.refused(at: hook, decision, reply: reply, recipient: self.askedRecipient)
        }
        self.phase = .parsing
        let action = self.machine.answered(outcome)
        if decision.isSilent(at: hook), case .reply(let reply) = action {
            self.policy.commandRefused(reply, line: EmptyCollection())
        }
        self.policy.settled(decision, reply: action.sentReply)
        self.policy.notifyDecision(
            hook,
            decision,
            isRefusal: outcome.refusal != nil,
            reply: action.sentReply
        )
        if self.isMailRefused, let reply = outcome.refusal {
            self.isMailRefused = false
            self.policy.transactionRefused(reply: reply)
        }
        self.perform(action)
        if self.question == .quit { self.end = .quit }
        self.question = self.phase == .waiting ? self.question : nil
        if self.isParsing { self.flush() } else { self.parse() }
    }

    /// The address that RCPT asks about, as the client wrote it; `nil` while it does not.
    private var askedRecipient: [UInt8]? {
        if case .rcpt(let path, _) = self.question { path.address } else { nil }
    }

    /// A worker's actions changed how many recipients there are.
    func recipientsChanged(_ count: Int) { self.machine.recipientsChanged(count: count) }
}

extension SMTPQuestion {
    /// The hook that asks it; a message's hooks are its stages'.
    var hook: Hook {
        switch self {
        case .connect: .connect
        case .helo: .helo
        case .ehlo: .ehlo
        case .mail: .mail
        case .rcpt: .rcpt
        case .data: .data
        case .headersEnd: .data_headers_end
        case .message: .data_post
        case .vrfy: .vrfy
        case .help: .help
        case .noop: .noop
        case .quit: .quit
        case .unrecognized: .unrecognized_command
        }
    }
}

extension SMTPOutcome {
    var isGrant: Bool { if case .granted = self { true } else { false } }

    /// The reply that refuses; `nil` for a grant.
    var refusal: SMTPReply? {
        switch self {
        case .granted: nil
        case .refused(let reply), .refusedThenClose(let reply): reply
        }
    }
}

extension SMTPAction {
    /// The reply that goes out with this action; `nil` if none does.
    var sentReply: SMTPReply? {
        switch self {
        case .reply(let reply), .resetThenReply(let reply), .replyThenClose(let reply): reply
        case .needOctets, .contentAppended, .proceed, .ask, .awaitAnswer, .dropStale, .closed: nil
        }
    }
}

extension PolicyDecision {
    /// `done`: the reply stands and nothing follows.
    var isDone: Bool { if case .verdict(.done, _) = self.outcome { true } else { false } }

    /// Nobody decided anything.
    var isNobody: Bool { if case .undecided = self.outcome { true } else { false } }

    /// A refusal that is SMTP's own habit, not a decision: 500 for an unknown command.
    func isSilent(at hook: Hook) -> Bool { self.isNobody && hook == .unrecognized_command }
}
