/// Looks for a NUL in octets, a word at a time.
///
/// Every octet of a message is looked at here, so the loop has no way out in the middle: the compiler
/// makes vectors of it.
enum NULSearch {
    static func isFound(in octets: UnsafeBufferPointer<UInt8>) -> Bool {
        let raw = UnsafeRawBufferPointer(octets)
        guard let base = raw.baseAddress else { return false }
        var marks: UInt64 = 0
        var index = 0
        while index &+ 8 <= raw.count {
            let word = base.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            // The octets that are zero, and perhaps some above one that is.
            marks |= (word &- 0x0101_0101_0101_0101) & ~word
            index &+= 8
        }
        if marks & 0x8080_8080_8080_8080 != 0 { return true }
        while index < raw.count {
            if raw[index] == 0 { return true }
            index &+= 1
        }
        return false
    }
}
