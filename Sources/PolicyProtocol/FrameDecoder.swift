import JSON

/// Cuts a stream of octets into lines of at most `max_frame` octets, the LF included.
///
/// Holds at most one incomplete line. A line without its LF when the stream ends is no message
/// (protocol/README.md §1).
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
        var start = 0
        while let end = OctetSearch.firstLineFeed(in: octets, from: start) {
            let piece = UnsafeRawBufferPointer(rebasing: octets[start..<end])
            guard self.partial.count + piece.count < self.maximumFrameOctets else {
                throw FrameTooLong()
            }
            start = end + 1
            let line: [UInt8]
            if self.partial.isEmpty {
                line = [UInt8](unsafeUninitializedCapacity: piece.count) { buffer, count in
                    UnsafeMutableRawBufferPointer(buffer).copyMemory(from: piece)
                    count = piece.count
                }
            } else {
                self.partial.append(contentsOf: piece)
                line = self.partial
                self.partial = []
            }
            guard body(line) else { return }
        }
        let rest = UnsafeRawBufferPointer(rebasing: octets[start...])
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
