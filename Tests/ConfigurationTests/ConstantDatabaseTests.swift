import Testing

@testable import Configuration

@Suite struct ConstantDatabaseTests {
    /// A map of records `key → x`, whose tables hold slots of zeros; a reader of keys does not look.
    private func map(_ keys: [String]) -> [UInt8] {
        func number(_ value: Int) -> [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
        }
        var records: [UInt8] = []
        for key in keys { records += number(key.utf8.count) + number(1) + Array(key.utf8) + [0x78] }
        let tables = 2_048 + records.count
        var header: [UInt8] = []
        for table in 0..<256 {
            header += number(tables) + number(table == 0 ? keys.count * 2 : 0)
        }
        return header + records + [UInt8](repeating: 0, count: keys.count * 16)
    }

    private func keys(_ octets: [UInt8]) -> [String]? {
        ConstantDatabase(octets)?.keys.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test(arguments: [[], ["a"], ["example.com", ".below.example", ""]])
    func `the keys are read in their order`(keys: [String]) {
        #expect(self.keys(self.map(keys)) == keys)
    }

    @Test func `a map that is cut anywhere is none`() {
        let octets = self.map(["example.com", "example.org"])
        for count in 0..<octets.count { #expect(self.keys(Array(octets[..<count])) == nil) }
    }

    @Test func `numbers that point outside are refused`() {
        let octets = self.map(["example.com", "example.org"])
        for offset in [0, 3, 4, 7, 2_048, 2_051, 2_052, 2_055] {
            var broken = octets
            broken[offset] = 0xFF
            #expect(self.keys(broken) == nil)
        }
    }
}
