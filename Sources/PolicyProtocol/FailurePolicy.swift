/// What the client gets when a pool could not answer: `on_failure` of frontend.toml.
package enum FailurePolicy: String, Sendable, CaseIterable {
    /// 451 4.3.0; at connect 421.
    case tempfail
    /// As if every plugin had declined; logged and marked in the trace.
    case skip
    /// 554 5.3.0.
    case reject
}
