/// Makes session ids: 16 characters of Crockford's base 32, ordered by time.
///
/// 48 bits of Unix milliseconds, 16 bits drawn at start and 16 bits of a counter that goes round:
/// unique among frontends that share a store, without a question to any of them.
struct SessionIdentifierSource {
    private let node = UInt16.random(in: .min ... .max)
    private var counter = UInt16.random(in: .min ... .max)

    private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

    /// A new id; `milliseconds` is Unix time.
    mutating func next(milliseconds: Int64) -> String {
        self.counter &+= 1
        let time = UInt64(truncatingIfNeeded: milliseconds) & 0xFFFF_FFFF_FFFF
        let low = UInt32(self.node) << 16 | UInt32(self.counter)
        return String(unsafeUninitializedCapacity: 16) { text in
            // 80 bits, five at a time: the first 48 are the time, the last 32 node and counter.
            for index in 0..<16 {
                let bit = 75 - 5 * index
                let five: UInt64 =
                    if bit >= 32 {
                        time >> UInt64(bit - 32)
                    } else if bit > 27 {
                        time << UInt64(32 - bit) | UInt64(low) >> UInt64(bit)
                    } else {
                        UInt64(low) >> UInt64(bit)
                    }
                text[index] = Self.alphabet[Int(five & 31)]
            }
            return 16
        }
    }
}
