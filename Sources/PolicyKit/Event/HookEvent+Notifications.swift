// What happened: the arguments of the hooks that are only told.

extension HookEvent<QueuePostStage> {
    /// The name under which the frontend logs the message.
    public var queueID: String { self.context.value("queue_id") ?? "" }

    /// What the client was told.
    public var reply: PolicyReply? { self.context.value("reply") }
}

extension HookEvent<ResetTransactionStage> {
    /// Why the transaction ended: rset, hello, starttls, done or disconnect.
    public var reason: String { self.context.value("reason") ?? "" }
}

extension HookEvent<DisconnectStage> {
    /// Why the session ended: quit, client_gone, timeout, refused, shutdown or error.
    public var reason: String { self.context.value("reason") ?? "" }

    /// How long it lasted.
    public var sessionTime: Duration {
        .milliseconds(self.context.value("duration_ms", as: Int.self) ?? 0)
    }
}

extension HookEvent<StatusStage> {
    /// A member of the report: `uptime_ms`, `sessions`, `spool`, `pools` (`protocol/events.md`).
    public func status(_ name: StaticString) -> JSONValue? { self.context.value(name) }
}

extension HookEvent where Stage: OutcomeStage {
    /// The hook that ended.
    public var decidedHook: Hook? { Hook(rawValue: self.context.value("hook") ?? "") }

    /// The arguments of that hook; `nil` from a frontend that does not tell them yet.
    public var asked: JSONValue? { self.context.value("args") }

    /// The recipient that RCPT asked about; `nil` at other hooks, and where ``asked`` is.
    public var recipient: Recipient? {
        self.decidedHook == .rcpt && self.asked != nil ? self.context.recipient : nil
    }

    /// The sender that MAIL asked about; `nil` at other hooks, and where ``asked`` is.
    public var sender: Sender? {
        self.decidedHook == .mail && self.asked != nil ? self.context.sender : nil
    }

    /// Its verdict.
    public var verdict: Verdict? { Verdict(rawValue: self.context.value("verdict") ?? "") }

    /// The plugin that decided; `nil` if none did, or a failure policy.
    public var plugin: String? { self.context.value("plugin") }

    /// The worker that answered.
    public var worker: String? { self.context.value("worker") }

    /// The pool that decided.
    public var pool: String? { self.context.value("pool") }

    /// Why there was no verdict, if the failure policy decided, as in `worker_lost`.
    public var failure: String? { self.context.value("failure") }

    /// What the client was told.
    public var reply: PolicyReply? { self.context.value("reply") }
}

extension PolicyReply: NoteValue {}
