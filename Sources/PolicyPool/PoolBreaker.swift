/// Leaves a pool alone that does not answer.
///
/// When more than half of the last 20 events got no answer it opens; then one event every 500 ms
/// tries, and an answer to one of those closes it. What the answer says is of no matter: also an
/// `error` or an invalid verdict comes from a worker that lives.
struct PoolBreaker: Sendable {
    static let window = 20
    static let trialNS: UInt64 = 500_000_000

    enum Admission {
        case admitted
        /// To see whether the pool is well again.
        case trial
        case refused
    }

    /// The outcomes of the last events, the youngest in the lowest bit; 1 is one without an answer.
    private var outcomes: UInt32 = 0
    private var known = 0
    /// The next trial, while it is open.
    private var nextTrialNS: UInt64?

    var isOpen: Bool { self.nextTrialNS != nil }

    mutating func admits(now: UInt64) -> Admission {
        guard let trial = self.nextTrialNS else { return .admitted }
        guard now >= trial else { return .refused }
        self.nextTrialNS = now &+ Self.trialNS
        return .trial
    }

    /// What was to be a trial got no further than the door: the next event tries.
    mutating func trialFellThrough(now: UInt64) {
        if self.isOpen { self.nextTrialNS = now }
    }

    mutating func answered(isTrial: Bool) {
        guard self.isOpen else { return self.note(0) }
        // Answers to what was sent before it opened say nothing about now.
        if isTrial { self = PoolBreaker() }
    }

    mutating func failed(now: UInt64) {
        guard !self.isOpen else { return }
        self.note(1)
        guard self.known == Self.window, self.outcomes.nonzeroBitCount * 2 > Self.window else {
            return
        }
        self.nextTrialNS = now &+ Self.trialNS
    }

    private mutating func note(_ outcome: UInt32) {
        self.outcomes = (self.outcomes << 1 | outcome) & ((1 << UInt32(Self.window)) - 1)
        if self.known < Self.window { self.known += 1 }
    }
}

extension PoolFailure {
    /// Whether the workers were silent or died: what the breaker counts.
    ///
    /// An answer is neither, whatever is wrong with it, because the client chooses what is asked: a
    /// message that no plugin can answer well must not close the pool to other clients. That no worker
    /// is there or that all are busy says nothing either: an empty pool is well again with the
    /// first worker that comes.
    var isSilenceOrDeath: Bool {
        switch self {
        case .worker_lost, .deadline, .poison: true
        case .worker_error, .invalid_verdict, .event_too_large, .queue_full, .no_worker,
            .breaker_open:
            false
        }
    }
}
