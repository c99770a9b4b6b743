/// Limits the memory that all sessions together may hold.
///
/// The server measures once a tick what they hold. Above the budget, no session and no transaction
/// begins until an eighth of the budget is free again: with a single limit, clients would be let in
/// and refused by turns.
struct MemoryBudget {
    /// The budget in octets; 0 is no limit.
    var octets: Int
    /// What the sessions held when it was last measured, in octets.
    private(set) var held = 0
    /// Whether no session and no transaction may begin.
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
