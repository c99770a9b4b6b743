import PolicyPool
import PolicyProtocol

/// What the workers of a pool asked for, summed up.
struct PoolWants {
    private(set) var asked: HookSet = []
    private(set) var observed: HookSet = []
    private(set) var message: HookSet = []
    private(set) var needsHeaders = false
    private(set) var needsTrace = false

    mutating func update(connections: [WorkerConnectionHandler], machine: borrowing PoolMachine) {
        self = PoolWants()
        for hook in Hook.allCases where machine.isAsked(hook.index) {
            self.asked.insert(HookSet(hook))
        }
        for (hook, request) in connections.flatMap({ $0.hello?.hooks.map { $0 } ?? [] }) {
            if request.isObserver || hook.isNotification { self.observed.insert(HookSet(hook)) }
            if request.needs.contains(.message) { self.message.insert(HookSet(hook)) }
            if request.needs.contains(.headers) { self.needsHeaders = true }
            if request.needs.contains(.trace) { self.needsTrace = true }
        }
    }
}
