/// How long to wait before dialling again: a random part of 50 ms · 2ⁿ, at most 2 s, so that a
/// thousand workers do not come back at once.
///
/// 1st: up to 50 ms, 4th: up to 400 ms, 7th on: up to 2 s.
package struct Backoff {
    package static let first = Duration.milliseconds(50)
    package static let longest = Duration.seconds(2)
    /// 50 ms · 2⁶ is more than the longest.
    private static let steps = 6

    private var failures = 0

    package init() {}

    /// The delay before the next try.
    package mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
        let ceiling = min(Self.longest, Self.first * (1 << self.failures))
        self.failures = min(self.failures + 1, Self.steps)
        let milliseconds = Int64(ceiling / .milliseconds(1))
        return .milliseconds(Int64.random(in: 1...milliseconds, using: &generator))
    }

    /// The peer was reached: the next delay is the first again.
    package mutating func reset() {
        self.failures = 0
    }
}
