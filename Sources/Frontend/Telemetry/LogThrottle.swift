/// Lets a number of lines a period pass, and counts the others.
struct LogThrottle {
    private let linesOfPeriod: Int
    private let periodMS: Int64
    private var periodBeganMS: Int64 = 0
    private var lines = 0
    /// Suppressed lines whose number has not been logged yet.
    private(set) var suppressed = 0

    init(lines: Int = 20, periodMS: Int64 = 1_000) {
        self.linesOfPeriod = lines
        self.periodMS = periodMS
    }

    /// Asks for a line at the time `now`.
    ///
    /// - Returns: How many lines were suppressed before this one; `nil` if this one is suppressed
    ///   too.
    mutating func admits(now: Int64) -> Int? {
        if now - self.periodBeganMS >= self.periodMS {
            self.periodBeganMS = now
            self.lines = 0
        }
        self.lines += 1
        guard self.lines <= self.linesOfPeriod else {
            self.suppressed += 1
            return nil
        }
        defer { self.suppressed = 0 }
        return self.suppressed
    }
}
