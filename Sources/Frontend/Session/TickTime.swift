/// The time as a loop's ticks saw it.
struct TickTime {
    /// How much time passed.
    struct Interval {
        /// All of it, in milliseconds.
        let milliseconds: Int64
        /// What of it may be charged to a client, in milliseconds.
        let chargeableMS: Int64
    }

    /// A tick charges no more, in milliseconds: what is longer is a stall of our own.
    static let maximumChargeMS: Int64 = 250

    /// When the last tick was; monotonic milliseconds.
    private(set) var nowMS: Int64
    /// What all ticks together charged, in milliseconds.
    private(set) var chargeableMS: Int64

    init(nowMS: Int64, chargeableMS: Int64 = 0) {
        self.nowMS = nowMS
        self.chargeableMS = chargeableMS
    }

    mutating func ticked(_ nowMS: Int64) {
        self.chargeableMS += min(max(nowMS - self.nowMS, 0), Self.maximumChargeMS)
        self.nowMS = nowMS
    }

    /// What passed since `earlier`.
    func since(_ earlier: TickTime) -> Interval {
        Interval(
            milliseconds: self.nowMS - earlier.nowMS,
            chargeableMS: self.chargeableMS - earlier.chargeableMS
        )
    }
}
