public import Logging

/// What happened, with the whole picture of session and transaction: what a plugin's method gets.
///
/// Each stage of the dialogue has its own members besides those every event has: `sender` at
/// `mail`, `recipient` at `rcpt`, header edits where the protocol allows them. What is not allowed
/// at a hook does not compile there.
///
/// An event belongs to the call it was passed to: it is not Sendable and nothing of it may be used
/// after the method has returned. Values taken from it may.
public struct HookEvent<Stage: HookStage> {
    let context: HookContext

    init(_ context: HookContext) {
        self.context = context
    }

    /// The hook.
    public var hook: Hook { self.context.hook }

    /// The same for every try of this event and for no other: the key to do a thing only once.
    public var key: String { self.context.key }

    /// 1 at the first try.
    public var attempt: Int { self.context.attempt }

    /// The session as plugins before this one left it.
    public var session: SessionSnapshot { self.context.session }

    /// Notes of session and transaction, to read and to write.
    public var notes: Notes { Notes(context: self.context) }

    /// What is left of the event's time.
    ///
    /// At zero the task is cancelled.
    public var remainingTime: Duration { self.context.remainingTime }

    /// What a plugin may spend on what it waits for: ``remainingTime`` less half a second, in which the answer
    /// travels and the plugins after it are asked.
    public var workingTime: Duration { self.remainingTime - .milliseconds(500) }

    /// Asks for more time, of which the frontend gives so much as the operator allows the hook.
    public func extendTime(by duration: Duration) {
        self.context.extendTime(by: duration)
    }

    /// When the event came, in Unix milliseconds: the one clock a plugin should look at, for tests
    /// set it.
    public var nowMilliseconds: Int64 { self.context.nowMilliseconds }

    /// The worker's logger, with session, transaction, hook and plugin as metadata and the
    /// plugin's `loglevel` applied.
    public var logger: Logger { self.context.logger }

    /// What every plugin answered so far in this session.
    ///
    /// Needs ``Needs/trace``.
    public var trace: [TraceEntry] { self.context.trace }

    /// Whether checks leave this session alone: a relay client, or a host, sender or recipient on a whitelist.
    ///
    /// It never means that relaying is allowed.
    public var isImmune: Bool {
        self.session.relay || self.isNoted(.whitelisthost) || self.isNoted(.whitelistsender)
            || self.notes[.whitelistRecipient] == true
    }

    /// Whether a note is there, and not false.
    func isNoted(_ key: NoteKey<JSONValue>) -> Bool {
        switch self.notes[key] {
        case nil, .null, .bool(false), .int(0), .string(""): false
        default: true
        }
    }

    /// Adds to the note ``NoteKey/karma``, and records that this plugin did.
    public func adjustKarma(by change: Int) {
        self.context.adjustKarma(by: change)
    }

    /// The transaction; `nil` outside one.
    public var currentTransaction: TransactionSnapshot? { self.context.transaction }
}

extension HookEvent where Stage: TransactionStage {
    /// The transaction as plugins before this one left it.
    public var transaction: TransactionSnapshot {
        self.context.required(self.context.transaction, "transaction") ?? .empty
    }

    /// The recipients accepted so far.
    ///
    /// Needs ``Needs/recipients``.
    public var recipients: [Recipient] { self.context.recipients }

    /// The header fields as they now are, in order.
    ///
    /// Needs ``Needs/headers``.
    public var headers: [HeaderField] { self.context.headers }

    /// The file with the message as it came.
    ///
    /// Needs ``Needs/message``.
    public var messageFile: MessageReference {
        self.context.required(self.context.transaction?.message, "transaction.message") ?? .empty
    }

    /// The message as it now is: the current header fields, then the body from the file.
    ///
    /// Needs ``Needs/wholeMessage``.
    ///
    /// - Throws: If the header did not fit into the event, or a part was not sent.
    public var message: Message {
        get throws { try self.context.wholeMessage() }
    }
}

extension HookEvent<AuthStage> {
    /// In capitals: `PLAIN`, `LOGIN`, `CRAM-MD5`, `SCRAM-SHA-256`, `OAUTHBEARER`, `XOAUTH2`.
    public var mechanism: String { self.context.octets("mechanism").string ?? "" }

    /// The user name that the client gave.
    public var user: Bytes { self.context.octets("user") }

    /// How many logins failed lately, this one not counted: to look at, or to put this one off.
    public var recentFailures: LoginFailures {
        let failed: JSONValue? = self.context.value("failed")
        func count(_ key: String) -> Int {
            if case .int(let number)? = failed?[key] { Int(clamping: number) } else { 0 }
        }
        return LoginFailures(address: count("address"), user: count("user"))
    }

    /// What a client binds SCRAM-SHA-256-PLUS to: the channel binding `tls-server-end-point` of the
    /// certificate that it was shown (RFC 5929 §4); `nil` where that mechanism is not offered.
    public var serverEndPoint: Bytes? { self.context.octetsIfAny("tls_server_end_point") }

    /// What proves it.
    ///
    /// Never to be logged or kept.
    public var proof: LoginProof {
        if let password = self.context.octetsIfAny("password") { return .password(password) }
        let step: JSONValue? = self.context.value("step")
        if case .int(let step)? = step {
            return .message(
                LoginMessage(
                    self.context.octets("response"),
                    step: Int(clamping: step),
                    state: self.context.octetsIfAny("state")
                )
            )
        }
        return .response(
            self.context.octets("response"),
            challenge: self.context.octets("challenge")
        )
    }
}

extension HookEvent<MailStage> {
    /// Who the client says the message is from.
    public var sender: Sender { self.context.sender }
}

extension HookEvent<RcptStage> {
    /// Who the client says the message is for: what it named, also if a plugin has replaced it.
    public var recipient: Recipient { self.context.recipient }
}

extension HookEvent where Stage: HelloStage {
    /// The name that the client gave.
    public var name: Bytes { self.context.octets("name") }
}

extension HookEvent where Stage: ArgumentStage {
    /// What follows the verb.
    public var argument: Bytes { self.context.octets("argument") }
}

extension HookEvent<ReceivedLineStage> {
    /// The value the frontend made.
    public var value: Bytes { self.context.octets("value") }
}

extension HookEvent<QueueStage> {
    /// The name under which the frontend logs the message.
    public var queueID: String { self.context.octets("queue_id").string ?? "" }
}

extension HookEvent<UnrecognizedCommandStage> {
    /// The first word of the line.
    public var command: Bytes { self.context.octets("command") }

    /// The line, without its end.
    public var line: Bytes { self.context.octets("line") }
}
