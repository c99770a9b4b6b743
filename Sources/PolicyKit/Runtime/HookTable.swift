import PolicyProtocol

/// A value a hook, found without hashing.
package struct HookTable<Value> {
    private var values: [Value?] = Array(repeating: nil, count: Hook.allCases.count)

    package subscript(_ hook: Hook) -> Value? {
        get { self.values[Int(hook.index)] }
        set { self.values[Int(hook.index)] = newValue }
    }
}

extension HookTable: Sendable where Value: Sendable {}
