/// Keeps what arrives in order while what came before it is still being handled.
///
/// To handle a line may be to write, and a write that fails has the channel read what is left and end,
/// all before that write returns. So code that handles octets asks here whether it is its turn:
///
///     guard let first = arrivals.arrived(octets) else { return }
///     handle(first)
///     while let next = arrivals.next() { handle(next) }
///     if arrivals.hasEnded { end() }
package struct ArrivalQueue<Arrival> {
    private var isHandling = false
    private var waiting: [Arrival] = []
    /// Nothing more arrives.
    package private(set) var hasEnded = false

    package init() {}

    /// - Returns: What arrived, to be handled now; `nil`: it waits for ``next()``.
    package mutating func arrived(_ arrival: Arrival) -> Arrival? {
        guard !self.isHandling else {
            self.waiting.append(arrival)
            return nil
        }
        self.isHandling = true
        return arrival
    }

    /// What is to be handled after what was; `nil` ends the turn.
    package mutating func next() -> Arrival? {
        guard self.waiting.isEmpty else { return self.waiting.removeFirst() }
        self.isHandling = false
        return nil
    }

    /// The stream is over.
    ///
    /// - Returns: Whether that may be handled now; else the caller that handles now looks at ``hasEnded``.
    package mutating func ended() -> Bool {
        self.hasEnded = true
        return !self.isHandling
    }
}

extension ArrivalQueue: Sendable where Arrival: Sendable {}
