internal import Octets

/// A list of tags, as signatures and key records have it (RFC 6376 §3.2).
///
/// Octets above 127 may stand in a value (RFC 8616 §3).
package struct TagList: Sendable {
    /// The most octets of a list, and the most tags.
    package static let maximumOctets = 65_536
    package static let maximumTags = 64

    private struct Tag: Sendable {
        let name: [UInt8]
        /// From behind "=" to the semicolon or the end.
        let value: Range<Int>
    }

    private let octets: [UInt8]
    private var tags: [Tag] = []

    /// Reads a list.
    ///
    /// - Returns: `nil` if it is none, if a tag stands there twice, or if it is larger than the limits.
    package init?(_ octets: [UInt8]) {
        guard octets.count <= Self.maximumOctets else { return nil }
        self.octets = octets
        var start = 0
        while start < octets.count {
            let end = octets[start...].firstIndex(of: UInt8(ascii: ";")) ?? octets.count
            let isLast = end == octets.count
            if isLast, octets[start..<end].allSatisfy(\.isFolding) { break }
            guard let tag = Self.tag(octets, start..<end), self.tags.count < Self.maximumTags,
                !self.tags.contains(where: { $0.name == tag.name })
            else { return nil }
            self.tags.append(tag)
            start = end + 1
        }
        if self.tags.isEmpty { return nil }
    }

    private static func tag(_ octets: [UInt8], _ range: Range<Int>) -> Tag? {
        guard let equals = octets[range].firstIndex(of: .equals) else { return nil }
        let name = Array(octets[range.lowerBound..<equals]).trimmed
        guard name.first?.isLetter == true,
            name.allSatisfy({ $0.isLetterOrDigit || $0 == UInt8(ascii: "_") })
        else { return nil }
        let value = equals + 1..<range.upperBound
        guard octets[value].allSatisfy({ $0.isFolding || ($0 > .space && $0 != .delete) }) else {
            return nil
        }
        return Tag(name: name, value: value)
    }

    /// The name of the first tag.
    package var firstName: String? {
        self.tags.first.map { String(decoding: $0.name, as: UTF8.self) }
    }

    /// The value of a tag without the white space around it; `nil` if there is no such tag.
    package subscript(_ name: StaticString) -> [UInt8]? {
        self.range(name).map { Array(self.octets[$0]).trimmed }
    }

    /// The value of a tag as text; `nil` also if it is no UTF-8.
    package func text(_ name: StaticString) -> String? {
        self[name].flatMap { String(validating: $0, as: UTF8.self) }
    }

    /// The octets that the base64 of a tag stands for; white space in it does not count.
    ///
    /// - Returns: `nil` if there is no such tag, or if it is no base64 or empty.
    package func base64(_ name: StaticString) -> [UInt8]? {
        guard let value = self[name],
            let octets = Base64.decode(value.filter { !$0.isFolding }), !octets.isEmpty
        else { return nil }
        return octets
    }

    /// The parts of a value between colons, without the white space around each, in lower case.
    package func list(_ name: StaticString) -> [[UInt8]]? {
        self[name].map { value in
            value.split(separator: .colon, omittingEmptySubsequences: false)
                .map { Array($0).trimmed.map(\.lowerCased) }
        }
    }

    /// The list with the value of one tag left out, white space around it included.
    package func emptied(_ name: StaticString) -> [UInt8] {
        guard let range = self.range(name) else { return self.octets }
        return Array(self.octets[..<range.lowerBound] + self.octets[range.upperBound...])
    }

    private func range(_ name: StaticString) -> Range<Int>? {
        name.withUTF8Buffer { wanted in
            self.tags.first { $0.name.elementsEqual(wanted) }?.value
        }
    }
}

extension UInt8 {
    /// White space within a folded field.
    var isFolding: Bool { self.isBlank || self == .carriageReturn || self == .lineFeed }
}

extension [UInt8] {
    /// Without folding white space at both ends.
    var trimmed: [UInt8] {
        guard let first = self.firstIndex(where: { !$0.isFolding }),
            let last = self.lastIndex(where: { !$0.isFolding })
        else { return [] }
        return Array(self[first...last])
    }

    /// The number that these digits write, the largest one if it is larger; `nil` if they are no digits, or too
    /// many.
    func number(maximumDigits: Int) -> Int64? {
        guard !self.isEmpty, self.count <= maximumDigits, self.allSatisfy(\.isDigit) else {
            return nil
        }
        return Int64(String(decoding: self, as: UTF8.self)) ?? .max
    }
}
