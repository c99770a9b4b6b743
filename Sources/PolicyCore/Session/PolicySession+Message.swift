import JSON
package import PolicyProtocol
import SMTPCore

// MARK: - The hooks of a complete message

/// From the final dot to the reply: `received_line`, `data_post_headers`, `data_post`, `queue_pre` and
/// `queue`, without the client, and often in one event (protocol/README.md §6).
extension PolicySession {
    /// Asks about the hook; `nil`: the last one has been answered.
    mutating func askMessageHook(_ hook: Hook?, _ now: UInt64, _ actions: inout [Action]) {
        guard let hook else { return }
        switch hook {
        case .received_line:
            let isWanted = self.demand.asked.contains(hook) || self.demand.observed.contains(hook)
            let value = isWanted ? self.receivedValue() : []
            self.ask(hook, now, &actions) { EventArguments.value(value, into: &$0) }
        case .queue:
            let id = self.transaction?.id ?? ""
            self.ask(hook, now, &actions) { EventArguments.queueID(id, into: &$0) }
        default: self.ask(hook, now, &actions, args: EventArguments.none)
        }
    }

    /// - Returns: The outcome of the whole message; `nil` if the next hook is due.
    mutating func messageHookDecided(
        _ decision: PolicyDecision,
        at hook: Hook,
        _ actions: inout [Action]
    ) -> SMTPOutcome? {
        var outcome = SMTPEventMapping.outcome(
            of: decision,
            at: hook,
            in: self.smtp,
            allowsUTF8: self.transaction?.isSMTPUTF8 ?? false
        )
        if hook == .received_line { self.addReceivedField(decision) }
        if hook == .queue, case .granted(nil) = outcome, let id = self.transaction?.id {
            outcome = .granted(SMTPEventMapping.queued(id))
        }
        let isSettled = self.transaction?.isSettledByRefusals ?? false
        guard case .granted = outcome, !decision.isDone, !isSettled, hook.nextOfMessage != nil
        else { return self.withRefusals(outcome) }
        self.notifyDecision(hook, decision, isRefusal: false, reply: nil, &actions)
        return nil
    }

    /// The outcome of the message, with what single recipients were refused.
    private func withRefusals(_ outcome: SMTPOutcome) -> SMTPOutcome {
        guard self.transaction?.hasRefusals ?? false, let transaction = self.transaction else {
            return outcome
        }
        return SMTPEventMapping.outcome(outcome, of: transaction)
    }

    /// The value of our trace field, made once a message.
    private mutating func receivedValue() -> [UInt8] {
        if let value = self.receivedText { return value }
        let field = ReceivedField(
            helloName: self.facts.hello?.name ?? [],
            clientName: self.facts.clientName,
            clientAddress: self.facts.client.ip,
            hostname: self.smtp.hostname,
            protocolName: ReceivedField.protocolName(
                isUTF8: self.transaction?.isSMTPUTF8 ?? false,
                isHELO: self.facts.hello?.verb == "HELO",
                isLMTP: self.smtp.isLMTP,
                isEncrypted: self.facts.tls != nil,
                isAuthenticated: self.facts.login != nil
            ),
            cipher: self.facts.tls?.cipher,
            transactionID: self.transaction?.id ?? self.facts.id,
            recipient: self.transaction?.onlyNamedRecipient,
            date: self.date
        )
        let value = field.value()
        self.receivedText = value
        return value
    }

    /// Puts our trace field on top, or what policy wants in its place.
    private mutating func addReceivedField(_ decision: PolicyDecision) {
        guard self.demand.areHeadersWanted else { return }
        let value: [UInt8]
        if case .verdict(.ok, let reply?) = decision.outcome {
            value = Array(" \(reply.text.joined(separator: "\r\n\t"))".utf8)
        } else {
            value = self.receivedValue()
        }
        self.transaction?.withHeaders {
            $0.add(name: Array("Received".utf8), value: value, atTop: true)
        }
    }
}

extension Hook {
    /// One of the hooks of a complete message.
    var isOfMessage: Bool {
        switch self {
        case .received_line, .data_post_headers, .data_post, .queue_pre, .queue: true
        case .connect, .helo, .ehlo, .auth, .mail, .rcpt, .data, .data_headers_end, .queue_post,
            .reset_transaction, .quit, .disconnect, .vrfy, .help, .noop, .unrecognized_command, .ok,
            .deny, .status:
            false
        }
    }

