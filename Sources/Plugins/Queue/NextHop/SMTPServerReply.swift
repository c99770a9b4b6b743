/// What the next hop says: a code and its lines, as they came but bounded.
///
/// - Note: RFC 5321 §4.2 (replies), §4.5.3.1.5 (512 octets a line; we take longer ones).
struct SMTPServerReply: Sendable, Equatable {
    /// 200 … 599.
    let code: Int
    /// The text of each line, without code, separator and line end; raw octets.
    let lines: [[UInt8]]

    /// 2, 3, 4 or 5.
    var replyClass: Int { self.code / 100 }
    /// A command was accepted.
    var isPositive: Bool { self.replyClass == 2 }

    /// The enhanced status code that the text begins with, as it came (RFC 2034 §4); `nil` if none
    /// does.
    var status: String? {
        let word = (self.lines.first ?? []).prefix { $0 == 0x2E || 0x30...0x39 ~= $0 }
        let parts = word.split(separator: 0x2E, omittingEmptySubsequences: false)
        let isStatus = parts.count == 3 && parts.allSatisfy { (1...3).contains($0.count) }
        return isStatus ? String(decoding: word, as: UTF8.self) : nil
    }

    /// To `RCPT`: no more recipients in this transaction, but perhaps in the next.
    ///
    /// The code alone does not tell: 452 and 552 are also a full disk and a full mailbox.
    ///
    /// - Note: RFC 5321 §4.5.3.1.10 (452, and 552 of older servers), RFC 3463 §3.6 (X.5.3).
    var isTooManyRecipients: Bool {
        guard self.code == 452 || self.code == 552 else { return false }
        if let status { return status == "4.5.3" || status == "5.5.3" }
        return self.lines.contains { line in
            String(decoding: line, as: UTF8.self).lowercased().contains("recipient")
        }
    }
}

/// Puts replies together from octets in any split.
struct SMTPServerReplyParser: Sendable {
    /// The longest line taken, its end included.
    static let maximumLineOctets = 4096
    /// The most lines of one reply.
    static let maximumLines = 128

    private var line: [UInt8] = []
    private var code: Int?
    private var lines: [[UInt8]] = []

    init() {}

    /// Whether octets of a reply came whose end did not.
    var isInReply: Bool { !self.line.isEmpty || !self.lines.isEmpty }

    /// Takes octets and appends each reply that became complete.
    ///
    /// - Throws: ``SMTPForwardError`` once the octets are no SMTP reply; the connection is of no
    ///   use after that.
    mutating func received(
        _ octets: some Collection<UInt8>,
        into replies: inout [SMTPServerReply]
    ) throws(SMTPForwardError) {
        for octet in octets {
            guard octet == 0x0A else {
                guard self.line.count < Self.maximumLineOctets else {
                    throw SMTPForwardError(.malformed, "a reply line over the limit")
                }
                self.line.append(octet)
                continue
            }
            if self.line.last == 0x0D { self.line.removeLast() }
            if let reply = try self.lineEnded() { replies.append(reply) }
            self.line.removeAll(keepingCapacity: true)
        }
    }

    private mutating func lineEnded() throws(SMTPForwardError) -> SMTPServerReply? {
        let digits = self.line.prefix(3)
        guard digits.count == 3, digits.allSatisfy({ 0x30...0x39 ~= $0 }) else {
            throw SMTPForwardError(.malformed, "a reply line without a code")
        }
        let code = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        guard (200...599).contains(code), self.code == nil || self.code == code,
            self.lines.count < Self.maximumLines
        else { throw SMTPForwardError(.malformed, "a reply of mixed codes or too many lines") }
        let separator = self.line.count > 3 ? self.line[3] : 0x20
        self.lines.append(Array(self.line.dropFirst(4)))
        switch separator {
        case 0x2D:
            self.code = code
            return nil

        case 0x20:
            let reply = SMTPServerReply(code: code, lines: self.lines)
            self.code = nil
            self.lines = []
            return reply

        default:
            throw SMTPForwardError(.malformed, "a reply line without a separator")
        }
    }
}

/// Why there is no answer of the next hop.
///
/// Always temporary: it says nothing about the message.
struct SMTPForwardError: Error, Sendable, Equatable, CustomStringConvertible {
    enum Code: Sendable {
        /// No connection, or no welcome on it.
        case unreachable
        /// The connection ended.
        case closed
        /// The time is over.
        case timedOut
        /// Not SMTP, or an answer that the question does not have.
        case malformed
        /// The message has a bare CR or LF.
        case bareNewline
        /// A line of the message may pass for the end of it.
        case hiddenEnd
        /// No connection became free in time.
        case busy
        /// No TLS, or none that will do.
        case encryption
        /// The hop does not let us in.
        case login
    }

    let code: Code
    /// For the log.
    let detail: String

    init(_ code: Code, _ detail: String) {
        self.code = code
        self.detail = detail
    }

    var description: String { "\(self.code): \(self.detail)" }

    static func == (lhs: Self, rhs: Self) -> Bool { lhs.code == rhs.code }
}
