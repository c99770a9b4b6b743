/// Decides which event loops accept clients.
///
/// Each loop has sockets of its own for the workers, and a worker needs a moment to find all of them;
/// some workers dial the first loop's only. So clients go to the loops where the most pools have the
/// workers that they need; of these, a loop that never had them takes no clients while another had.
struct AcceptingLoops: Equatable {
    private struct Loop: Equatable {
        /// How many of the pools that decide have their workers here.
        var pools = 0
        /// Whether any of these pools had its workers here, now or before.
        ///
        /// The first loop counts as if it had: some loop has to accept.
        var hadWorkers: Bool
    }

    private var loops: [Loop]

    init(count: Int) {
        self.loops = (0..<count).map { Loop(hadWorkers: $0 == 0) }
    }

    /// On a loop, `pools` of the pools that decide have their workers now.
    ///
    /// - Returns: Whether ``accepting`` changed.
    mutating func workersChanged(loop: Int, pools: Int) -> Bool {
        guard self.loops.indices.contains(loop) else { return false }
        let before = self.accepting
        self.loops[loop].pools = pools
        if pools > 0 { self.loops[loop].hadWorkers = true }
        return self.accepting != before
    }

    /// The indices of the loops that accept clients: at least one.
    var accepting: [Int] {
        let most = self.loops.map(\.pools).max() ?? 0
        let best = self.loops.indices.filter { self.loops[$0].pools == most }
        let proven = best.filter { self.loops[$0].hadWorkers }
        return proven.isEmpty ? best : proven
    }
}

/// The part of a limit that one event loop may use, so that all loops together keep the limit.
struct LoopShare: Equatable {
    /// The place of the loop among those that accept clients; `nil`: it accepts none.
    let place: Int?
    /// How many loops accept clients.
    let count: Int

    /// All of it: there is one loop.
    static let whole = LoopShare(place: 0, count: 1)

    /// The part of `limit`, at least 1 of a limit that is not 0.
    ///
    /// The parts add up to the limit, unless it is smaller than the number of loops.
    func part(of limit: Int) -> Int {
        guard let place = self.place else { return min(limit, 1) }
        let part = limit / self.count + (place < limit % self.count ? 1 : 0)
        return max(part, min(limit, 1))
    }
}
