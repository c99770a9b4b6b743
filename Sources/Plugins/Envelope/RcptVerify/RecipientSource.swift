/// What knows whether a recipient exists.
protocol RecipientSource: Sendable {
    /// What it is called in the log and in the store.
    var name: String { get }

    /// Asks, and answers at the `deadline` at the latest.
    func finding(
        _ recipient: AskedRecipient,
        until deadline: ContinuousClock.Instant
    ) async -> RecipientFinding

    /// Closes what is kept, when the worker leaves.
    func stop() async
}

extension RecipientSource {
    func stop() async {}
}

/// For how long a source that failed is left alone.
///
/// Told the time; asks no clock.
struct SourceRest: Sendable {
    /// Zero: it never is.
    let time: Duration
    private var end: ContinuousClock.Instant?

    init(time: Duration) { self.time = time }

    func isResting(at now: ContinuousClock.Instant) -> Bool { self.end.map { now < $0 } ?? false }

    mutating func failed(at now: ContinuousClock.Instant) { self.end = now + self.time }

    mutating func worked() { self.end = nil }
}
