package import JSON

/// A set of hooks, one bit each, in the order of ``Hook/allCases``.
package struct HookSet: OptionSet, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package init() { self.rawValue = 0 }

    /// The standard library's own is not specialised in other modules: `[]` would take it 700
    /// instructions.
    package init(arrayLiteral elements: HookSet...) {
        self.rawValue = elements.reduce(0) { $0 | $1.rawValue }
    }

    package init(_ hook: Hook) { self.rawValue = 1 << UInt32(hook.index) }

    /// The hooks that come after `hook` in ``Hook/allCases``.
    package init(after hook: Hook) { self.rawValue = ~0 << (UInt32(hook.index) + 1) }

    package func contains(_ hook: Hook) -> Bool { self.rawValue & 1 << UInt32(hook.index) != 0 }
}

extension Hook {
    /// The place in ``allCases``, for tables and bit sets.
    package var index: UInt8 {
        switch self {
        case .connect: 0
        case .helo: 1
        case .ehlo: 2
        case .auth: 3
        case .mail: 4
        case .rcpt: 5
        case .data: 6
        case .data_headers_end: 7
        case .received_line: 8
        case .data_post_headers: 9
        case .data_post: 10
        case .queue_pre: 11
        case .queue: 12
        case .vrfy: 13
        case .help: 14
        case .noop: 15
        case .unrecognized_command: 16
        case .quit: 17
        case .reset_transaction: 18
        case .queue_post: 19
        case .deny: 20
        case .ok: 21
        case .disconnect: 22
        case .status: 23
        }
    }
}

extension Hook {
    private static let all = Self.allCases

    /// The words of protocol/, in the order of ``allCases``.
    private static let words: [StaticString] = [
        "connect", "helo", "ehlo", "auth", "mail", "rcpt", "data", "data_headers_end",
        "received_line", "data_post_headers", "data_post", "queue_pre", "queue", "vrfy", "help",
        "noop", "unrecognized_command", "quit", "reset_transaction", "queue_post", "deny", "ok",
        "disconnect", "status",
    ]

    /// The word of protocol/.
    package var word: StaticString { Self.words[Int(self.index)] }

    /// By the word of protocol/, without a string; `nil` for anything else.
    package init?(spelled item: JSONItemText) {
        guard let index = item.index(in: Self.words), index < Self.all.count else { return nil }
        self = Self.all[index]
    }
}

extension Hook {
    private static let ofWholeMessage: [Hook] = [
        .data_post_headers, .data_post, .queue_pre, .queue,
    ]

    /// The hooks of a complete message that follow this one of them; none for any other hook, nor for
    /// `received_line`, after which the header is another.
    package var following: ArraySlice<Hook> {
        switch self {
        case .data_post_headers: Self.ofWholeMessage[1...]
        case .data_post: Self.ofWholeMessage[2...]
        case .queue_pre: Self.ofWholeMessage[3...]
        default: []
        }
    }

    /// Whether the hook only tells and is never asked (protocol/events.md, "Hooks that only tell").
    package var isNotification: Bool { self.index >= Self.reset_transaction.index }
}
