import Glibc

/// How the work of something grows with its size, by CPU time of this thread.
enum WorkGrowth {
    /// Measures a size, and four times the size, by turns; of each the least of several runs counts,
    /// since what disturbs a run only makes it longer.
    ///
    /// - Parameters:
    ///   - size: The smaller size.
    ///   - prepare: Makes what is needed for a size, and returns the work that is measured.
    /// - Returns: How many times as long four times the size takes: 4 if the work is in proportion, 16
    ///   if it is square.
    static func ofFourTimes(_ size: Int, _ prepare: (Int) -> () -> Void) -> Double {
        var (small, large) = (Int.max, Int.max)
        for _ in 0..<5 {
            small = min(small, self.nanoseconds(prepare(size)))
            large = min(large, self.nanoseconds(prepare(4 * size)))
        }
        return Double(large) / Double(max(small, 1))
    }

    private static func nanoseconds(_ work: () -> Void) -> Int {
        var (start, end) = (timespec(), timespec())
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start)
        work()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end)
        return (end.tv_sec - start.tv_sec) * 1_000_000_000 + end.tv_nsec - start.tv_nsec
    }
}
