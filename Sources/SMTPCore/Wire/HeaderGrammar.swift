import Octets

/// The header section of a message: where it ends, and how it is cut into fields.
///
/// The whole product reads headers by it: messages that arrive, the list that policy sees, and files
/// that replace a message. So none of them sees a field that another does not.
///
/// - A field is a name (33 to 126 without the colon), white space if any (obsolete, RFC 5322 §4.5), a
///   colon, and its value. Lines that start with white space go on with the field before.
/// - The section ends at the first other line: the empty line, a line without a colon, a name with
///   another octet (a byte-order mark, 8-bit text, white space inside it).
/// - A first line `From …`, which mailbox files put before a message, is no field and does not end the
///   section. ``HeaderBorder`` makes a field of it.
package enum HeaderGrammar {
    /// Where the parts of a field stand.
    package struct Field: Equatable, Sendable {
        /// The end of the name; white space may follow it.
        package let nameEnd: Int
        package let colon: Int
        /// The offset of the field's last CRLF, or the end of the octets.
        package let end: Int
    }

    /// RFC 5322 §2.2: printable ASCII but the colon.
    package static func isNameOctet(_ octet: UInt8) -> Bool {
        octet > .space && octet < .delete && octet != .colon
    }

    /// The field that starts at `start` of a header section; `nil` if there is none.
    ///
    /// - Complexity: O(*n*) in the field's octets.
    package static func field(in section: borrowing Span<UInt8>, at start: Int) -> Field? {
        section.withUnsafeBufferPointer { self.field(in: $0, at: start) }
    }

    private static func field(in octets: UnsafeBufferPointer<UInt8>, at start: Int) -> Field? {
        guard start >= 0, start < octets.count else { return nil }
        var nameEnd = start
        while nameEnd < octets.count, self.isNameOctet(octets[nameEnd]) { nameEnd += 1 }
        guard nameEnd > start else { return nil }
        var colon = nameEnd
        while colon < octets.count, octets[colon].isBlank { colon += 1 }
        guard colon < octets.count, octets[colon] == .colon else { return nil }
        return Field(nameEnd: nameEnd, colon: colon, end: self.fieldEnd(in: octets, from: colon))
    }

    /// The first CRLF that no white space follows.
    private static func fieldEnd(in octets: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        var end = start
        while true {
            end = LineBreakSearch.firstLineBreak(in: octets, from: end)
            guard end + 1 < octets.count else { return octets.count }
            if octets[end] == .carriageReturn, octets[end + 1] == .lineFeed {
                guard end + 2 < octets.count, octets[end + 2].isBlank else { return end }
                end += 2
            } else {
                end += 1
            }
        }
    }
}

/// Finds the end of the header section of octets whose lines end in CRLF, piece by piece.
package struct HeaderSectionReader: Sendable {
    private var tracker = SMTPHeaderTracker()
    private var isOver = false

    package init() {}

    /// Where the body begins, `nil` while the section may go on.
    ///
    /// The empty line belongs to the body.
    package var bodyOffset: Int? { self.isOver ? self.tracker.lineStart : nil }

    /// Octets of the section so far.
    package var octets: Int { self.tracker.octets }

    /// Fields of the section so far.
    package var fields: Int { self.tracker.fields }

    /// Where the body begins if nothing follows.
    package var finalBodyOffset: Int {
        self.isOver || !self.tracker.isInField ? self.tracker.lineStart : self.tracker.octets
    }

    /// Reads on; nothing is looked at once the section is over.
    package mutating func read(_ octets: borrowing Span<UInt8>) {
        octets.withUnsafeBufferPointer { self.read($0) }
    }

    private mutating func read(_ octets: UnsafeBufferPointer<UInt8>) {
        var index = 0
        while index < octets.count, !self.isOver {
            let lineBreak = LineBreakSearch.firstLineBreak(in: octets, from: index)
            if self.tracker.advance(over: octets, from: index, to: lineBreak) != nil {
                self.isOver = true
                return
            }
            guard lineBreak < octets.count else { return }
            if octets[lineBreak] == .lineFeed { self.isOver = self.tracker.lineEnded() }
            index = lineBreak + 1
        }
    }
}
