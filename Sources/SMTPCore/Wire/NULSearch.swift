/// Looks for a NUL in octets, eight words at a time.
///
/// Every octet of a message is looked at here, so the loop has no way out in the middle.
enum NULSearch {
    static func isFound(in octets: UnsafeBufferPointer<UInt8>) -> Bool {
        let raw = UnsafeRawBufferPointer(octets)
        guard let base = raw.baseAddress else { return false }
        var marks = SIMD8<UInt64>()
        let ones = SIMD8<UInt64>(repeating: 0x0101_0101_0101_0101)
        var index = 0
        while index &+ 64 <= raw.count {
            let words = base.loadUnaligned(fromByteOffset: index, as: SIMD8<UInt64>.self)
            // The octets that are zero, and perhaps some above one that is.
            marks |= (words &- ones) & ~words
            index &+= 64
        }
        while index &+ 8 <= raw.count {
            let word = base.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            marks[0] |= (word &- ones[0]) & ~word
            index &+= 8
        }
        let mark =
            marks[0] | marks[1] | marks[2] | marks[3] | marks[4] | marks[5] | marks[6] | marks[7]
        if mark & 0x8080_8080_8080_8080 != 0 { return true }
        while index < raw.count {
            if raw[index] == 0 { return true }
            index &+= 1
        }
        return false
    }
}
