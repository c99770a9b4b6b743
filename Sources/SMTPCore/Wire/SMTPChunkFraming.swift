import Octets

/// Cuts a message out of chunks: so many octets follow each BDAT, as they are, without transparency.
///
/// It outlives a chunk: a CR that ends one is kept, for the next octet of the message decides what it
/// is. Nothing in a chunk ends it but the number of its octets.
///
/// - Note: RFC 3030 §2.
package struct SMTPChunkFraming: Sendable {
    package enum Progress: Equatable, Sendable {
        /// Everything was used that belongs to the chunk; more of it follows, or else the next call
        /// tells that it ended.
        case read
        /// The header block ended just before `consumed`; the chunk goes on.
        case headerEnded
        /// The chunk ended before this call.
        case chunkEnded
        /// The chunk was the last one, and ended before this call. The message is complete.
        case ended
    }

    /// Octets of the chunk that are still to come.
    private(set) package var octetsLeft = 0
    /// The chunk has no octets at all.
    private(set) package var isEmpty = true
    /// The message ends with the chunk.
    private(set) package var isLast = false
    /// The last octet of the message so far is a CR that the meter was not given.
    private var hasHeldReturn = false

    package init() {}

    /// BDAT announced a chunk.
    package mutating func begin(_ chunk: SMTPChunk) {
        self.octetsLeft = chunk.octets
        self.isEmpty = chunk.octets == 0
        self.isLast = chunk.isLast
    }

    /// Drops as much of the chunk as there is among so many octets.
    ///
    /// - Returns: How many octets are used up.
    package mutating func drop(of available: Int) -> Int {
        let dropped = min(available, self.octetsLeft)
        self.octetsLeft -= dropped
        return dropped
    }

    /// Reads on in the chunk.
    ///
    /// - Parameters:
    ///   - octets: Everything received and not yet consumed, oldest first.
    ///   - meter: The message so far; a new one begins a message.
    ///   - content: Where the message's own octets are appended, unless it will be refused.
    /// - Returns: What came of it, and how many octets are used up.
    package mutating func read(
        _ octets: borrowing Span<UInt8>,
        into meter: inout SMTPContentMeter,
        appendingTo content: inout [UInt8]
    ) -> (progress: Progress, consumed: Int) {
        guard self.octetsLeft > 0 else {
            guard self.isLast else { return (.chunkEnded, 0) }
            meter.endMessage(hasReturn: self.hasHeldReturn, appendingTo: &content)
            self.hasHeldReturn = false
            return (.ended, 0)
        }
        let available = min(octets.count, self.octetsLeft)
        guard available > 0 else { return (.read, 0) }
        var (hasHeaderEnded, consumed) = octets.extracting(..<available)
            .withUnsafeBufferPointer { self.read($0, into: &meter, appendingTo: &content) }
        if !hasHeaderEnded, consumed < available {
            self.hasHeldReturn = true
            consumed += 1
        }
        self.octetsLeft -= consumed
        return (hasHeaderEnded ? .headerEnded : .read, consumed)
    }

    /// Reads at least one octet; one is left at most, a CR, unless the header block ended.
    private mutating func read(
        _ octets: UnsafeBufferPointer<UInt8>,
        into meter: inout SMTPContentMeter,
        appendingTo content: inout [UInt8]
    ) -> (hasHeaderEnded: Bool, consumed: Int) {
        var run = SMTPContentMeter.Run()
        if self.hasHeldReturn {
            self.hasHeldReturn = false
            let (hasHeaderEnded, taken) = Self.readReturn(octets[0], &meter, &content)
            run.skip(taken)
            if hasHeaderEnded { return (true, run.end) }
        }
        while run.end < octets.count {
            if meter.isBinaryBody {
                run.end = octets.count
                break
            }
            switch meter.readLine(octets, &run, appendingTo: &content) {
            case .more: break
            case .headerEnded: return (true, run.end)
            case .needsOctets: return (false, run.end)
            }
        }
        meter.keep(octets, &run, in: &content)
        return (false, run.end)
    }

    /// Gives the meter the CR that was held, with the octet behind it.
    ///
    /// - Returns: How many octets behind the CR were taken with it: one if it is an LF, else none.
    private static func readReturn(
        _ next: UInt8,
        _ meter: inout SMTPContentMeter,
        _ content: inout [UInt8]
    ) -> (hasHeaderEnded: Bool, taken: Int) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 2) { pair in
            pair.initialize(repeating: .carriageReturn)
            pair[1] = next
            let octets = UnsafeBufferPointer(pair)
            var run = SMTPContentMeter.Run()
            let progress = meter.readLine(octets, &run, appendingTo: &content)
            meter.keep(octets, &run, in: &content)
            return (progress == .headerEnded, run.end - 1)
        }
    }
}

/// What BDAT announces.
package struct SMTPChunk: Equatable, Sendable {
    /// Octets that follow the command line.
    package let octets: Int
    /// The message ends with them.
    package let isLast: Bool

    package enum SyntaxError: Error, Equatable, Sendable {
        /// No chunk size, or something else behind it than LAST.
        case malformed
        /// The size is beyond what an integer holds.
        case tooBig
    }

    package init(octets: Int, isLast: Bool) {
        self.octets = octets
        self.isLast = isLast
    }

    /// Reads the argument of BDAT: `chunk-size [SP "LAST"]`.
    init(_ octets: borrowing Span<UInt8>, in argument: Range<Int>) throws(SyntaxError) {
        var size = 0
        var isTooBig = false
        var index = argument.lowerBound
        while index < argument.upperBound, octets[index].isDigit {
            let (product, isOver) = size.multipliedReportingOverflow(by: 10)
            let (sum, isOverToo) = product.addingReportingOverflow(Int(octets[index] &- 0x30))
            if isOver || isOverToo { isTooBig = true }
            size = isTooBig ? 0 : sum
            index += 1
        }
        guard index > argument.lowerBound else { throw .malformed }
        let sizeEnd = index
        while index < argument.upperBound, octets[index] == .space { index += 1 }
        let hasMore = index < argument.upperBound
        if hasMore {
            guard index > sizeEnd, octets.equals("LAST", in: index..<argument.upperBound) else {
                throw .malformed
            }
        }
        guard !isTooBig else { throw .tooBig }
        self.init(octets: size, isLast: hasMore)
    }
}
