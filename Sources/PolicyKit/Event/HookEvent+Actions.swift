// What a plugin may change, where it may. Plugins after this one see the change; the frontend
// applies all of it with the verdict, or nothing.

extension HookEvent where Stage: RelayStage {
    /// Says whether this session may relay.
    public func setRelay(_ value: Bool) {
        self.context.setRelay(value)
    }
}

extension HookEvent where Stage: ClientNameStage {
    /// Gives the client its name.
    public func setClientName(_ name: String) {
        self.context.setClientName(name)
    }
}

extension HookEvent where Stage: DelayStage {
    /// Holds the reply back, within the frontend's limit.
    ///
    /// Nothing sleeps in the worker.
    public func delayReply(by duration: Duration) {
        self.context.delayReply(by: duration)
    }
}

extension HookEvent where Stage: ChallengeStage {
    /// Goes on with a login of several steps: the client is sent a challenge, and the pool is asked about
    /// its answer.
    ///
    /// Only with a ``LoginProof/message(_:)``, of which there are eight at most.
    ///
    /// - Parameters:
    ///   - challenge: What the client is to answer: 8,192 octets at most, without base64.
    ///   - state: What comes back with the answer, as ``LoginMessage/state``: 4,096 octets at most. The
    ///     client never sees it.
    /// - Returns: The answer to return.
    public func challenge(_ challenge: Bytes, state: Bytes = "") -> Answer {
        self.context.append(.challenge(challenge.octets, state: state.octets))
        return Answer(.done)
    }
}

extension HookEvent where Stage: SenderStage {
    /// Replaces the envelope's sender; an empty address is the null reverse-path.
    public func replaceSender(with address: Bytes) {
        self.context.append(.replaceSender(address: address.octets))
    }
}

extension HookEvent where Stage: RecipientStage {
    /// Adds a recipient to the envelope.
    ///
    /// At `rcpt` it stays there, also if a later plugin refuses the recipient that is asked about.
    public func addRecipient(_ address: Bytes) {
        self.context.append(.addRecipient(address: address.octets))
    }

    /// Takes a recipient off the envelope.
    public func removeRecipient(_ recipient: Recipient) {
        self.context.removeRecipient(id: recipient.id)
    }

    /// Replaces a recipient's address; what RCPT said beside it (NOTIFY, ORCPT) stays.
    public func replaceRecipient(_ recipient: Recipient, with address: Bytes) {
        self.context.replaceRecipient(id: recipient.id, with: address)
    }
}

extension HookEvent where Stage: RecipientRefusalStage {
    /// Refuses one recipient: it does not get the message, and the client is told so.
    ///
    /// Where the client cannot hear of single recipients (``TransactionSnapshot/repliesEach``), the whole
    /// message is refused.
    ///
    /// - Parameters:
    ///   - recipient: One of the transaction's.
    ///   - answer: `deny` or `denysoft`, with or without a reply; another one fails the event.
    public func refuseRecipient(_ recipient: Recipient, _ answer: Answer) {
        self.context.refuseRecipient(recipient, answer)
    }
}

/// Where a header field is added.
public enum HeaderEnd: Sendable {
    case top
    case bottom
}

extension HookEvent where Stage: HeaderStage {
    /// Adds a header field.
    ///
    /// - Parameters:
    ///   - name: Printable ASCII without a colon.
    ///   - value: What follows the colon; a leading space is added if there is no white space.
    ///     Lines fold as CRLF and white space.
    ///   - end: Above all fields, or below them.
    public func addHeader(_ name: String, _ value: String, at end: HeaderEnd = .top) {
        let spaced = value.utf8.first.map { $0 == 0x20 || $0 == 0x09 } == true
        self.addHeader(Bytes(name), Bytes(spaced ? value : " " + value), at: end)
    }

    /// Adds a header field: `value` is all that follows the colon.
    ///
    /// A line over 998 octets is folded, octets above 127 are encoded where the message has no
    /// SMTPUTF8, lines of white space alone are unfolded; everything else stays octet for octet.
    public func addHeader(_ name: Bytes, _ value: Bytes, at end: HeaderEnd = .top) {
        self.context.addHeader(name, value, atTop: end == .top)
    }

    /// Replaces what follows the colon of a header field; `value` is treated as in ``addHeader``.
    ///
    /// A value that came, or part of it, may be handed back as it is.
    public func setHeader(_ field: HeaderField, to value: Bytes) {
        self.context.setHeader(field, to: value)
    }

    /// Removes a header field.
    public func deleteHeader(_ field: HeaderField) {
        self.context.deleteHeader(field)
    }

    /// Removes every header field of a name, whatever its case.
    public func deleteHeaders(named name: String) {
        self.context.append(.deleteHeaders(name: Array(name.utf8)))
    }
}

extension HookEvent where Stage: MessageStage {
    /// Replaces the message by a file of the folder ``outFolder``.
    ///
    /// The file has the header that counts: earlier changes of header fields, of this plugin or one
    /// before it, are in it if it was written from ``HookEvent/message``, and gone if not. Later
    /// changes are made to it; ``HookEvent/headers`` shows the fields as they were before.
    ///
    /// - Parameter name: The file's name, without a folder.
    public func replaceMessage(withFileNamed name: String) {
        self.context.append(.replaceMessage(path: name))
    }

    /// The folder for files that replace a message: that of this frontend for the worker's pool.
    ///
    /// Write a file with CRLF line ends there, under a name that no other event uses
    /// (``newMessageName``), and name it in ``replaceMessage(withFileNamed:)``. The frontend removes
    /// what is no longer needed.
    public var outFolder: String { self.context.outFolder }

    /// A name for a file of this event alone in ``outFolder``; another one each time.
    public var newMessageName: String {
        (0..<2).map { _ in String(UInt64.random(in: .min ... .max), radix: 36) }.joined()
    }
}
