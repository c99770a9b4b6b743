/// Stops questions to a pool that does not answer.
///
/// The breaker opens when more than half of the last 20 questions got no answer. While it is open,
/// one question every 500 ms is sent as a trial, and the others fail at once. An answer to a trial
/// closes the breaker, even if it is an `error` or an invalid verdict: the worker that sent it is
/// alive.
struct PoolBreaker: Sendable {
    static let window = 20
    static let trialNS: UInt64 = 500_000_000

    enum Admission {
        case admitted
        /// The question is sent to find out whether the pool answers again.
        case trial
        case refused
    }

    /// One bit for each of the last questions, the newest in the lowest bit; 1 means no answer.
    private var outcomes: UInt32 = 0
    /// How many bits of `outcomes` are in use.
    private var known = 0
    /// When the next trial is due; `nil` while the breaker is closed.
    private var nextTrialNS: UInt64?

    var isOpen: Bool { self.nextTrialNS != nil }

    mutating func admits(now: UInt64) -> Admission {
        guard let trial = self.nextTrialNS else { return .admitted }
        guard now >= trial else { return .refused }
        self.nextTrialNS = now &+ Self.trialNS
        return .trial
    }

    /// The question that was to be the trial was refused before it was sent: the next one is the
    /// trial.
    mutating func trialNotSent(now: UInt64) {
        if self.isOpen { self.nextTrialNS = now }
    }

    mutating func answered(isTrial: Bool) {
        guard self.isOpen else { return self.record(0) }
        // An answer to a question from before the breaker opened does not show that workers answer
        // now.
        if isTrial { self = PoolBreaker() }
    }

    mutating func failed(now: UInt64) {
        guard !self.isOpen else { return }
        self.record(1)
        guard self.known == Self.window, self.outcomes.nonzeroBitCount * 2 > Self.window else {
            return
        }
        self.nextTrialNS = now &+ Self.trialNS
    }

    private mutating func record(_ outcome: UInt32) {
        self.outcomes = (self.outcomes << 1 | outcome) & ((1 << UInt32(Self.window)) - 1)
        if self.known < Self.window { self.known += 1 }
    }
}

extension PoolFailure {
    /// Whether the breaker counts the failure: a worker was silent or died.
    ///
    /// It does not count bad answers, because the client chooses what is asked: a client whose
    /// message no plugin can judge must not close the pool to other clients. It does not count a
    /// missing worker or a full queue either: the pool works again as soon as a worker is there.
    var isSilenceOrDeath: Bool {
        switch self {
        case .worker_lost, .deadline, .poison: true
        case .worker_error, .invalid_verdict, .event_too_large, .queue_full, .no_worker,
            .breaker_open:
            false
        }
    }
}
