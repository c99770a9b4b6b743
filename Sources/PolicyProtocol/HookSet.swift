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

extension Hook {
    /// Only told, never asked (protocol/events.md).
    package var isNotification: Bool {
        switch self {
        case .queue_post, .reset_transaction, .disconnect, .ok, .deny, .status: true
        case .connect, .helo, .ehlo, .auth, .mail, .rcpt, .data, .received_line, .data_headers_end,
            .data_post_headers, .data_post, .queue_pre, .queue, .quit, .vrfy, .help, .noop,
            .unrecognized_command:
            false
        }
    }
}
