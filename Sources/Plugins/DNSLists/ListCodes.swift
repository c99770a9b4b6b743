import PolicyKit

/// Which answers of a list in the DNS count: a pattern of addresses, as `127.0.0.[2..11]`.
///
/// Each of the four parts is a number, or numbers and ranges in brackets: `[2;4..6;10]`.
struct ListCodes: Sendable, Equatable {
    private let parts: [[ClosedRange<UInt8>]]

    /// Reads a pattern.
    ///
    /// - Returns: `nil` if it is none.
    init?(_ text: some StringProtocol) {
        var rest = Substring(text)
        var parts: [[ClosedRange<UInt8>]] = []
        repeat {
            let part: Substring
            if rest.hasPrefix("[") {
                guard let end = rest.firstIndex(of: "]") else { return nil }
                part = rest[rest.index(after: rest.startIndex)..<end]
                rest = rest[rest.index(after: end)...]
            } else {
                part = rest.prefix { $0 != "." }
                guard !part.contains(";") else { return nil }
                rest = rest.dropFirst(part.count)
            }
            let items = part.split(separator: ";", omittingEmptySubsequences: false)
            let ranges = items.compactMap { Self.range($0) }
            guard ranges.count == items.count else { return nil }
            parts.append(ranges)
            guard parts.count < 4 else { break }
            guard rest.popFirst() == "." else { return nil }
        } while true
        guard rest.isEmpty else { return nil }
        self.parts = parts
    }

    /// Whether `address` fits; an IPv6 address never does.
    func contains(_ address: IPAddress) -> Bool {
        guard !address.isIPv6 else { return false }
        return zip(self.parts, address.octets).allSatisfy { ranges, octet in
            ranges.contains { $0.contains(octet) }
        }
    }

    /// `7`, or `2..11`.
    private static func range(_ text: Substring) -> ClosedRange<UInt8>? {
        if let octet = Self.octet(text) { return octet...octet }
        let low = text.prefix { $0 != "." }
        let rest = text.dropFirst(low.count)
        guard rest.hasPrefix(".."), let low = Self.octet(low),
            let high = Self.octet(rest.dropFirst(2)),
            low <= high
        else { return nil }
        return low...high
    }

    private static func octet(_ text: Substring) -> UInt8? {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt8(text) : nil
    }
}
