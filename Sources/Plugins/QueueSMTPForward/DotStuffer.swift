/// Doubles the dot at the start of each line, over any split of the content.
///
/// - Note: RFC 5321 §4.5.2 (transparency), §4.1.1.4 (what is sent before the final dot ends in CRLF).
struct DotStuffer: Sendable {
    private enum Position: Sendable {
        case lineStart
        case inLine
        case afterCR
    }

    private var position = Position.lineStart

    /// Appends `content` to `output`, dots doubled.
    mutating func append(_ content: borrowing Span<UInt8>, to output: inout [UInt8]) {
        output.reserveCapacity(output.count + content.count + content.count / 64)
        for index in content.indices {
            let octet = content[index]
            if octet == 0x2E, self.position == .lineStart { output.append(0x2E) }
            output.append(octet)
            switch octet {
            case 0x0D: self.position = .afterCR
            case 0x0A where self.position == .afterCR: self.position = .lineStart
            default: self.position = .inLine
            }
        }
    }

    /// Ends the last line, if it has no end.
    mutating func finish(_ output: inout [UInt8]) {
        guard self.position != .lineStart else { return }
        self.position = .lineStart
        output += [0x0D, 0x0A]
    }
}
