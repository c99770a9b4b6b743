import Octets

/// Measures a message line by line: its size, its lines, its header, and what is wrong with it.
///
/// A framing gives it the message's own octets: ``SMTPDotFraming`` knows where the message ends and which
/// dots go, ``SMTPChunkFraming`` how much of it follows a BDAT. The meter is told nothing of that, and
/// outlives a run of content: it goes on where it stopped.
///
/// Only CRLF ends a line. A message that will be refused (a bare CR or LF, too big, a line too long) is
/// measured by the very same steps, it is merely not stored. 8-bit octets are content like any other,
/// and so is a NUL where it is allowed. The body of a binary message has no lines: all octets are content.
///
/// - Note: RFC 5321 §2.3.8 (lines), RFC 1870 §3 (size), RFC 5321 §6.3 (loops).
package struct SMTPContentMeter: Sendable {
    /// Why the message will be refused; empty while it will not.
    private(set) package var faults: SMTPContentFaults = []

    /// Octets of the message so far: CRLFs counted, transparency and final dot not (RFC 1870 §3).
    private(set) package var messageOctets = 0

    /// The next octet is the first of a line.
    private(set) var isAtLineStart = true
    /// That line follows a bare CR or LF that was replaced by CRLF.
    private(set) var followsBareNewline = false

    private let bareNewline: BareNewlineRule
    private let limits: SMTPLimits
    private let refusesNUL: Bool
    private let isBinary: Bool

    /// CRs that were read and not stored: the octet behind them decides what they are.
    private var heldReturns = 0
    /// Octets of the current line, without its CRLF and the dot of transparency.
    private var lineOctets = 0
    private var header = SMTPHeaderTracker()
    private var isInHeader = true

    /// `isBinary`: the client said BODY=BINARYMIME (RFC 3030 §3).
    package init(
        limits: SMTPLimits,
        bareNewline: BareNewlineRule,
        refusesNUL: Bool = false,
        isBinary: Bool = false
    ) {
        self.limits = limits
        self.bareNewline = bareNewline
        self.refusesNUL = refusesNUL
        self.isBinary = isBinary
    }

    /// Received and Delivered-To fields in the header block so far.
    package var hops: Int { self.header.hops }

    /// Where the body begins: the empty line that ends the header block belongs to it.
    ///
    /// Final once the block has ended, or the message; without a body it is the message's size.
    package var bodyOffset: Int {
        self.isInHeader ? self.messageOctets : self.header.lineStart
    }
}

// MARK: - Reading

extension SMTPContentMeter {
    /// Octets of a read on their way through the meter.
    ///
    /// Those before `start` are stored, or dropped; those before `end` are measured.
    struct Run {
        var start = 0
        var end = 0
    }

    enum Progress {
        /// Read on.
        case more
        /// The header block ended just before the run's end; what was before it is stored.
        case headerEnded
        /// The next octet decides what those behind the run's end are; what was before it is stored.
        ///
        /// One octet at most is left: a CR.
        case needsOctets
    }

    /// Reads from the run's end to the end of the line, or to a CR or LF that ends none.
    ///
    /// - Parameters:
    ///   - octets: What the run counts in; at least one octet is behind its end if a line starts there.
    ///   - run: Where to begin; becomes where it stopped.
    ///   - content: Where the message's own octets are appended, unless it will be refused: in long
    ///     runs, not line by line.
    /// - Returns: Why it stopped.
    @inline(__always)
    mutating func readLine(
        _ octets: UnsafeBufferPointer<UInt8>,
        _ run: inout Run,
        appendingTo content: inout [UInt8]
    ) -> Progress {
        self.isAtLineStart = false
        self.followsBareNewline = false
        let lineBreak = LineBreakSearch.firstLineBreak(in: octets, from: run.end)
        if self.isInHeader {
            let headerEnd = self.header.advance(over: octets, from: run.end, to: lineBreak)
            self.checkHeader()
            if let headerEnd {
                self.isInHeader = false
                self.countLine(headerEnd - run.end)
                run.end = headerEnd
                self.keep(octets, &run, in: &content)
                return .headerEnded
            }
        }
        self.countLine(lineBreak - run.end)
        run.end = lineBreak

        switch Self.lineBreak(octets, at: lineBreak) {
        case .unknown:
            self.keep(octets, &run, in: &content)
            return .needsOctets

        case .lineEnd:
            // A client that writes CR CR LF ends one line with it.
            self.heldReturns = 0
            run.end += 2
            self.isAtLineStart = true
            self.lineOctets = 0
            guard self.headerEndsWithLine() else { return .more }
            self.keep(octets, &run, in: &content)
            return .headerEnded

        case .bareLineFeed:
            self.keep(octets, &run, in: &content)
            run.skip(1)
            return self.replaceBareLineFeed(in: &content) ? .headerEnded : .more

        case .bareCarriageReturn:
            self.keep(octets, &run, in: &content)
            run.skip(1)
            if self.bareNewline == .normalize, octets[run.end] == .carriageReturn {
                self.holdReturn()
                return .more
            }
            return self.replaceBareCarriageReturns(in: &content) ? .headerEnded : .more
        }
    }

    /// Every octet from here on is content of a binary message, without lines.
    var isBinaryBody: Bool { self.isBinary && !self.isInHeader }

