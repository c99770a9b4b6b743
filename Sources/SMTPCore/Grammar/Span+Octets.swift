import Octets

/// Small questions about runs of octets.
extension Span<UInt8> {
    /// A copy of the octets in `range`.
    func octets(_ range: Range<Int>) -> [UInt8] {
        self.extracting(range).withUnsafeBufferPointer { [UInt8]($0) }
    }

    /// Whether `text`, in upper case, stands at `start` in any letter case.
    func hasPrefix(_ text: StaticString, at start: Int, before end: Int) -> Bool {
        let count = text.utf8CodeUnitCount
        guard end - start >= count else { return false }
        return text.withUTF8Buffer { expected in
            for offset in 0..<count where self[start + offset].upperCased != expected[offset] {
                return false
            }
            return true
        }
    }

    /// Whether exactly `text`, in upper case, stands in `range` in any letter case.
    func equals(_ text: StaticString, in range: Range<Int>) -> Bool {
        range.count == text.utf8CodeUnitCount
            && self.hasPrefix(text, at: range.lowerBound, before: range.upperBound)
    }

    func contains(_ octet: UInt8, before end: Int) -> Bool {
        for index in 0..<end where self[index] == octet { return true }
        return false
    }

    /// The end of the UTF-8 character beyond ASCII that begins at `start`, or `nil`.
    ///
    /// Strict: no overlong form, surrogate, or value beyond U+10FFFF. RFC 3629 §4.
    func endOfUTF8Character(at start: Int, before end: Int) -> Int? {
        let first = self[start]
        let length: Int
        var lower: UInt8 = 0x80
        var upper: UInt8 = 0xBF
        switch first {
        case 0xC2...0xDF: length = 2
        case 0xE0...0xEF:
            length = 3
            if first == 0xE0 { lower = 0xA0 }
            if first == 0xED { upper = 0x9F }
        case 0xF0...0xF4:
            length = 4
            if first == 0xF0 { lower = 0x90 }
            if first == 0xF4 { upper = 0x8F }
        default: return nil
        }
        guard end - start >= length else { return nil }
        guard self[start + 1] >= lower, self[start + 1] <= upper else { return nil }
        for index in start + 2..<start + length where self[index] & 0xC0 != 0x80 { return nil }
        return start + length
    }

    /// Whether the octets are valid UTF-8, ASCII included.
    func isUTF8(from start: Int, to end: Int) -> Bool {
        var index = start
        while index < end {
            if !self[index].isNonASCII {
                index += 1
            } else if let next = self.endOfUTF8Character(at: index, before: end) {
                index = next
            } else {
                return false
            }
        }
        return true
    }
}
