import Octets

/// Cuts a message out of what the client sends after DATA: finds its true end, takes transparency away.
///
/// Only CRLF "." CRLF ends the message; the CRLF of the DATA line counts as the first, so "." CRLF at
/// once is an empty message. A message that will be refused is read to its end by the very same steps: a
/// server that looks for another end while it discards can be made to run message content as commands.
///
/// Three octets at most ("." CR, or a CR) stay unconsumed at the end of what has arrived, until the
/// next one tells what they are.
///
/// - Note: RFC 5321 §4.1.1.4, RFC 5321 §4.5.2 (transparency).
package enum SMTPDotFraming {
    package enum Progress: Equatable, Sendable {
        /// Everything was used but the last octets, if they may be part of the end.
        case needsOctets
        /// The header block ended just before `consumed`; content goes on.
        case headerEnded
        /// The final dot was consumed. The message is complete.
        case ended
    }

    /// Reads on.
    ///
    /// - Parameters:
    ///   - octets: Everything received and not yet consumed, oldest first.
    ///   - meter: The message so far; a new one begins a message.
    ///   - content: Where the message's own octets are appended, unless it will be refused.
    /// - Returns: What came of it, and how many octets are used up.
    /// - Complexity: O(*n*) in the octets; content is copied in runs, not octet by octet.
    package static func read(
        _ octets: borrowing Span<UInt8>,
        into meter: inout SMTPContentMeter,
        appendingTo content: inout [UInt8]
    ) -> (progress: Progress, consumed: Int) {
        octets.withUnsafeBufferPointer { self.read($0, into: &meter, appendingTo: &content) }
    }

    private static func read(
        _ octets: UnsafeBufferPointer<UInt8>,
        into meter: inout SMTPContentMeter,
        appendingTo content: inout [UInt8]
    ) -> (progress: Progress, consumed: Int) {
        var run = SMTPContentMeter.Run()
        while true {
            if meter.isAtLineStart {
                switch self.startOfLine(octets, at: run.end, meter.followsBareNewline) {
                case .unknown:
                    meter.keep(octets, &run, in: &content)
                    return (.needsOctets, run.end)
                case .finalDot:
                    meter.keep(octets, &run, in: &content)
                    return (.ended, run.end + 3)
                case .stuffedDot:
                    meter.keep(octets, &run, in: &content)
                    run.skip(1)
                case .text:
                    break
                }
            }
            switch meter.readLine(octets, &run, appendingTo: &content) {
            case .more: break
            case .headerEnded: return (.headerEnded, run.end)
            case .needsOctets: return (.needsOctets, run.end)
            }
        }
    }

    private enum LineStart {
        case text
        /// A dot that the client doubled, or put before text: it goes.
        case stuffedDot
        case finalDot
        case unknown
    }

    /// What stands at `index`, where a line starts.
    ///
    /// A line that follows a bare CR or LF is no line on the wire: no dot in it ends the message. A dot
    /// that was doubled there goes: a client that doubles it took the octet for a line's end. A single
    /// one stays: a client that did not is one that never doubles dots there.
    private static func startOfLine(
        _ octets: UnsafeBufferPointer<UInt8>,
        at index: Int,
        _ followsBareNewline: Bool
    ) -> LineStart {
        guard index < octets.count else { return .unknown }
        guard octets[index] == .dot else { return .text }
        guard index + 1 < octets.count else { return .unknown }
        if followsBareNewline { return octets[index + 1] == .dot ? .stuffedDot : .text }
        guard octets[index + 1] == .carriageReturn else { return .stuffedDot }
        guard index + 2 < octets.count else { return .unknown }
        return octets[index + 2] == .lineFeed ? .finalDot : .stuffedDot
    }
}
