extension Bytes {
    /// Numbers with colons between them: how some plugins keep several numbers in one entry of the store.
    ///
    /// - Returns: `nil` unless there are exactly `count` decimal numbers of 1 to 18 digits.
    package func decimals(count: Int) -> [Int64]? {
        let parts = self.octets.split(
            separator: UInt8(ascii: ":"),
            omittingEmptySubsequences: false
        )
        guard parts.count == count else { return nil }
        var numbers: [Int64] = []
        for part in parts {
            guard (1...18).contains(part.count),
                part.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let number = Int64(String(decoding: part, as: UTF8.self))
            else { return nil }
            numbers.append(number)
        }
        return numbers
    }
}
