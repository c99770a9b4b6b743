import Configuration
import PolicyProtocol
import PoolCore

extension PoolHello {
    init(_ hello: WorkerHello, userID: UInt32) {
        self.init(
            identity: "\(userID)/\(hello.name)/\(hello.instance)",
            name: hello.name,
            concurrency: hello.concurrency,
            asked: []
        )
        for (hook, request) in hello.hooks {
            let mask = HookNumbers(hook: hook.index)
            if request.isObserver || hook.isNotification {
                self.observed.formUnion(mask)
            } else {
                self.asked.formUnion(mask)
            }
            if request.isIdempotent { self.idempotent.formUnion(mask) }
        }
    }
}

extension PoolSettings {
    /// `share` is the part of the pool's queue that one event loop may use.
    init(_ configuration: FrontendConfiguration.Pool, share: LoopShare) {
        self.init()
        func nanoseconds(_ ms: Int64) -> UInt64 { UInt64(clamping: ms) * 1_000_000 }
        self.deadlines = Hook.allCases.map { hook in
            let policy = configuration.policy(for: hook)
            return Deadline(
                ordinaryNS: nanoseconds(policy.deadlineMS),
                maximumNS: nanoseconds(policy.maximumDeadlineMS)
            )
        }
        self.hooksWithSideEffects = [
            HookNumbers(hook: Hook.queue.index), HookNumbers(hook: Hook.auth.index),
        ]
        self.hooksDeclared = configuration.alwaysAsked.map { hooks in
            HookNumbers(hooks.map { HookNumbers(hook: $0.index) })
        }
        self.hooksRememberedNS = nanoseconds(configuration.hooksRememberedMS)
        self.hooksOfEmptyPool = HookNumbers(hook: Hook.connect.index)
        self.graceNS = nanoseconds(configuration.graceMS)
        self.zombieNS = nanoseconds(configuration.zombieMS)
        self.pingNS = nanoseconds(configuration.pingMS)
        self.queueLimit = share.part(of: configuration.queueLimit)
        self.maximumConnections = configuration.maximumConnections
        self.maximumConcurrency = configuration.maximumConcurrency
    }
}
