import Octets

extension Bytes {
    /// Whether the octets are the same but for the case of ASCII letters.
    public func equalsIgnoringASCIICase(_ other: Bytes) -> Bool {
        self.octets.count == other.octets.count
            && zip(self.octets, other.octets).allSatisfy {
                $0.lowerCased == $1.lowerCased
            }
    }

    /// The octets with ASCII letters in lower case.
    public var asciiLowercased: Bytes {
        Bytes(octets: self.octets.map(\.lowerCased))
    }
}
