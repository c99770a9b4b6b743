import NIOCore

extension NIODeadline {
    /// Monotonic milliseconds.
    var uptimeMilliseconds: Int64 { Int64(clamping: self.uptimeNanoseconds / 1_000_000) }
}
