/// Lets so many lines a second pass and counts the rest.
struct LogThrottle {
    static let linesPerSecond = 20

    private var secondMS: Int64 = 0
    private var lines = 0
    private var suppressed = 0

    /// The number of lines suppressed before this one; `nil` if this one is to be suppressed too.
    mutating func admits(now: Int64) -> Int? {
        if now - self.secondMS >= 1_000 {
            self.secondMS = now
            self.lines = 0
        }
        self.lines += 1
        guard self.lines <= Self.linesPerSecond else {
            self.suppressed += 1
            return nil
        }
        defer { self.suppressed = 0 }
        return self.suppressed
    }
}
