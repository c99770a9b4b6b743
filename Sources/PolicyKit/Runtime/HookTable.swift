/// A value a hook, found without hashing.
package struct HookTable<Value> {
    private var values: [Value?] = Array(repeating: nil, count: Hook.allCases.count)

    package subscript(_ hook: Hook) -> Value? {
        get { self.values[hook.ordinal] }
        set { self.values[hook.ordinal] = newValue }
    }
}

extension HookTable: Sendable where Value: Sendable {}

extension Hook {
    /// The place in the vocabulary: an enumeration without payload is its index, which a test holds
    /// true for every hook.
    package var ordinal: Int { Int(unsafeBitCast(self, to: UInt8.self)) }
}
