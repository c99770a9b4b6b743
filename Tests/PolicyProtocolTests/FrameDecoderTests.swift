import PolicyProtocol
import Testing

/// Lines out of a stream, however it is cut (protocol/README.md §1).
@Suite struct FrameDecoderTests {
    /// Feeds octets, and returns the lines that are complete.
    private func feed(_ octets: [UInt8], to decoder: inout FrameDecoder) throws -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var problem: FrameTooLong?
        octets.withUnsafeBytes { bytes in
            do throws(FrameTooLong) {
                try decoder.receive(bytes) { line in
                    lines.append(line)
                    return true
                }
            } catch {
                problem = error
            }
        }
        if let problem { throw problem }
        return lines
    }

    private func lines(_ octets: [UInt8], splitAt place: Int, limit: Int) throws -> [[UInt8]] {
        var decoder = FrameDecoder(maximumFrameOctets: limit)
        let first = try self.feed(Array(octets[..<place]), to: &decoder)
        return try first + self.feed(Array(octets[place...]), to: &decoder)
    }

    @Test(arguments: [1, 2, 7, 8, 9, 64])
    func `a line of max_frame octets passes and one more does not, at every split`(
        limit: Int
    ) throws {
        for count in [limit - 1, limit, limit + 1] where count > 0 {
            let line = [UInt8](repeating: 0x61, count: count - 1)
            let octets = line + [0x0A]
            for place in 0...octets.count {
                if count <= limit {
                    #expect(try self.lines(octets, splitAt: place, limit: limit) == [line])
                } else {
                    #expect(throws: FrameTooLong()) {
                        try self.lines(octets, splitAt: place, limit: limit)
                    }
                }
            }
        }
    }

    @Test func `three lines and a half are three lines, at every split`() throws {
        let octets = Array("{}\n\n{\"a\":1}\n{\"b\"".utf8)
        for place in 0...octets.count {
            let lines = try self.lines(octets, splitAt: place, limit: 64)
            #expect(lines == [Array("{}".utf8), [], Array("{\"a\":1}".utf8)])
        }
    }

    @Test func `a line without its end cannot grow past the limit, octet by octet`() {
        var decoder = FrameDecoder(maximumFrameOctets: 10)
        var taken = 0
        while taken < 100, (try? self.feed([0x61], to: &decoder)) != nil { taken += 1 }
        #expect(taken == 9)
    }

    @Test func `what comes after the reader has had enough is dropped`() {
        var decoder = FrameDecoder(maximumFrameOctets: 64)
        var lines = 0
        Array("a\nb\nc\nd".utf8).withUnsafeBytes { bytes in
            try? decoder.receive(bytes) { _ in
                lines += 1
                return lines < 2
            }
        }
        #expect(lines == 2)
        #expect(!decoder.isMidFrame)
    }
}
