import Testing

@testable import ServiceLog

@Suite struct LineBufferTests {
    private static func line(_ text: String) -> [UInt8] { Array("\(text)\n".utf8) }

    /// Appends the lines in turn, and drains.
    private static func batch(
        of lines: [String],
        maximumOctets: Int
    ) -> (kept: [Bool], batch: LineBuffer.Batch?) {
        var buffer = LineBuffer(maximumOctets: maximumOctets)
        var kept: [Bool] = []
        for line in lines { kept.append(buffer.append(self.line(line))) }
        return (kept, buffer.drain())
    }

    @Test func `lines come out in their order, whole`() {
        var buffer = LineBuffer(maximumOctets: 100)
        buffer.append(Self.line("one"))
        buffer.append(Self.line("two"))
        let first = buffer.drain()
        let second = buffer.drain()
        #expect(first == LineBuffer.Batch(octets: Array("one\ntwo\n".utf8), dropped: 0))
        #expect(second == nil)
        #expect(buffer.isEmpty)
    }

    @Test(arguments: [7, 8, 9])
    func `a line fits to its last octet, or is dropped and counted`(maximum: Int) {
        let (kept, batch) = Self.batch(of: ["one", "two"], maximumOctets: maximum)
        #expect(kept == [true, maximum >= 8])
        #expect(batch?.octets.count == (maximum >= 8 ? 8 : 4))
        #expect(batch?.dropped == (maximum >= 8 ? 0 : 1))
    }

    @Test func `after a dropped line all are dropped until the buffer is drained`() {
        var buffer = LineBuffer(maximumOctets: 8)
        buffer.append(Self.line("a"))
        buffer.append(Self.line("too long"))
        buffer.append(Self.line("b"))
        let first = buffer.drain()
        #expect(first == LineBuffer.Batch(octets: Self.line("a"), dropped: 2))
        buffer.append(Self.line("c"))
        let second = buffer.drain()
        #expect(second == LineBuffer.Batch(octets: Self.line("c"), dropped: 0))
    }

    @Test func `a line that can never fit is said to be missing`() {
        let (kept, batch) = Self.batch(of: ["too long"], maximumOctets: 4)
        #expect(kept == [false])
        #expect(batch == LineBuffer.Batch(octets: [], dropped: 1))
    }

    @Test(arguments: [(1_024, true), (LineBuffer.keptCapacity * 2, false)])
    func `storage is used again unless it grew in a burst`(capacity: Int, isKept: Bool) {
        var buffer = LineBuffer(maximumOctets: 1_000_000)
        var octets: [UInt8] = []
        octets.reserveCapacity(capacity)
        buffer.append(Self.line("a"))
        buffer.recycle(octets)
        _ = buffer.drain()
        buffer.append(Self.line("b"))
        let batch = buffer.drain()
        #expect(batch?.octets == Self.line("b"))
        #expect(((batch?.octets.capacity ?? 0) >= 1_024) == isKept)
    }
}
