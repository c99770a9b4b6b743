import Octets

/// Writes replies as they stand on the wire.
///
/// Nothing but what is written here reaches a client, so this is where no CR, LF, NUL or other
/// control octet gets through.
///
/// - Note: RFC 5321 §4.2.1 (multi-line replies), RFC 2034 §4 (the status code is on every line).
enum SMTPReplyEncoder {
    /// Encodes one line for each of `lines`, which hold no control octets.
    ///
    /// A text too long for its line goes on in the next, cut between characters of UTF-8.
    static func encode(
        code: ReplyCode,
        status: EnhancedStatusCode?,
        lines: [ArraySlice<UInt8>]
    ) -> [UInt8] {
        let status = status.map { [UInt8]("\($0) ".utf8) } ?? []
        let room = self.room(status: status.count)
        var pieces: [ArraySlice<UInt8>] = []
        for line in lines { self.split(line, room: room, into: &pieces) }
        if pieces.isEmpty { pieces.append([]) }

        let digits = [UInt8]("\(code.rawValue)".utf8)
        var wire: [UInt8] = []
        wire.reserveCapacity(pieces.reduce(0) { $0 + $1.count + status.count + 6 })
        for (index, piece) in pieces.enumerated() {
            wire += digits
            wire.append(index + 1 < pieces.count ? .hyphen : .space)
            wire += status
            wire += piece
            wire.append(.carriageReturn)
            wire.append(.lineFeed)
        }
        return wire
    }

    /// The octets of text in a line, beside code and CRLF, and a status code of `status` octets.
    static func room(status: Int) -> Int { SMTPLimits.replyLineOctets - 2 - 4 - status }

    private static func split(
        _ line: ArraySlice<UInt8>,
        room: Int,
        into pieces: inout [ArraySlice<UInt8>]
    ) {
        var rest = line
        while rest.count > room {
            var end = rest.startIndex + room
            // At most three octets back to the first of a character; other octets are cut anywhere.
            for _ in 0..<3 where rest[end] & 0xC0 == 0x80 { end -= 1 }
            pieces.append(rest[rest.startIndex..<end])
            rest = rest[end...]
        }
        pieces.append(rest)
    }

    /// `text` with a question mark for each octet that must not stand in a reply.
    ///
    /// For text of which the client wrote a part. Octets beyond ASCII go the same way: they may
    /// stand in a reply only under SMTPUTF8.
    static func escaped(_ text: [UInt8]) -> [UInt8] {
        text.map { $0.isControl || $0.isNonASCII ? 0x3F : $0 }
    }
}
