/// Doubles the dot at the start of each line, over any split of the content.
///
/// A CR or LF that is not part of a CRLF is never sent, wherever it comes from: another server could
/// take it for a line's end, and so a line of the message for the end of it. Nor is a line sent that is a dot
/// alone to a server that drops NUL.
///
/// - Note: RFC 5321 §4.5.2 (transparency), §4.1.1.4 (what is sent before the final dot ends in CRLF).
struct DotStuffer: Sendable {
    private enum Position: Sendable {
        case lineStart
        /// Nothing but NUL since the line's start.
        case afterNUL
        /// Nothing but NUL and one dot, NUL before it: a server that drops NUL sees the dot alone.
        case afterHiddenDot
        case inLine
        case afterCR
    }

    private var position = Position.lineStart

    /// Appends `content` to `output`, dots doubled.
    ///
    /// - Throws: ``SMTPForwardError`` with `.bareNewline` or `.hiddenEnd`.
    mutating func append(
        _ content: borrowing Span<UInt8>,
        to output: inout [UInt8]
    ) throws(SMTPForwardError) {
        output.reserveCapacity(output.count + content.count + content.count / 64)
        for index in content.indices {
            let octet = content[index]
            if octet == 0x2E, self.position == .lineStart { output.append(0x2E) }
            guard (self.position == .afterCR) == (octet == 0x0A) else { throw self.bareNewline }
            output.append(octet)
            switch (octet, self.position) {
            case (0x0D, .afterHiddenDot):
                throw SMTPForwardError(.hiddenEnd, "a line with NUL may pass for the final dot")

            case (0x0D, _): self.position = .afterCR
            case (0x0A, _): self.position = .lineStart
            case (0x00, .lineStart): self.position = .afterNUL
            case (0x00, .afterNUL), (0x00, .afterHiddenDot): break
            case (0x2E, .afterNUL): self.position = .afterHiddenDot
            default: self.position = .inLine
            }
        }
    }

    /// Checks octets that are sent as they are.
    ///
    /// - Throws: As ``append(_:to:)``.
    static func check(_ octets: [UInt8]) throws(SMTPForwardError) {
        var (stuffer, stuffed) = (Self(), [UInt8]())
        try stuffer.append(octets.span, to: &stuffed)
    }

    private var bareNewline: SMTPForwardError {
        SMTPForwardError(.bareNewline, "the message has a CR or LF that is not part of a CRLF")
    }

    /// Ends the last line, if it has no end.
    ///
    /// - Throws: As ``append(_:to:)``.
    mutating func finish(_ output: inout [UInt8]) throws(SMTPForwardError) {
        guard self.position != .lineStart else { return }
        guard self.position != .afterCR else { throw self.bareNewline }
        let end: [UInt8] = [0x0D, 0x0A]
        try self.append(end.span, to: &output)
    }
}
