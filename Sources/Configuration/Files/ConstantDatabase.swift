/// The keys of a CDB file, as `qmail-newmrh`, `cdbmake` or `cdb -c` write it.
///
/// The file begins with 256 pairs of 32-bit little-endian numbers, the places and lengths of its hash
/// tables; records follow, each the lengths of key and data and then both; then the tables. The keys
/// are all that control files of this kind have to say (D. J. Bernstein, "A structure for constant
/// databases").
struct ConstantDatabase {
    /// Octets of the table of tables.
    private static let headerOctets = 2_048

    /// In the order of the file.
    private(set) var keys: [ArraySlice<UInt8>] = []

    /// - Returns: `nil` if the octets are no CDB, or a part of one.
    init?(_ octets: [UInt8]) {
        guard octets.count >= Self.headerOctets else { return nil }
        func number(_ offset: Int) -> Int? {
            guard offset >= 0, offset + 4 <= octets.count else { return nil }
            return octets[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
        }
        var recordsEnd = octets.count
        var slots = 0
        for table in stride(from: 0, to: Self.headerOctets, by: 8) {
            guard let place = number(table), let length = number(table + 4),
                place >= Self.headerOctets, place + length * 8 <= octets.count
            else { return nil }
            recordsEnd = min(recordsEnd, place)
            slots += length
        }
        var offset = Self.headerOctets
        while offset < recordsEnd {
            guard let keyOctets = number(offset), let dataOctets = number(offset + 4) else {
                return nil
            }
            let key = offset + 8
            let end = key + keyOctets + dataOctets
            guard end <= recordsEnd else { return nil }
            self.keys.append(octets[key..<key + keyOctets])
            offset = end
        }
        // Each record has two slots; fewer means that records were cut off or tables are not ours.
        guard offset == recordsEnd, slots == self.keys.count * 2 else { return nil }
    }
}
