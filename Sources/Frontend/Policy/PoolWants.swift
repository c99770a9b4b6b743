import PolicyPool
import PolicyProtocol

/// What the workers of a pool asked for, summed up.
struct PoolWants {
    private(set) var asked: HookSet = []
    private(set) var observed: HookSet = []
    /// All that is needed at any hook.
    private(set) var needs: EventNeeds = []
    /// The longest line that any worker takes.
    private(set) var largestFrame = 0
    /// Hooks that every worker serves which serves any, if all of them serve the same in the same way
    /// and go ahead; else none.
    private(set) var ahead: HookSet = []
    /// The longest line that any worker takes which is asked at `queue` and needs the header; `nil`
    /// if none is.
    private(set) var queueFrameOctets: Int?
    /// By the hook's index.
    private var needsByHook = [EventNeeds](repeating: [], count: Hook.allCases.count)

    /// All that is needed at `hook`.
    func needs(at hook: Hook) -> EventNeeds { self.needsByHook[Int(hook.index)] }

    mutating func update(connections: [WorkerConnectionHandler], machine: borrowing PoolMachine) {
        self = PoolWants()
        for hook in Hook.allCases where machine.isAsked(hook.index) {
            self.asked.insert(HookSet(hook))
        }
        for hello in connections.compactMap(\.hello) {
            guard let queue = hello.hooks[.queue], !queue.isObserver,
                queue.needs.contains(.headers)
            else { continue }
            self.queueFrameOctets = max(self.queueFrameOctets ?? 0, hello.maximumFrameOctets)
        }
        for (hook, request) in connections.flatMap({ $0.hello?.hooks.map { $0 } ?? [] }) {
            if request.isObserver || hook.isNotification { self.observed.insert(HookSet(hook)) }
            self.needs.formUnion(request.needs)
            self.needsByHook[Int(hook.index)].formUnion(request.needs)
        }
        self.largestFrame = connections.compactMap { $0.hello?.maximumFrameOctets }.max() ?? 0
        self.ahead = Self.ahead(connections.compactMap(\.hello))
    }

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
