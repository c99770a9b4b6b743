/// What a plugin answered, or what became of an event that no worker answered.
public struct TraceEntry: Sendable, Hashable {
    /// The event's key; `nil` for a plugin of this worker and event.
    public var key: String?
    /// The hook; `nil` for a plugin of this worker and event.
    public var hook: Hook?
    /// The pool that was asked; `nil` for a plugin of this worker and event.
    public var pool: String?
    /// The worker that was asked.
    public var worker: String?
    /// The plugin that answered; `nil` if the worker did not say.
    public var plugin: String?
    /// The verdict; `nil` if there was none.
    public var verdict: Verdict?
    /// How long it took, in microseconds.
    public var microseconds: Int64
    /// Why there was no verdict, as in `worker_lost`.
    public var failure: String?
    /// The failure policy that was applied: tempfail, skip or reject.
    public var policy: String?
    /// What the client was told.
    public var reply: PolicyReply?

    /// What a plugin of this worker answered at this event.
    package init(_ answer: PluginAnswer) {
        self.init(
            plugin: answer.plugin,
            verdict: answer.verdict,
            microseconds: answer.microseconds
        )
    }

    init(plugin: String?, verdict: Verdict?, microseconds: Int64) {
        self.plugin = plugin
        self.verdict = verdict
        self.microseconds = microseconds
    }
}
