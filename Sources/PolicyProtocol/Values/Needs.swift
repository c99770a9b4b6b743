/// Parts of an event that are sent only to a worker that names them.
public struct Needs: OptionSet, Sendable, Hashable {
    /// A bit a part.
    public let rawValue: UInt8

    /// The parts of a set of bits.
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// The list of recipients.
    public static let recipients = Self(rawValue: 1 << 0)
    /// The header fields as they now are.
    public static let headers = Self(rawValue: 1 << 1)
    /// The message as a file.
    public static let message = Self(rawValue: 1 << 2)
    /// What every plugin answered so far.
    public static let trace = Self(rawValue: 1 << 3)
}

extension Needs {
    /// Each part with the word of protocol/.
    private static let parts: [(part: Self, word: String)] = [
        (.recipients, "recipients"), (.headers, "headers"), (.message, "message"),
        (.trace, "trace"),
    ]

    /// By the word of protocol/.
    package init?(word: String) {
        guard let part = Self.parts.first(where: { $0.word == word })?.part else { return nil }
        self = part
    }

    /// The words of protocol/ of those that are in the set.
    package var words: [String] { Self.parts.filter { self.contains($0.part) }.map(\.word) }
}
