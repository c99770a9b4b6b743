/// Cuts a stream of octets into lines of at most `max_frame` octets, the LF included.
///
/// Holds at most one incomplete line. A line without its LF when the stream ends is no message
/// (protocol §1, hardening row 11).
package struct FrameDecoder {
    /// Longest line accepted, with its LF.
    package let maximumFrameOctets: Int
    private var partial: [UInt8] = []

    package init(maximumFrameOctets: Int) { self.maximumFrameOctets = maximumFrameOctets }

    /// Whether the stream stands in the middle of a line.
    package var isMidFrame: Bool { !self.partial.isEmpty }

    /// Takes what arrived and calls `body` with each complete line, without its LF, in order.
    ///
    /// `body` returns false to stop; the rest of `octets` is dropped then.
    ///
    /// - Throws: ``FrameTooLong`` as soon as a line cannot fit any more.
    package mutating func receive(
        _ octets: UnsafeRawBufferPointer,
        _ body: ([UInt8]) -> Bool
    ) throws(FrameTooLong) {
        var rest = octets[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let count = self.partial.count + (end - rest.startIndex)
            guard count < self.maximumFrameOctets else { throw FrameTooLong() }
            let line: [UInt8]
            if self.partial.isEmpty {
                line = Array(rest[..<end])
            } else {
                line = self.partial + rest[..<end]
                self.partial = []
            }
            rest = rest[(end + 1)...]
            guard body(line) else { return }
        }
        guard self.partial.count + rest.count < self.maximumFrameOctets else {
            throw FrameTooLong()
        }
        if !rest.isEmpty { self.partial.append(contentsOf: rest) }
    }
}

/// A line is longer than this side accepts; the connection ends with `bye`.
package struct FrameTooLong: Error, Equatable {
    package init() {}
}
