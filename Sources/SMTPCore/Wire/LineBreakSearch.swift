import Octets

/// Searches octets for the end of a line, a word at a time.
///
/// Nearly every octet of a message is looked at here and nowhere else, so this is where the speed
/// of DATA is decided. The pointers never leave the call.
package enum LineBreakSearch {
    /// The offset of the first CR or LF at or after `start`, or `octets.count`.
    ///
    /// - Complexity: O(*n*), eight octets a step, thirty-two where it pays.
    @inline(__always)
    static func firstLineBreak(in octets: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        let raw = UnsafeRawBufferPointer(octets)
        let count = raw.count
        guard let base = raw.baseAddress, start < count else { return count }
        var index = start
        while index &+ 32 <= count {
            let first = self.word(base, index)
            let second = self.word(base, index &+ 8)
            let third = self.word(base, index &+ 16)
            let fourth = self.word(base, index &+ 24)
            let marks = (
                self.marks(first), self.marks(second), self.marks(third), self.marks(fourth)
            )
            if marks.0 | marks.1 | marks.2 | marks.3 != 0 {
                if marks.0 != 0 { return index &+ (marks.0.trailingZeroBitCount &>> 3) }
                if marks.1 != 0 { return index &+ 8 &+ (marks.1.trailingZeroBitCount &>> 3) }
                if marks.2 != 0 { return index &+ 16 &+ (marks.2.trailingZeroBitCount &>> 3) }
                return index &+ 24 &+ (marks.3.trailingZeroBitCount &>> 3)
            }
            index &+= 32
        }
        while index &+ 8 <= count {
            let marks = self.marks(self.word(base, index))
            if marks != 0 { return index &+ (marks.trailingZeroBitCount &>> 3) }
            index &+= 8
        }
        while index < count {
            let octet = raw[index]
            if octet == .carriageReturn || octet == .lineFeed { return index }
            index &+= 1
        }
        return count
    }

    /// Eight octets, the first in the lowest bits.
    ///
    /// The caller checked that they are there.
    @inline(__always)
    private static func word(_ base: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// A word whose lowest set bit lies in the first CR or LF of `word`; 0 if it holds neither.
    ///
    /// `(x - 0x01…) & ~x & 0x80…` marks the octets of `x` that are zero. A borrow can mark a
    /// wrong octet, but only above a right one, so the lowest mark is exact.
    @inline(__always)
    private static func marks(_ word: UInt64) -> UInt64 {
        let returns = word ^ 0x0D0D_0D0D_0D0D_0D0D
        let feeds = word ^ 0x0A0A_0A0A_0A0A_0A0A
        let ones: UInt64 = 0x0101_0101_0101_0101
        return (((returns &- ones) & ~returns) | ((feeds &- ones) & ~feeds))
            & 0x8080_8080_8080_8080
    }
}
