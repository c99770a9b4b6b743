import PoolCore

/// The breaker as protocol/README.md §8 has it, in the words of the model.
struct ModelBreaker {
    private static let window = 20
    private static let trialNS = PoolSimulator.second / 2
    /// Outcomes for which no worker answered.
    private static let counted: Set<PoolFailure> = [.worker_lost, .deadline, .poison]

    /// The last outcomes, true for a failure; oldest first.
    private var outcomes: [Bool] = []
    /// The next trial, while it is open.
    private var nextTrialNS: UInt64?

    enum Admission {
        case admitted
        case trial
        case refused
    }

    mutating func admits(now: UInt64) -> Admission {
        guard let trial = self.nextTrialNS else { return .admitted }
        guard now >= trial else { return .refused }
        self.nextTrialNS = now + Self.trialNS
        return .trial
    }

    mutating func failed(_ failure: PoolFailure, now: UInt64) {
        guard Self.counted.contains(failure), self.nextTrialNS == nil else { return }
        self.record(true)
        if self.outcomes.count == Self.window, self.outcomes.count(where: { $0 }) > Self.window / 2
        {
            self.nextTrialNS = now + Self.trialNS
        }
    }

    mutating func answered(isTrial: Bool) {
        guard self.nextTrialNS != nil else { return self.record(false) }
        if isTrial { self = ModelBreaker() }
    }

    /// The trial could not be sent, because no worker serves its hook or the queue is full.
    mutating func trialWasRefused(now: UInt64) {
        if self.nextTrialNS != nil { self.nextTrialNS = now }
    }

    private mutating func record(_ isFailure: Bool) {
        self.outcomes.append(isFailure)
        if self.outcomes.count > Self.window { self.outcomes.removeFirst() }
    }
}
