package import PolicyProtocol

/// What the workers of a pool registered, summed up.
package struct PoolWants: Equatable {
    /// Hooks that the pool is asked about.
    package private(set) var asked: HookSet = []
    /// Hooks that some worker is told of.
    package private(set) var observed: HookSet = []
    /// All that is needed at any hook.
    package private(set) var needs: Needs = []
    /// The longest line that any worker takes.
    package private(set) var largestFrame = 0
    /// The hooks that may be combined into one event.
    ///
    /// Empty unless all workers that are asked at all registered the same hooks and said `ahead`.
    package private(set) var ahead: HookSet = []
    /// The longest line that any worker takes which is asked at `queue` and needs the header; `nil`
    /// if there is no such worker.
    package private(set) var queueFrameOctets: Int?
    /// Whether a worker is there that is asked at `queue`.
    private(set) var canQueue = false
    /// What every worker keeps that is there and asked at `queue`; all if there is none.
    private(set) var extensions = QueueExtensions.all
    /// By the hook's index.
    private var needsByHook = [Needs](repeating: [], count: Hook.allCases.count)

    /// The wants of a pool without workers.
    package init() {}

    /// Sums up what ready workers said; `asked` is what the pool's machine remembers as asked.
    package init(_ hellos: [WorkerHello], asked: HookSet) {
        self.asked = asked
        for hello in hellos {
            if let queue = hello.hooks[.queue], !queue.isObserver, queue.needs.contains(.headers) {
                self.queueFrameOctets = max(self.queueFrameOctets ?? 0, hello.maximumFrameOctets)
            }
            for (hook, request) in hello.hooks {
                if request.isObserver || hook.isNotification {
                    self.observed.insert(HookSet(hook))
                }
                self.needs.formUnion(request.needs)
                self.needsByHook[Int(hook.index)].formUnion(request.needs)
            }
            self.largestFrame = max(self.largestFrame, hello.maximumFrameOctets)
        }
        self.ahead = Self.ahead(hellos)
        for hello in hellos where hello.askedHooks.contains(.queue) {
            self.canQueue = true
            self.extensions.formIntersection(hello.extensions)
        }
    }

    /// All that is needed at `hook`.
    package func needs(at hook: Hook) -> Needs { self.needsByHook[Int(hook.index)] }

    private static func ahead(_ hellos: [WorkerHello]) -> HookSet {
        let workers = hellos.filter { !$0.askedHooks.isEmpty }
        guard let first = workers.first,
            workers.allSatisfy({ $0.goesAhead && $0.hooks == first.hooks })
        else { return [] }
        return first.askedHooks
    }
}

extension WorkerHello {
    /// The hooks at which the worker is asked, and not only told.
    fileprivate var askedHooks: HookSet {
        self.hooks.reduce(into: []) { asked, entry in
            guard !entry.value.isObserver, !entry.key.isNotification else { return }
            asked.insert(HookSet(entry.key))
        }
    }
}