    /// The hook of a complete message that comes after this one; `nil` after the last, and for any
    /// other hook.
    var nextOfMessage: Hook? {
        self == .received_line ? .data_post_headers : self.following.first
    }
}

// MARK: - Future release

extension PolicySession {
    /// Whether a message is held until its time, whichever worker takes it at `queue`, and a worker is there to
    /// take it: then EHLO offers FUTURERELEASE (RFC 4865).
    package var keepsFutureRelease: Bool {
        let pools = self.queueingPools
        return !pools.isEmpty && pools.allSatisfy(\.keepsFutureRelease)
    }

    /// Whether some worker that may get a message at `queue` would not hold it until its time.
    ///
    /// A pool whose workers are away just now is none: its next worker is looked at when it gets the message.
    var mayReleaseEarly: Bool { self.queueingPools.contains(where: \.mayReleaseEarly) }

    /// The pools that are asked at `queue`, or shown what is asked there.
    private var queueingPools: [PoolProfile] {
        self.route.flatMap { pool in
            [pool] + pool.shadows.filter { $0.isShown(.queue) }
        }.filter { $0.isAsked(.queue) }
    }

    /// Whether the message of the transaction has to be held until its time.
    package var isHeld: Bool { self.transaction?.holdUntilMS != nil }
}

// MARK: - Going ahead

extension PolicySession {
    /// The hooks that a worker of the pool may go on to when it declines `hook`: those of the complete
    /// message, as long as no other pool has a part in any of them (protocol/README.md §6).
    func hooksAhead(of hook: Hook, in pool: PoolProfile) -> HookSet {
        let following = hook.following
        guard !following.isEmpty, !pool.wants.ahead.isEmpty, pool.shadows.isEmpty,
            !self.demand.isTraceWanted, !self.demand.observed.contains(.ok),
            self.isAlone(pool, at: hook)
        else { return HookSet() }
        let onFailure = pool.failurePolicy(at: hook)
        var ahead = HookSet()
        for next in following {
            guard self.isAlone(pool, at: next) else { break }
            guard pool.isAsked(next) else { continue }
            // Which workers may have a message that is to be held, is looked at when `queue` is asked.
            guard next != .queue || !self.isHeld else { break }
            // If such an event fails before `queue`, it is not always known at which hook: so all of
            // them share one failure policy. `queue` is announced before it begins.
            guard pool.wants.ahead.contains(next),
                next == .queue || pool.failurePolicy(at: next) == onFailure
            else { break }
            ahead.insert(HookSet(next))
        }
        return ahead
    }

    /// Whether no other pool is asked or told of `hook`.
    private func isAlone(_ pool: PoolProfile, at hook: Hook) -> Bool {
        !self.demand.observed.contains(hook)
            && self.route.allSatisfy { other in
                other === pool || !other.isAsked(hook) && !other.isShadowed(at: hook)
            }
    }

    /// The worker has declined up to `hook` and begins with that.
    ///
    /// - Returns: False, and nothing has changed, when the event did not name it as ahead.
    package mutating func wentAhead(to hook: Hook) -> Bool {
        guard case .asking(var question) = self.phase, question.ahead.contains(hook) else {
            return false
        }
        // No worker observes `ok` while hooks go ahead, so there is nothing to tell.
        var nothing: [Action] = []
        while question.hook != hook {
            guard self.messageHookDecided(.undecided, at: question.hook, &nothing) == nil,
                let next = question.hook.nextOfMessage
            else { break }
            question.hook = next
        }
        question.hook = hook
        question.ahead = question.ahead.intersection(HookSet(after: hook))
        self.phase = .asking(question)
        Self.writeArguments(at: hook, id: self.transaction?.id ?? "", into: &self.arguments)
        return true
    }

    /// Writes the `args` of a hook that is ahead; `id` is the transaction's.
    static func writeArguments(at hook: Hook, id: String, into writer: inout JSONWriter) {
        writer.removeAll()
        writer.beginObject()
        if hook == .queue { EventArguments.queueID(id, into: &writer) }
        writer.endObject()
    }
}
