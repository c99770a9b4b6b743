import JSON
import NIOCore
import PolicyProtocol

/// A worker's lines in one buffer, which is sent at the end of a loop's turn.
struct WorkerOutput {
    /// The largest buffer that is kept for the next lines.
    private static let keptOctets = 262_144

    /// Where ``WorkerLine`` writes.
    var writer = JSONWriter()
    /// The longest line that the frontend accepts.
    var peerMaximumFrameOctets = 65_536

    /// Writes a verdict, if the frontend accepts one of its length.
    ///
    /// - Returns: What is wrong with it, and then nothing is written; else `nil`.
    mutating func write(_ verdict: PolicyVerdict) -> String? {
        let start = self.writer.octets.count
        WorkerLine.verdict(verdict, into: &self.writer)
        let length = self.writer.octets.count - start
        guard length > self.peerMaximumFrameOctets else { return nil }
        self.writer.truncate(to: start)
        return "a verdict of \(length) octets is more than the frontend accepts"
    }

    /// How much waits to be taken.
    var octets: Int { self.writer.octets.count }

    /// Everything written so far as a buffer to send; `nil` if there is nothing.
    mutating func take(_ allocator: ByteBufferAllocator) -> ByteBuffer? {
        guard !self.writer.octets.isEmpty else { return nil }
        let buffer = allocator.buffer(bytes: self.writer.octets)
        if self.writer.octets.count > Self.keptOctets {
            self.writer = JSONWriter()
        } else {
            self.writer.removeAll()
        }
        return buffer
    }
}
