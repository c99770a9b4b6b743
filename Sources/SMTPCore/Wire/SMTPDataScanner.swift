/// Reads message content after DATA: finds its true end, takes transparency away, appends the rest.
///
/// Only CRLF ends a line and only CRLF "." CRLF ends the message; the CRLF of the DATA line counts
/// as the first, so "." CRLF at once is an empty message. There is one automaton. A message that
/// will be refused (a bare CR or LF, too big, a line too long) is read to its end by the very same
/// steps, it is merely not kept: a server that looks for another end while it discards can be made
/// to run message content as commands.
///
/// Three octets at most ("." CR, or a CR) stay unconsumed at the end of what has arrived, until
/// the next one tells what they are. NUL and 8-bit octets are content like any other.
///
/// - Note: RFC 5321 §2.3.8, RFC 5321 §4.1.1.4, RFC 5321 §4.5.2 (transparency).
package struct SMTPDataScanner: Sendable {
    package enum Progress: Equatable, Sendable {
        /// Everything was used but the last octets, if they may be part of the end.
        case needsOctets
        /// The header block ended just before `consumed`; content goes on.
        case headerEnded
        /// The final dot was consumed. The scanner is done.
        case ended
    }

    /// Why the message will be refused; empty while it will not.
    private(set) package var faults: SMTPContentFaults = []

    /// Octets of the message so far: CRLFs counted, transparency and final dot not (RFC 1870 §3).
    private(set) package var messageOctets = 0

    private let bareNewline: BareNewlineRule
    private let limits: SMTPLimits

    /// The next octet is the first of a line.
    private var isAtLineStart = true
    /// That line follows a bare CR or LF: no dot in it is a final one.
    private var followsBareNewline = false
    /// CRs that were taken and stand for nothing yet: what follows them says what they are.
    private var heldReturns = 0
    /// Octets of the current line, without its CRLF and the dot of transparency.
    private var lineOctets = 0
    private var header = SMTPHeaderTracker()
    private var isInHeader = true

    package init(limits: SMTPLimits, bareNewline: BareNewlineRule) {
        self.limits = limits
        self.bareNewline = bareNewline
    }

    /// Received and Delivered-To fields in the header block so far.
    package var hops: Int { self.header.hops }

    /// Where the body begins: the empty line that ends the header block belongs to it.
    ///
    /// Final once the block has ended, or the message; without a body it is the message's size.
    package var bodyOffset: Int {
        self.isInHeader ? self.messageOctets : self.header.lineStart
    }

    /// Reads on.
    ///
    /// - Parameters:
    ///   - octets: Everything received and not yet consumed, oldest first.
    ///   - content: Where the message's own octets are appended, unless it will be refused.
    /// - Returns: What came of it, and how many octets are used up.
    /// - Complexity: O(*n*) in the octets; content is copied in runs, not octet by octet.
    package mutating func scan(
        _ octets: borrowing Span<UInt8>,
        appendingTo content: inout [UInt8]
    ) -> (progress: Progress, consumed: Int) {
        octets.withUnsafeBufferPointer { self.scan($0, appendingTo: &content) }
    }

    private mutating func scan(
        _ octets: UnsafeBufferPointer<UInt8>,
        appendingTo content: inout [UInt8]
    ) -> (progress: Progress, consumed: Int) {
        var index = 0
        var kept = 0  // everything before is in `content`, or was dropped
        while true {
            if self.isAtLineStart {
                switch self.startOfLine(octets, at: index) {
                case .unknown:
                    self.keep(octets, kept, index, in: &content)
                    return (.needsOctets, index)
                case .finalDot:
                    self.keep(octets, kept, index, in: &content)
                    return (.ended, index + 3)
                case .stuffedDot:
                    self.keep(octets, kept, index, in: &content)
                    index += 1
                    kept = index
                case .text:
                    break
                }
                self.isAtLineStart = false
                self.followsBareNewline = false
            }

            let lineBreak = OctetSearch.firstLineBreak(in: octets, from: index)
            if self.isInHeader {
                let headerEnd = self.header.advance(over: octets, from: index, to: lineBreak)
                self.checkHeader()
                if let end = headerEnd {
                    self.isInHeader = false
                    self.countLine(end - index)
                    self.keep(octets, kept, end, in: &content)
                    return (.headerEnded, end)
                }
            }
            self.countLine(lineBreak - index)
            index = lineBreak

            switch self.lineBreak(octets, at: index) {
            case .unknown:
                self.keep(octets, kept, index, in: &content)
                return (.needsOctets, index)

            case .lineEnd:
                // A client that writes CR CR LF ends one line with it.
                self.heldReturns = 0
                index += 2
                self.isAtLineStart = true
                self.lineOctets = 0
                if self.headerEndsWithLine() {
                    self.keep(octets, kept, index, in: &content)
                    return (.headerEnded, index)
                }

            case .bareLineFeed:
                self.keep(octets, kept, index, in: &content)
                index += 1
                kept = index
                if self.replaceBareLineFeed(in: &content) { return (.headerEnded, index) }

            case .bareCarriageReturn:
                self.keep(octets, kept, index, in: &content)
                index += 1
                kept = index
                if self.bareNewline == .normalize, octets[index] == .carriageReturn {
                    self.holdReturn()
                    continue
                }
                if self.replaceBareCarriageReturns(in: &content) { return (.headerEnded, index) }
            }
        }
    }
}

