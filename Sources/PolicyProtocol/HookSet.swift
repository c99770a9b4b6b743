/// A set of hooks, one bit each, in the order of ``Hook/allCases``.
package struct HookSet: OptionSet, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package init(_ hook: Hook) { self.rawValue = 1 << UInt32(hook.index) }
}

extension Hook {
    /// The place in ``allCases``, for tables and bit sets.
    package var index: UInt8 { Self.indices[self] ?? 0 }

    private static let indices = Dictionary(
        uniqueKeysWithValues: Self.allCases.enumerated().map { ($0.element, UInt8($0.offset)) }
    )
}
