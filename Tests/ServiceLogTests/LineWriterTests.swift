import Glibc
import Testing

@testable import ServiceLog

/// The writer with a real pipe, whose reader is this test.
@Suite struct LineWriterTests {
    /// Both ends of a pipe.
    ///
    /// They stay open: a writer's thread lives as long as the process, and would write what it
    /// still holds to the file that gets the descriptor's number next.
    private struct Pipe {
        let reader: Int32
        let writer: Int32

        init() {
            var ends: [Int32] = [-1, -1]
            pipe(&ends)
            (self.reader, self.writer) = (ends[0], ends[1])
        }

        /// The next line, without its LF.
        func nextLine() -> String? {
            var octets: [UInt8] = []
            var octet: UInt8 = 0
            while read(self.reader, &octet, 1) == 1, octet != 0x0A { octets.append(octet) }
            return octets.isEmpty ? nil : String(decoding: octets, as: UTF8.self)
        }
    }

    private static func line(_ number: Int) -> [UInt8] { Array("line \(number)\n".utf8) }

    @Test func `lines come in their order`() {
        let pipe = Pipe()
        let writer = LineWriter(descriptor: pipe.writer)
        for number in 0..<1_000 { writer.write(Self.line(number)) }
        for number in 0..<1_000 { #expect(pipe.nextLine() == "line \(number)") }
    }

    @Test func `a reader that stops reading delays no caller, and gets a count of dropped lines`() {
        let pipe = Pipe()
        let writer = LineWriter(descriptor: pipe.writer, maximumOctets: 10_000)
        writer.sayDropped { Array("dropped \($0)\n".utf8) }
        // More than the pipe and the buffer hold, and no reader reads: if a write waited, the test
        // would never get behind this loop.
        let total = 100_000
        for number in 0..<total { writer.write(Self.line(number)) }
        // Every line is there, or counted where it is missing.
        var next = 0
        var gaps = 0
        while next < total, let line = pipe.nextLine() {
            if let count = line.split(separator: " ").last.flatMap({ Int($0) }),
                line.utf8.starts(with: "dropped".utf8)
            {
                next += count
                gaps += 1
            } else {
                #expect(line == "line \(next)")
                next += 1
            }
        }
        #expect(next == total)
        #expect(gaps > 0)
        writer.write(Self.line(total))
        #expect(pipe.nextLine() == "line \(total)")
    }

    @Test func `flush ends at its limit if no reader reads, and at once when all is written`() {
        let pipe = Pipe()
        let writer = LineWriter(descriptor: pipe.writer)
        writer.flush(withinMS: .max)  // nothing was ever written
        writer.write(Self.line(1))
        writer.flush(withinMS: .max)
        #expect(pipe.nextLine() == "line 1")
        for number in 0..<100_000 { writer.write(Self.line(number)) }
        writer.flush(withinMS: 5)
    }

    @Test func `a reader that left costs lines and nothing else`() {
        let writer = LineWriter(descriptor: -1)
        for number in 0..<10 { writer.write(Self.line(number)) }
        writer.flush(withinMS: .max)
    }

    @Test(arguments: [
        // Several lines: as many whole ones as PIPE_BUF takes.
        ([100, 3_996], 4_096), ([100, 3_997], 100), ([1, 1, 1], 3),
        // A longer line goes alone.
        ([5_000, 10], 5_000), ([4_096, 10], 4_096), ([4_097], 4_097),
    ])
    func `one write has whole lines, at most PIPE_BUF of them`(lengths: [Int], expected: Int) {
        var octets: [UInt8] = []
        for length in lengths { octets += [UInt8](repeating: 0x78, count: length - 1) + [0x0A] }
        octets.withUnsafeBytes { #expect(LineWriter.pieceOctets($0[...]) == expected) }
    }
}
