package import JSON
package import PolicyProtocol
import SMTPCore

// MARK: - Events

extension PolicySession {
    /// Writes the open question as an event line.
    ///
    /// - Parameters:
    ///   - head: The attempt.
    ///   - addressee: The worker.
    ///   - surroundings: The session's counters, and the message's path.
    ///   - isSuspect: Whether a worker died or hung with a question of this fingerprint: such a hook is
    ///     not sent ahead. `nil` when no worker did.
    ///   - writer: Gets the line.
    /// - Returns: False, and nothing is written, when it does not fit even without its optional parts.
    package mutating func writeEvent(
        _ head: EventHead,
        to addressee: EventAddressee,
        _ surroundings: borrowing EventSurroundings,
        isSuspect: ((UInt64) -> Bool)?,
        into writer: inout JSONWriter
    ) -> Bool {
        guard case .asking(var question) = self.phase else { return false }
        let pool = self.route[question.pool]
        // If the question had to wait, workers may have come and gone since it was asked. Then it is
        // sent alone: the message may not be where a worker would need it at the hooks ahead.
        if question.ahead != self.hooksAhead(of: question.hook, in: pool) {
            question.ahead = HookSet()
        }
        if let isSuspect, !question.ahead.isEmpty {
            question.ahead = self.withoutSuspects(question, isSuspect)
        }
        if !question.ahead.isEmpty,
            self.writeAhead(head, question, pool, to: addressee, surroundings, into: &writer)
        {
            self.eventWritten(question, ahead: question.ahead)
            return true
        }
        self.eventWritten(question, ahead: HookSet())
        let key = self.key
        let args =
            question.hook == .auth ? self.loginArguments(for: addressee) : self.arguments.octets
        return self.write(question.hook, args: args, to: addressee, surroundings, into: &writer) {
            head.encode(key: key, into: &$0)
        }
    }

    /// The `args` object of the open question about a login; the proof is in no other text than this.
    private func loginArguments(for addressee: EventAddressee) -> [UInt8] {
        guard case .login(let credentials, let history) = self.proposal, addressee.isAsked else {
            return self.arguments.octets
        }
        var writer = JSONWriter()
        writer.beginObject()
        EventArguments.credentials(credentials, history, into: &writer)
        EventArguments.proof(credentials.proof, state: self.exchange?.state, into: &writer)
        if case .message = credentials.proof, self.smtp.mechanisms.contains(.scramSHA256Plus),
            let endPoint = self.facts.tls?.serverEndPoint
        {
            writer.key("tls_server_end_point")
            writer.bytes(endPoint)
        }
        writer.endObject()
        return writer.octets
    }

    private mutating func eventWritten(_ question: Question, ahead: HookSet) {
        var question = question
        question.writtenHook = question.hook
        question.ahead = ahead
        self.phase = .asking(question)
    }

    /// The hooks ahead up to the first at which a worker died or hung with this message.
    private mutating func withoutSuspects(
        _ question: Question,
        _ isSuspect: (UInt64) -> Bool
    ) -> HookSet {
        var ahead = HookSet()
        for next in question.hook.following where question.ahead.contains(next) {
            // Hooks that come ahead have no arguments, but for those of `queue`, which do not count.
            guard !isSuspect(self.fingerprint(at: next, arguments: Array("{}".utf8))) else { break }
            ahead.insert(HookSet(next))
        }
        return ahead
    }

    /// Writes the open question with the hooks ahead, and what the worker needs at any of them.
    ///
    /// - Returns: False, and nothing is written, if it would not fit whole.
    private mutating func writeAhead(
        _ head: EventHead,
        _ question: Question,
        _ pool: PoolProfile,
        to addressee: EventAddressee,
        _ surroundings: borrowing EventSurroundings,
        into writer: inout JSONWriter
    ) -> Bool {
        let start = writer.octets.count
        let all = EventAddressee(
            needs: pool.needs(at: question.hook, ahead: question.ahead),
            maximumFrameOctets: .max
        )
        var args = self.arguments.octets
        if question.ahead.contains(.queue) {
            // The hooks before `queue` that may have it ahead have no arguments of their own.
            let id = self.transaction?.id ?? ""
            Self.writeArguments(at: .queue, id: id, into: &self.argumentsAhead)
            args = self.argumentsAhead.octets
        }
        let key = self.key
        _ = self.write(question.hook, args: args, to: all, surroundings, into: &writer) { writer in
            head.encode(key: key, into: &writer)
            writer.key("ahead")
            writer.beginObject()
            for next in question.hook.following where question.ahead.contains(next) {
                writer.key(next.word)
                writer.int(pool.deadlineMS(at: next))
            }
            writer.endObject()
        }
        guard writer.octets.count - start > addressee.maximumFrameOctets else { return true }
        writer.truncate(to: start)
        return false
    }

    /// The open question as an object without what differs from attempt to attempt.
    ///
    /// `nil` if it does not fit even without its optional parts.
    package mutating func frozenEvent(
        _ hook: Hook,
        _ addressee: EventAddressee,
        _ surroundings: borrowing EventSurroundings
    ) -> [UInt8]? {
        var writer = JSONWriter()
        let args = self.arguments.octets
        let isWritten = self.write(
            hook,
            args: args,
            to: addressee,
            surroundings,
            into: &writer
        ) { _ in }
        return isWritten ? Array(writer.octets.dropLast()) : nil
    }

