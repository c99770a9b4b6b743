package import PolicyProtocol

/// What a session has to know of a pool to decide what the pool is asked.
///
/// The owner of the pool keeps it true; sessions only read it. Confined to the event loop.
package final class PoolProfile {
    package let name: String
    /// What the pool's workers registered.
    package var wants: PoolWants { self.currentWants }
    private var currentWants = PoolWants()
    /// The failure policy of each hook, by the hook's index.
    package var failurePolicies = [FailurePolicy](repeating: .tempfail, count: Hook.allCases.count)
    /// The deadline of each hook in milliseconds, by the hook's index.
    package var deadlinesMS = [Int64](repeating: 20_000, count: Hook.allCases.count)
    /// `failure_header`: a message that the pool did not see says so in a header field.
    package var marksSkippedMessages = false
    /// `secrets`: its workers may see passwords, so it is asked at `auth`.
    package var receivesSecrets = false
    /// Pools that are shown what this one is asked.
    package var shadows: [PoolProfile] = []
    /// It has a ready worker.
    private(set) var hasReadyWorker = false
    /// As a shadow: it is shown `queue`, where it would store the message a second time.
    package var isShownQueue = false

    package init(name: String) { self.name = name }

    /// The pool's workers changed.
    package func update(_ wants: PoolWants, hasReadyWorker: Bool) {
        self.currentWants = wants
        self.hasReadyWorker = hasReadyWorker
    }

    package func failurePolicy(at hook: Hook) -> FailurePolicy {
        self.failurePolicies[Int(hook.index)]
    }

    package func deadlineMS(at hook: Hook) -> Int64 { self.deadlinesMS[Int(hook.index)] }

    package func isAsked(_ hook: Hook) -> Bool {
        self.currentWants.asked.contains(hook) && (hook != .auth || self.receivesSecrets)
    }

    package func isObserved(_ hook: Hook) -> Bool { self.currentWants.observed.contains(hook) }

    /// Whether a worker is there for `queue`, and all that are there hold a message until its time.
    var keepsFutureRelease: Bool {
        self.hasReadyWorker && self.currentWants.canQueue && !self.mayReleaseEarly
    }

    /// Whether a worker is asked at `queue` that does not hold a message until its time.
    ///
    /// Which worker gets a message, is not known before.
    var mayReleaseEarly: Bool { !self.currentWants.extensions.contains(.futureRelease) }

    /// As a shadow: whether it may see questions of `hook`, and has a worker to show them to.
    package func isShown(_ hook: Hook) -> Bool {
        // A password is not for code that is only tried.
        self.hasReadyWorker && hook != .auth && (hook != .queue || self.isShownQueue)
    }

    /// Whether some shadow of this pool is to be asked about `hook`.
    func isShadowed(at hook: Hook) -> Bool {
        self.shadows.contains { $0.isAsked(hook) && $0.isShown(hook) }
    }

    /// Whether some worker reads the message at `hook`.
    package func needsMessage(at hook: Hook) -> Bool {
        self.currentWants.needs(at: hook).contains(.message)
    }

    /// Whether this pool or one of its shadows reads the message at `hook`, or at a hook ahead.
    func needsMessage(at hook: Hook, ahead: HookSet) -> Bool {
        if self.needs(at: hook, ahead: ahead).contains(.message) { return true }
        return self.shadows.contains { $0.isShown(hook) && $0.needsMessage(at: hook) }
    }

    /// All that workers of this pool need at `hook` and at the hooks ahead.
    func needs(at hook: Hook, ahead: HookSet) -> Needs {
        var needs = self.currentWants.needs(at: hook)
        for next in hook.following where ahead.contains(next) {
            needs.formUnion(self.currentWants.needs(at: next))
        }
        return needs
    }
}

@available(*, unavailable)
extension PoolProfile: Sendable {}

/// What the workers of all pools together want: a session looks at it before it asks anything.
///
/// Kept by the owner of the pools. Confined to the event loop.
package final class PolicyDemand {
    /// Hooks that some pool is asked about.
    package var asked: HookSet { self.current.asked }
    /// Hooks that some pool is told of.
    package var observed: HookSet { self.current.observed }
    /// Whether any worker looks at header fields at any hook.
    package var areHeadersWanted: Bool { self.current.needs.contains(.headers) }
    package var isTraceWanted: Bool { self.current.needs.contains(.trace) }

    private var current: (asked: HookSet, observed: HookSet, needs: Needs) = (
        HookSet(), HookSet(), Needs()
    )

    package init() {}

    /// The workers of some pool changed.
    package func update(_ pools: [PoolProfile]) {
        self.current = (
            asked: pools.reduce(into: HookSet()) { $0.formUnion($1.wants.asked) },
            observed: pools.reduce(into: HookSet()) { $0.formUnion($1.wants.observed) },
            needs: pools.reduce(into: Needs()) { $0.formUnion($1.wants.needs) }
        )
    }
}

@available(*, unavailable)
extension PolicyDemand: Sendable {}
