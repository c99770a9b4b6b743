/// The numbers that ``Store/add(_:to:expiresIn:)`` counts with.
enum StoreCounter {
    /// The sum of a value and an amount.
    ///
    /// - Throws: ``StoreError`` with `.notCounter`.
    static func sum(_ value: [UInt8], _ amount: Int64) throws(StoreError) -> Int64 {
        let digits = String(decoding: value, as: UTF8.self)
        // No other spelling: Redis takes none.
        guard let number = Int64(digits), digits == "\(number)" else {
            throw StoreError(.notCounter, "the value is no number")
        }
        let (sum, isOver) = number.addingReportingOverflow(amount)
        guard !isOver else { throw StoreError(.notCounter, "the sum is too large") }
        return sum
    }
}
