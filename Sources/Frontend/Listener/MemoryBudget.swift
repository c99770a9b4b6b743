/// How much memory all sessions together may hold, and whether they hold more.
///
/// Pure counting: the server tells once a tick what they hold. What is used up is given back by
/// messages that end, so it is over only once an eighth of the budget is free again: clients are not
/// let in and turned away by turns.
struct MemoryBudget {
    /// Octets; 0 is no limit.
    var octets: Int
    /// What the sessions held when it was last measured, in octets.
    private(set) var held = 0
    /// Neither a session nor a transaction begins.
    private(set) var isUsedUp = false

    init(octets: Int) { self.octets = octets }

    /// Takes a new measurement, in octets.
    ///
    /// - Returns: Whether ``isUsedUp`` changed.
    mutating func measured(_ held: Int) -> Bool {
        self.held = held
        let limit = self.isUsedUp ? self.octets - self.octets / 8 : self.octets
        let isOver = self.octets > 0 && held > limit
        defer { self.isUsedUp = isOver }
        return isOver != self.isUsedUp
    }
}
