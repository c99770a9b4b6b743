import Testing

@testable import SMTPCore

struct LineBreakSearchTests {
    @Test(arguments: [UInt8(0x0D), 0x0A])
    func `each line break is found at each offset of runs of each length`(octet: UInt8) {
        for count in 0..<80 {
            for position in 0..<count {
                var run = [UInt8](repeating: 0x61, count: count)
                run[position] = octet
                for start in 0...count {
                    #expect(self.find(run, start) == (position >= start ? position : count))
                }
            }
            #expect(self.find([UInt8](repeating: 0x61, count: count), 0) == count)
        }
    }

    @Test func `no other octet is taken for a line break`() {
        for octet in UInt8.min...UInt8.max where octet != 0x0D && octet != 0x0A {
            let run = [UInt8](repeating: octet, count: 41)
            #expect(self.find(run, 0) == 41)
        }
    }

    @Test func `random runs are searched as octet by octet`() {
        var random = SeededGenerator(seed: 1)
        for _ in 0..<2000 {
            let count = Int.random(in: 0..<120, using: &random)
            let alphabet: [UInt8] = [0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x00, 0x8A, 0x8D, 0x09, 0xFF]
            let run = (0..<count).map { _ in alphabet.randomElement(using: &random) ?? 0 }
            let start = Int.random(in: 0...count, using: &random)
            let plain = run[start...].firstIndex { $0 == 0x0A || $0 == 0x0D } ?? count
            #expect(self.find(run, start) == plain)
        }
    }

    private func find(_ run: [UInt8], _ start: Int) -> Int {
        run.withUnsafeBufferPointer { LineBreakSearch.firstLineBreak(in: $0, from: start) }
    }
}
