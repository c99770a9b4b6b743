/// FNV-1a, 64 bits: the same in every run.
package struct StableHash {
    package private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    package init() {}

    package mutating func combine(_ number: UInt64) {
        self.combine((0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) })
    }

    package mutating func combine(_ octets: [UInt8]) {
        for octet in octets { self.value = (self.value ^ UInt64(octet)) &* 0x0000_0100_0000_01B3 }
        self.value = (self.value ^ 0xFF) &* 0x0000_0100_0000_01B3
    }
}
