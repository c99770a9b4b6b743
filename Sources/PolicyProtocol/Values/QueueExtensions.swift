/// SMTP extensions that a worker keeps for the messages that it takes at `queue`.
public struct QueueExtensions: OptionSet, Sendable, Hashable {
    /// A bit an extension.
    public let rawValue: UInt8

    /// The extensions of a set of bits.
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// FUTURERELEASE (RFC 4865): a message is not released before its time, or is refused.
    public static let futureRelease = Self(rawValue: 1 << 0)
    /// MT-PRIORITY (RFC 6710): the priority is heeded, or passed on.
    public static let priority = Self(rawValue: 1 << 1)
}

extension QueueExtensions {
    /// Each extension with its keyword.
    private static let parts: [(part: Self, keyword: String)] = [
        (.futureRelease, "FUTURERELEASE"), (.priority, "MT-PRIORITY"),
    ]

    /// Those with these keywords; others are left out, for a later version may know them.
    package init(keywords: some Sequence<String>) {
        self = keywords.reduce(into: []) { found, keyword in
            if let part = Self.parts.first(where: { $0.keyword == keyword })?.part {
                found.insert(part)
            }
        }
    }

    /// All that there are.
    package static let all = Self(keywords: Self.parts.map(\.keyword))

    /// The keywords of those that are in the set.
    package var keywords: [String] { Self.parts.filter { self.contains($0.part) }.map(\.keyword) }
}
