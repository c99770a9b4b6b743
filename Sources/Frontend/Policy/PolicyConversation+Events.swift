import JSON
import PolicyProtocol
import SMTPCore

// MARK: - Events

extension PolicyConversation {
    /// Writes the open question as an event line.
    func writeEvent(
        _ head: EventHead,
        to addressee: EventAddressee,
        into writer: inout JSONWriter
    ) -> Bool {
        guard let question = self.question else { return false }
        if self.writeAhead(head, question, to: addressee, into: &writer) { return true }
        self.eventWritten(ahead: [])
        return self.write(
            question.hook,
            args: self.arguments.octets,
            to: addressee,
            message: self.messagePath(for: self.route[question.pool], addressee.needs),
            into: &writer
        ) { head.encode(key: self.key, into: &$0) }
    }

    /// The open question as an object without what differs from attempt to attempt.
    ///
    /// `message` is the path that the event names. `nil` if it does not fit even without its optional
    /// parts.
    func frozenEvent(
        _ hook: Hook,
        _ addressee: EventAddressee,
        message: String?
    ) -> [UInt8]? {
        var writer = JSONWriter()
        let isWritten = self.write(
            hook,
            args: self.arguments.octets,
            to: addressee,
            message: message,
            into: &writer
        ) { _ in }
        return isWritten ? Array(writer.octets.dropLast()) : nil
    }

    /// Writes a notification line for a worker of `pool`; false when it does not fit.
    func writeNotification(
        _ hook: Hook,
        args: [UInt8],
        of pool: PolicyPool,
        to addressee: EventAddressee,
        into writer: inout JSONWriter
    ) -> Bool {
        self.write(
            hook,
            args: args,
            to: addressee,
            message: self.messagePath(for: pool, addressee.needs),
            into: &writer
        ) { writer in
            writer.key("type")
            writer.string("notify")
        }
    }

    func write(
        _ hook: Hook,
        args: [UInt8],
        to addressee: EventAddressee,
        message: String?,
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
            self.facts.encode(counters: self.counters, into: &writer)
            self.writeTransaction(needs, message: message, into: &writer)
            writer.key("args")
            writer.raw(args)
            writer.key("notes")
            writer.raw(self.notes.text(hasTransaction: self.transaction != nil))
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

    /// Whether the header that came fits the event of `queue`: without it, no worker can queue the
    /// message, today or at any later attempt.
    ///
    /// True where no worker that queues needs it.
    var fitsHeaderAtQueue: Bool {
        var frame = Int.max
        for pool in self.route { frame = min(frame, pool.queueFrameOctets ?? .max) }
        guard frame < .max, let recipients = self.transaction?.recipients else { return true }
        let envelope = recipients.reduce(0) { $0 + 2 * $1.address.address.count + 128 }
        let notes = self.notes.text(hasTransaction: true).count
        let room = frame - Self.otherOctets - envelope - notes
        return self.transaction?.withHeaders { $0.encodedOctets(upTo: room) <= room } ?? true
    }

    /// Whether the header cannot fit an event of so many octets: then it is not even written.
    private func exceedsHeader(_ octets: Int) -> Bool {
        guard self.message != nil else { return false }
        return self.transaction?.withHeaders { $0.leastEncodedOctets > octets } ?? false
    }

    /// What the rest of an event takes at most: session, sender, and the fields that policy adds.
    private static let otherOctets = 16_384

    private func writeTransaction(
        _ needs: EventNeeds,
        message: String?,
        into writer: inout JSONWriter
    ) {
        guard self.transaction != nil else { return }
        let isReadable = needs.contains(.message) && self.isMessageComplete
        writer.key("transaction")
        self.transaction?.encode(
            needs,
            hasHeader: self.message != nil,
            messagePath: isReadable ? message : nil,
            into: &writer
        )
    }

    /// What makes this question this client's and no other's, so that its next attempt is known again
    /// when two workers have died of it, and nobody else is hit.
    var fingerprint: UInt64 {
        self.fingerprint(at: self.openHook, arguments: self.arguments.octets)
    }

    /// What ``fingerprint`` would be at `hook`.
    func fingerprint(at hook: Hook?, arguments: [UInt8]) -> UInt64 {
        var hash = StableHash()
        hash.combine(Array((hook?.rawValue ?? "").utf8))
        hash.combine(Array(self.facts.clientIP.utf8))
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

/// FNV-1a, 64 bits: the same in every run.
struct StableHash {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func combine(_ number: UInt64) {
        self.combine((0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) })
    }

    mutating func combine(_ octets: [UInt8]) {
        for octet in octets { self.value = (self.value ^ UInt64(octet)) &* 0x0000_0100_0000_01B3 }
        self.value = (self.value ^ 0xFF) &* 0x0000_0100_0000_01B3
    }
}
