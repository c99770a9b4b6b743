import Configuration
import PolicyCore

/// Which pools a session's questions go to.
///
/// Pools that decide are asked in the order of the file. A canary stands in for its pool for whole
/// sessions; a shadow is shown what its pool is asked and never waited for.
struct PoolRoutes {
    /// The pools that are neither shadow nor canary, in the order of the file.
    let deciding: [WorkerPool]
    private let profiles: [PoolProfile]
    private let hasCanaries: Bool

    /// Hangs shadows and canaries on the pools that they name; the loader has seen that these exist.
    init(_ pools: [WorkerPool]) {
        for pool in pools {
            pool.shadows = pools.filter { $0.configuration.shadowOf == pool.name }
            pool.profile.shadows = pool.shadows.map(\.profile)
            pool.canaries = pools.filter { $0.configuration.canaryOf == pool.name }
        }
        self.deciding = pools.filter(\.configuration.isDeciding)
        self.profiles = self.deciding.map(\.profile)
        self.hasCanaries = pools.contains { !$0.canaries.isEmpty }
    }

    /// The pools for a session, for as long as it lasts.
    func route(session id: String) -> (pools: [WorkerPool], profiles: [PoolProfile]) {
        guard self.hasCanaries else { return (self.deciding, self.profiles) }
        let share = Self.share(of: id)
        let pools = self.deciding.map { pool in
            guard let canary = Self.canary(of: pool, share: share) else { return pool }
            canary.canarySessions += 1
            return canary
        }
        return (pools, pools.map(\.profile))
    }

    /// 0 … 99, evenly over ids of sessions and the same for an id everywhere.
    static func share(of id: String) -> Int {
        var hash = StableHash()
        hash.combine(Array(id.utf8))
        // The low bits of FNV are those of the last octets; folded, all of it counts.
        return Int((hash.value ^ hash.value >> 32) % 100)
    }

    /// The canary whose part of 100 the share falls into, if it has workers to take the session.
    private static func canary(of pool: WorkerPool, share: Int) -> WorkerPool? {
        var below = 0
        for canary in pool.canaries {
            below += canary.configuration.canaryPercent
            if share < below { return canary.canServe ? canary : nil }
        }
        return nil
    }
}

@available(*, unavailable)
extension PoolRoutes: Sendable {}
