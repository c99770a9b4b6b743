extension Bytes {
    /// Whether the octets are the same but for the case of ASCII letters.
    public func equalsIgnoringASCIICase(_ other: Bytes) -> Bool {
        self.octets.count == other.octets.count
            && zip(self.octets, other.octets).allSatisfy {
                $0.asciiLowercased == $1.asciiLowercased
            }
    }

    /// The octets with ASCII letters in lower case.
    public var asciiLowercased: Bytes {
        Bytes(octets: self.octets.map(\.asciiLowercased))
    }
}

extension UInt8 {
    /// The octet, an ASCII letter in lower case.
    package var asciiLowercased: UInt8 {
        UInt8(ascii: "A")...UInt8(ascii: "Z") ~= self ? self | 0x20 : self
    }
}
