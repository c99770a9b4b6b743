public import PolicyKit

extension Worker {
    /// Gatepost's own plugins, for a worker that runs them beside its author's.
    ///
    /// ```swift
    /// await Worker.main(name: "my-worker", plugins: Worker.standardPlugins + [RefuseEve.self])
    /// ```
    ///
    /// Of two plugins with one name the later counts.
    public static let standardPlugins: [any Plugin.Type] =
        ConnectionPlugins.all + DNSListsPlugins.all + AuthenticationPlugins.all
        + ReputationPlugins.all
        + EnvelopePlugins.all + MailAuthenticationPlugins.all + ContentPlugins.all
        + QueuePlugins.all + ObservePlugins.all
}
