import Glibc

/// Loops over octets that look at eight of them at a time.
///
/// The only file of this target that reads memory without a bounds check in release; each load is
/// guarded by the line above it, and the tests run every function on every alignment and length.
package enum OctetSearch {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highBits: UInt64 = 0x8080_8080_8080_8080

    /// The offset of the first octet that a JSON string cannot hold as it is: a quotation mark, a
    /// reverse solidus, or one below 0x20.
    ///
    /// - Returns: `text.count` if there is none from `start` on.
    @inline(__always)
    static func firstSpecial(in text: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        var offset = start
        guard let base = UnsafeRawPointer(text.baseAddress), start >= 0 else { return text.count }
        while offset + 8 <= text.count {
            let word = self.load(base, offset)
            let quote = word ^ (self.ones &* 0x22)
            let solidus = word ^ (self.ones &* 0x5C)
            // The classic tests for a zero octet and for one below n: the lowest octet marked is a
            // true one, those above it may be carried into.
            let marks =
                (((quote &- self.ones) & ~quote) | ((solidus &- self.ones) & ~solidus)
                    | ((word &- (self.ones &* 0x20)) & ~word)) & self.highBits
            if marks != 0 { return offset + marks.trailingZeroBitCount / 8 }
            offset += 8
        }
        while offset < text.count {
            let octet = text[offset]
            if octet < 0x20 || octet == 0x22 || octet == 0x5C { return offset }
            offset += 1
        }
        return text.count
    }

    /// The offset of the first LF; `nil` if there is none from `start` on.
    package static func firstLineFeed(in text: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var offset = start
        guard let base = text.baseAddress, start >= 0 else { return nil }
        while offset + 8 <= text.count {
            let word = self.load(base, offset) ^ (self.ones &* 0x0A)
            let marks = (word &- self.ones) & ~word & self.highBits
            if marks != 0 { return offset + marks.trailingZeroBitCount / 8 }
            offset += 8
        }
        while offset < text.count {
            if text[offset] == 0x0A { return offset }
            offset += 1
        }
        return nil
    }

    /// Whether `word` stands at `start`.
    package static func isAt(
        _ word: StaticString,
        in text: UnsafeBufferPointer<UInt8>,
        from start: Int
    ) -> Bool {
        let count = word.utf8CodeUnitCount
        guard let base = text.baseAddress, start >= 0, start <= text.count,
            text.count - start >= count
        else { return false }
        return memcmp(base + start, word.utf8Start, count) == 0
    }

    /// A few bits that equal texts have in common, wherever they stand: first and last eight octets.
    ///
    /// `place` is within `text`.
    ///
    /// - Returns: 24 bits.
    @inline(__always)
    static func spelling(of place: Range<Int>, in text: UnsafeBufferPointer<UInt8>) -> UInt32 {
        var first: UInt64 = 0
        var last: UInt64 = 0
        if place.count >= 8, place.upperBound <= text.count,
            let base = UnsafeRawPointer(text.baseAddress)
        {
            first = self.load(base, place.lowerBound)
            last = self.load(base, place.upperBound - 8)
        } else if place.lowerBound + 8 <= text.count, place.count < 8,
            let base = UnsafeRawPointer(text.baseAddress)
        {
            let word = self.load(base, place.lowerBound)
            first = word & ((1 << UInt64(8 * place.count)) &- 1)
        } else {
            for offset in place.reversed() { first = first << 8 | UInt64(text[offset]) }
        }
        let mixed =
            (first ^ (last &* 0x9E37_79B9_7F4A_7C15) &+ UInt64(place.count))
            &* 0xD6E8_FEB8_6659_FD93
        return UInt32(truncatingIfNeeded: mixed >> 40)
    }

    /// Whether every octet is below 0x80.
    static func isASCII(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        var offset = 0
        guard let base = UnsafeRawPointer(text.baseAddress) else { return true }
        while offset + 32 <= text.count {
            let word =
                self.load(base, offset) | self.load(base, offset + 8)
                | self.load(base, offset + 16) | self.load(base, offset + 24)
            if word & self.highBits != 0 { return false }
            offset += 32
        }
        while offset < text.count {
            if text[offset] >= 0x80 { return false }
            offset += 1
        }
        return true
    }

    /// Whether octets are UTF-8: no overlong form, no surrogate, nothing beyond U+10FFFF.
    static func isUTF8(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        self.isASCII(text) || (try? UTF8Span(validating: text.span)) != nil
    }

    /// Octet 0 is the lowest of the word, whatever the machine.
    private static func load(_ base: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}
