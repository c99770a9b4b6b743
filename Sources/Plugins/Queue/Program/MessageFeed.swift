import PolicyKit
import System

/// The octets of a message as a program or a file wants them, piece by piece.
///
/// Its calls block; for one thread.
final class MessageFeed {
    /// How lines end and what stands around them.
    enum Form: Sendable {
        /// As on the wire: the message octet for octet.
        case crlf
        /// As Unix programs have it.
        case lf
        /// As the content of DATA: with CRLF, dots doubled, ended by a dot.
        case smtp
    }

    private static let pieceOctets = 65_536

    private let message: Message
    private let file: Descriptor
    private let form: Form
    private var stuffer = DotStuffer()
    /// What is sent before the message; `nil` when it was.
    private var start: [UInt8]?
    private var offset: Int64
    /// Whether a CR waits for its LF.
    private var holdsCR = false
    private var isOver = false

    /// - Parameters:
    ///   - message: The message.
    ///   - form: How it is wanted.
    ///   - start: What comes before it, as it is.
    /// - Throws: ``SystemError`` if the spool file cannot be opened.
    init(_ message: Message, _ form: Form = .crlf, after start: [UInt8] = []) throws(SystemError) {
        self.message = message
        self.file = try Descriptor(reading: message.path, followsLinks: false)
        self.form = form
        self.start = start
        self.offset = message.bodyOffset
    }

    /// The next octets, at least one; `nil` at the end.
    ///
    /// - Throws: ``SystemError`` or ``PluginError`` if the spool file cannot be read; in the form of SMTP
    ///   ``SMTPForwardError`` if the message has a CR or LF alone.
    func next() throws -> [UInt8]? {
        while !self.isOver {
            var piece: [UInt8] = []
            if let start = self.start {
                self.start = nil
                piece = start
                try self.append(self.message.header, to: &piece)
            } else {
                try self.append(try self.read(), to: &piece)
            }
            if self.offset >= self.message.fileSize {
                self.isOver = true
                try self.finish(&piece)
            }
            if !piece.isEmpty { return piece }
        }
        return nil
    }

    private func read() throws -> [UInt8] {
        let left = self.message.fileSize - self.offset
        let count = min(Self.pieceOctets, Int(clamping: left))
        let octets = try self.file.read(count, at: self.offset)
        guard octets.count == count else {
            throw PluginError("read \(self.message.path): the spool file is too short")
        }
        self.offset += Int64(count)
        return octets
    }

    private func append(_ octets: [UInt8], to piece: inout [UInt8]) throws {
        switch self.form {
        case .crlf: piece += octets
        case .smtp: try self.stuffer.append(octets.span, to: &piece)
        case .lf:
            var buffer = self.holdsCR ? [0x0D] + octets : octets
            var count = buffer.count
            self.holdsCR = MaildirLineEnds.lf.convert(&buffer, count: &count, isLast: false)
            piece += buffer[..<count]
        }
    }

    private func finish(_ piece: inout [UInt8]) throws {
        switch self.form {
        case .crlf: break
        case .lf: if self.holdsCR { piece.append(0x0D) }
        case .smtp:
            try self.stuffer.finish(&piece)
            piece += [0x2E, 0x0D, 0x0A]
        }
    }
}