// MARK: - What stands at an offset

extension SMTPDataScanner {
    private enum LineStart {
        case text
        /// A dot that the client doubled, or put before text: it goes.
        case stuffedDot
        case finalDot
        case unknown
    }

    private func startOfLine(_ octets: UnsafeBufferPointer<UInt8>, at index: Int) -> LineStart {
        guard index < octets.count else { return .unknown }
        guard octets[index] == .dot else { return .text }
        guard index + 1 < octets.count else { return .unknown }
        if self.followsBareNewline { return octets[index + 1] == .dot ? .stuffedDot : .text }
        guard octets[index + 1] == .carriageReturn else { return .stuffedDot }
        guard index + 2 < octets.count else { return .unknown }
        return octets[index + 2] == .lineFeed ? .finalDot : .stuffedDot
    }

    private enum LineBreak {
        case lineEnd
        case bareLineFeed
        case bareCarriageReturn
        case unknown
    }

    private func lineBreak(_ octets: UnsafeBufferPointer<UInt8>, at index: Int) -> LineBreak {
        guard index < octets.count else { return .unknown }
        guard octets[index] == .carriageReturn else { return .bareLineFeed }
        guard index + 1 < octets.count else { return .unknown }
        return octets[index + 1] == .lineFeed ? .lineEnd : .bareCarriageReturn
    }
}

// MARK: - Counting and keeping

extension SMTPDataScanner {
    /// Counts a run, and appends it if the message is still wanted.
    private mutating func keep(
        _ octets: UnsafeBufferPointer<UInt8>,
        _ start: Int,
        _ end: Int,
        in content: inout [UInt8]
    ) {
        guard end > start else { return }
        if self.countMessage(end - start) {
            content.append(contentsOf: UnsafeBufferPointer(rebasing: octets[start..<end]))
        }
    }

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
    ///
    /// What follows is not the start of a line on the wire, so no dot there ends the message. A dot
    /// that was doubled there goes: a client that doubles it took the octet for a line's end. A single
    /// one stays: a client that did not is one that never doubles dots there.
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

/// What a bare CR or LF in message content means.
package enum BareNewlineRule: Equatable, Sendable {
    /// The message is read to its end and refused, 554 5.5.2.
    case reject
    /// A bare LF or CR becomes CRLF before anything sees it, and CRs before a CRLF go.
    ///
    /// None of them ends a message.
    case normalize
}

/// Everything wrong with a message so far; the reply names the first of these that applies.
package struct SMTPContentFaults: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// An LF that no CR preceded (RFC 5321 §2.3.8).
    package static let bareLineFeed = Self(rawValue: 1 << 0)
    /// A CR that no LF followed (RFC 5321 §2.3.8).
    package static let bareCarriageReturn = Self(rawValue: 1 << 1)
    /// Over `SMTPLimits.maximumTextLineOctets`.
    package static let lineTooLong = Self(rawValue: 1 << 2)
    /// Over `SMTPLimits.maximumMessageOctets`.
    package static let messageTooBig = Self(rawValue: 1 << 3)
    /// Over `SMTPLimits.maximumHeaderOctets` or `SMTPLimits.maximumHeaderFields`.
    package static let headerTooBig = Self(rawValue: 1 << 4)
    /// `SMTPLimits.maximumReceived` reached: a loop (RFC 5321 §6.3).
    package static let tooManyHops = Self(rawValue: 1 << 5)
}
