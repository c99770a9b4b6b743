import Glibc
import PolicyKit

/// A message as it goes out after DATA: header, body, dots doubled, piece by piece.
///
/// A value that is handed to a thread that may wait and comes back with the next piece.
struct SMTPContent: Sendable {
    /// The most octets read for one piece.
    static let pieceOctets = 262_144

    private let message: Message
    private var offset: Int64
    private var isHeaderSent = false
    private var stuffer = DotStuffer()

    init(_ message: Message) {
        self.message = message
        self.offset = message.bodyOffset
    }

    /// Whether there is nothing left after the piece last taken.
    var isFinished: Bool { self.isHeaderSent && self.offset >= self.message.fileSize }

    /// The next piece, the last of which ends in CRLF; blocks.
    mutating func next() throws -> [UInt8] {
        var piece: [UInt8] = []
        if !self.isHeaderSent {
            let header = self.message.header
            try self.stuffer.append(header.span, to: &piece)
            self.isHeaderSent = true
        }
        let end = min(self.message.fileSize, self.offset + Int64(Self.pieceOctets))
        let body = try SpoolFile.read(self.message.path, from: self.offset, to: end)
        try self.stuffer.append(body.span, to: &piece)
        self.offset = max(end, self.offset)
        if self.isFinished { try self.stuffer.finish(&piece) }
        return piece
    }

    /// Whether the message has an octet above 127; blocks.
    static func has8BitOctets(_ message: Message) throws -> Bool {
        if message.header.contains(where: { $0 > 0x7F }) { return true }
        var offset = message.bodyOffset
        while offset < message.fileSize {
            let end = min(message.fileSize, offset + Int64(Self.pieceOctets))
            let piece = try SpoolFile.read(message.path, from: offset, to: end)
            if piece.contains(where: { $0 > 0x7F }) { return true }
            offset = end
        }
        return false
    }
}