    /// The message is over, wherever its last line stands: a line that was not ended is.
    ///
    /// A body in binary stays as it is. `hasReturn`: the last octet is a CR that was not read.
    mutating func endMessage(hasReturn: Bool, appendingTo content: inout [UInt8]) {
        if hasReturn { _ = self.replaceBareCarriageReturns(in: &content) }
        guard !self.isBinaryBody, !self.isAtLineStart else { return }
        _ = self.endLine(in: &content)
    }

    /// Counts a run, and appends it if the message is still wanted.
    mutating func keep(
        _ octets: UnsafeBufferPointer<UInt8>,
        _ run: inout Run,
        in content: inout [UInt8]
    ) {
        guard run.end > run.start else { return }
        if self.refusesNUL, !self.isBinaryBody,
            NULSearch.isFound(in: UnsafeBufferPointer(rebasing: octets[run.start..<run.end]))
        {
            self.faults.insert(.nul)
        }
        if self.countMessage(run.end - run.start) {
            content.append(contentsOf: UnsafeBufferPointer(rebasing: octets[run.start..<run.end]))
        }
        run.start = run.end
    }

    private enum LineBreak {
        case lineEnd
        case bareLineFeed
        case bareCarriageReturn
        case unknown
    }

    private static func lineBreak(
        _ octets: UnsafeBufferPointer<UInt8>,
        at index: Int
    ) -> LineBreak {
        guard index < octets.count else { return .unknown }
        guard octets[index] == .carriageReturn else { return .bareLineFeed }
        guard index + 1 < octets.count else { return .unknown }
        return octets[index + 1] == .lineFeed ? .lineEnd : .bareCarriageReturn
    }
}

extension SMTPContentMeter.Run {
    /// Drops the next octets, once those before them are stored.
    mutating func skip(_ count: Int) {
        self.end += count
        self.start = self.end
    }
}

// MARK: - Counting

extension SMTPContentMeter {
    /// `true` if these octets are to be stored.
    private mutating func countMessage(_ octets: Int) -> Bool {
        self.messageOctets += octets
        if self.messageOctets > self.limits.maximumMessageOctets {
            self.faults.insert(.messageTooBig)
        }
        return self.faults.isEmpty
    }

    private mutating func countLine(_ octets: Int) {
        self.lineOctets += octets
        if self.lineOctets > self.limits.maximumTextLineOctets - 2 {
            self.faults.insert(.lineTooLong)
        }
    }

    private mutating func checkHeader() {
        if self.header.octets > self.limits.maximumHeaderOctets
            || self.header.fields > self.limits.maximumHeaderFields
        {
            self.faults.insert(.headerTooBig)
        }
        if self.limits.maximumReceived > 0, self.header.hops >= self.limits.maximumReceived {
            self.faults.insert(.tooManyHops)
        }
    }

    private mutating func headerEndsWithLine() -> Bool {
        guard self.isInHeader else { return false }
        self.isInHeader = !self.header.lineEnded()
        self.checkHeader()
        return !self.isInHeader
    }

    /// An LF that no CR preceded.
    ///
    /// `true` if the header block ended with it.
    private mutating func replaceBareLineFeed(in content: inout [UInt8]) -> Bool {
        guard self.bareNewline == .normalize else {
            self.faults.insert(.bareLineFeed)
            return self.countBareOctet(.lineFeed)
        }
        return self.endLine(in: &content)
    }

    /// A CR that another CR follows; a line's limit bounds how many are held.
    private mutating func holdReturn() {
        self.countLine(1)
        if self.faults.isEmpty { self.heldReturns += 1 }
    }

    /// A CR that no LF followed, and those that were held before it.
    ///
    /// `true` if the header block ended with one of them.
    private mutating func replaceBareCarriageReturns(in content: inout [UInt8]) -> Bool {
        guard self.bareNewline == .normalize else {
            self.faults.insert(.bareCarriageReturn)
            return self.countBareOctet(.carriageReturn)
        }
        var isHeaderOver = self.endLine(in: &content)
        while self.heldReturns > 0 {
            self.heldReturns -= 1
            if self.endLine(in: &content) { isHeaderOver = true }
        }
        return isHeaderOver
    }

    /// Puts the end of a line where the client sent a bare CR or LF.
    ///
    /// `true` if the header block ended with it.
    private mutating func endLine(in content: inout [UInt8]) -> Bool {
        if self.countMessage(2) {
            content.append(.carriageReturn)
            content.append(.lineFeed)
        }
        self.lineOctets = 0
        self.isAtLineStart = true
        self.followsBareNewline = true
        return self.headerEndsWithLine()
    }

    /// A refused message: counted, so that every limit holds, and not stored.
    private mutating func countBareOctet(_ octet: UInt8) -> Bool {
        _ = self.countMessage(1)
        return self.countHeaderOctet(octet)
    }

    private mutating func countHeaderOctet(_ octet: UInt8) -> Bool {
        self.countLine(1)
        guard self.isInHeader else { return false }
        let ended = withUnsafePointer(to: octet) { pointer in
            self.header.advance(over: UnsafeBufferPointer(start: pointer, count: 1), from: 0, to: 1)
        }
        self.checkHeader()
        self.isInHeader = ended == nil
        return ended != nil
    }
}
