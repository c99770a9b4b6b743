/// Lines that wait to be written, bounded in octets.
///
/// A line is kept whole or dropped whole. After the first one that does not fit, all are dropped until
/// the buffer is drained, so that the gap is in one place and its size can be said there.
struct LineBuffer {
    /// What was taken out with one ``drain()``.
    struct Batch: Equatable {
        /// Whole lines, each with its LF.
        var octets: [UInt8]
        /// How many lines were dropped behind them.
        var dropped: UInt64
    }

    let maximumOctets: Int
    private var octets: [UInt8] = []
    private var dropped: UInt64 = 0
    /// Storage of a batch that was written, to be used again.
    private var spare: [UInt8] = []

    /// Storage that grew beyond this in a burst is given back to the system.
    static let keptCapacity = 65_536

    init(maximumOctets: Int) { self.maximumOctets = maximumOctets }

    var isEmpty: Bool { self.octets.isEmpty && self.dropped == 0 }

    /// Keeps a line, or counts it.
    ///
    /// - Parameter line: With its LF.
    /// - Returns: Whether it was kept.
    @discardableResult
    mutating func append(_ line: [UInt8]) -> Bool {
        guard self.dropped == 0, line.count <= self.maximumOctets - self.octets.count else {
            self.dropped &+= 1
            return false
        }
        self.octets.append(contentsOf: line)
        return true
    }

    /// Takes everything out; `nil` when there is nothing.
    mutating func drain() -> Batch? {
        guard !self.isEmpty else { return nil }
        let batch = Batch(octets: self.octets, dropped: self.dropped)
        self.octets = self.spare
        self.spare = []
        self.dropped = 0
        return batch
    }

    /// Gives back the storage of a batch.
    mutating func recycle(_ octets: consuming [UInt8]) {
        guard octets.capacity <= Self.keptCapacity else { return }
        self.spare = octets
        self.spare.removeAll(keepingCapacity: true)
    }
}
