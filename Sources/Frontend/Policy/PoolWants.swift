import PolicyPool
import PolicyProtocol

/// What the workers of a pool asked for, summed up.
struct PoolWants {
    private(set) var asked: HookSet = []
    private(set) var observed: HookSet = []
    /// All that is needed at any hook.
    private(set) var needs: EventNeeds = []
    /// By the hook's index.
    private var needsByHook = [EventNeeds](repeating: [], count: Hook.allCases.count)

    /// All that is needed at `hook`.
    func needs(at hook: Hook) -> EventNeeds { self.needsByHook[Int(hook.index)] }

    mutating func update(connections: [WorkerConnectionHandler], machine: borrowing PoolMachine) {
        self = PoolWants()
        for hook in Hook.allCases where machine.isAsked(hook.index) {
            self.asked.insert(HookSet(hook))
        }
        for (hook, request) in connections.flatMap({ $0.hello?.hooks.map { $0 } ?? [] }) {
            if request.isObserver || hook.isNotification { self.observed.insert(HookSet(hook)) }
            self.needs.formUnion(request.needs)
            self.needsByHook[Int(hook.index)].formUnion(request.needs)
        }
    }
}