    /// Writes a notification line; false when it does not fit.
    package mutating func writeNotification(
        _ hook: Hook,
        args: [UInt8],
        to addressee: EventAddressee,
        _ surroundings: borrowing EventSurroundings,
        into writer: inout JSONWriter
    ) -> Bool {
        self.write(hook, args: args, to: addressee, surroundings, into: &writer) { writer in
            writer.key("type")
            writer.string("notify")
        }
    }

    private mutating func write(
        _ hook: Hook,
        args: [UInt8],
        to addressee: EventAddressee,
        _ surroundings: borrowing EventSurroundings,
        into writer: inout JSONWriter,
        _ head: (inout JSONWriter) -> Void
    ) -> Bool {
        let start = writer.octets.count
        var elided: [String] = []
        var needs = addressee.needs
        if needs.contains(.headers), self.exceedsHeader(addressee.maximumFrameOctets) {
            needs.remove(.headers)
            elided.append("headers")
        }
        while true {
            writer.beginObject()
            head(&writer)
            writer.key("hook")
            writer.word(hook.word)
            writer.key("session")
            self.facts.encode(counters: surroundings.counters, into: &writer)
            self.writeTransaction(needs, surroundings, into: &writer)
            writer.key("args")
            writer.raw(args)
            writer.key("notes")
            writer.raw(self.notesText)
            if !elided.isEmpty {
                writer.key("elided")
                writer.beginArray()
                for part in elided { writer.string(part) }
                writer.endArray()
            }
            if needs.contains(.trace) {
                writer.key("trace")
                writer.raw(self.trace.text)
            }
            writer.endObject()
            writer.newline()
            if writer.octets.count - start <= addressee.maximumFrameOctets { return true }
            writer.truncate(to: start)
            if needs.contains(.headers) {
                needs.remove(.headers)
                elided.append("headers")
            } else if needs.contains(.recipients) {
                needs.remove(.recipients)
                elided.append("recipients")
            } else {
                return false
            }
        }
    }

    private mutating func writeTransaction(
        _ needs: Needs,
        _ surroundings: borrowing EventSurroundings,
        into writer: inout JSONWriter
    ) {
        guard self.isInTransaction else { return }
        let isReadable = needs.contains(.message) && self.content == .complete
        writer.key("transaction")
        self.transaction?.encode(
            needs,
            hasHeader: self.content != .none,
            messagePath: isReadable ? surroundings.messagePath : nil,
            into: &writer
        )
    }
}

// MARK: - What fits

extension PolicySession {
    /// What the rest of an event takes at most: session, sender, and the fields that policy adds.
    private static let otherOctets = 16_384

    /// Whether the header that came fits the event of `queue`: without it, no worker can queue the
    /// message, today or at any later attempt.
    ///
    /// True where no worker that queues needs it.
    var fitsHeaderAtQueue: Bool {
        mutating get {
            var frame = Int.max
            for pool in self.route { frame = min(frame, pool.wants.queueFrameOctets ?? .max) }
            guard frame < .max, let recipients = self.transaction?.recipients else { return true }
            let envelope = recipients.reduce(0) { $0 + 2 * $1.address.address.count + 128 }
            let notes = self.notes.text(hasTransaction: true).count
            let room = frame - Self.otherOctets - envelope - notes
            return self.transaction?.withHeaders { $0.encodedOctets(upTo: room) <= room } ?? true
        }
    }

    /// Whether the header cannot fit an event of so many octets: then it is not even written.
    private mutating func exceedsHeader(_ octets: Int) -> Bool {
        guard self.content != .none else { return false }
        return self.transaction?.withHeaders { $0.leastEncodedOctets > octets } ?? false
    }
}

// MARK: - Fingerprints

extension PolicySession {
    /// What makes this question this client's and no other's, so that its next attempt is known again
    /// when two workers have died of it, and no other client is hit.
    package var fingerprint: UInt64 {
        mutating get { self.fingerprint(at: self.openHook, arguments: self.arguments.octets) }
    }

    /// What ``fingerprint`` is at `hook`, which no pool is asked about yet.
    package mutating func fingerprint(at hook: Hook) -> UInt64 {
        self.fingerprint(at: hook, arguments: self.arguments.octets)
    }

    private mutating func fingerprint(at hook: Hook?, arguments: [UInt8]) -> UInt64 {
        var hash = StableHash()
        hash.combine(Array((hook?.rawValue ?? "").utf8))
        hash.combine(Array(self.facts.client.ip.utf8))
        hash.combine(self.facts.hello?.name ?? [])
        if hook != .queue { hash.combine(arguments) }
        hash.combine(self.transaction?.sender?.address ?? [])
        for recipient in self.transaction?.recipients ?? [] {
            hash.combine(recipient.address.address)
        }
        hash.combine(Array("\(self.transaction?.size ?? 0)".utf8))
        hash.combine(self.transaction?.headerHash() ?? 0)
        return hash.value
    }
}
