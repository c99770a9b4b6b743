/// A reply, encoded once and sent as often as needed.
///
/// What the client sees is `wire`; what went wrong, in our words, is `cause`, for logs and metrics.
/// The constructors are the only way in, and let no CR, LF, NUL or other control octet through.
package struct SMTPReply: Hashable, Sendable {
    package let code: ReplyCode
    /// `nil` where SMTP has none: the greeting, HELO, EHLO, 354.
    package let status: EnhancedStatusCode?
    /// Private: why this reply is given.
    ///
    /// Not sent.
    package let cause: SMTPReplyCause
    /// Every line with its CRLF.
    package let wire: [UInt8]

    init(
        code: ReplyCode,
        status: EnhancedStatusCode?,
        cause: SMTPReplyCause,
        lines: [ArraySlice<UInt8>]
    ) {
        self.code = code
        self.status = status
        self.cause = cause
        self.wire = SMTPReplyEncoder.encode(code: code, status: status, lines: lines)
    }
}

// MARK: - Replies that policy words

extension SMTPReply {
    /// A reply whose text comes from a worker or a control file.
    ///
    /// - Parameters:
    ///   - code: The reply code.
    ///   - status: `nil` sends none; its class must be that of `code`.
    ///   - text: Lines of text; an LF splits one, an empty one is dropped.
    ///   - allowsUTF8: Whether octets beyond ASCII may pass: only under SMTPUTF8 (RFC 6531 §3.7.4).
    /// - Throws: ``SMTPReplyError``; nothing of the text may be used then.
    package init(
        policy code: ReplyCode,
        status: EnhancedStatusCode?,
        text: [[UInt8]],
        allowsUTF8: Bool = false
    ) throws(SMTPReplyError) {
        if let status {
            guard status.agrees(with: code) else { throw .contradictoryStatus }
        }
        var lines: [ArraySlice<UInt8>] = []
        for part in text {
            for line in part.split(separator: .lineFeed) {
                for octet in line {
                    guard !octet.isControl else { throw .controlOctet(octet) }
                    guard allowsUTF8 || !octet.isNonASCII else { throw .nonASCII }
                }
                lines.append(line)
            }
        }
        guard !lines.isEmpty else { throw .empty }
        guard lines.count <= SMTPLimits.replyLines else {
            throw .tooManyLines(limit: SMTPLimits.replyLines)
        }
        if allowsUTF8 {
            guard lines.allSatisfy(Self.isUTF8) else { throw .nonASCII }
        }
        self.init(code: code, status: status, cause: .policy, lines: lines)
    }

    private static func isUTF8(_ line: ArraySlice<UInt8>) -> Bool {
        line.span.isUTF8(from: 0, to: line.count)
    }

    /// A reply of our own wording with a part that came from outside: what must not stand in a
    /// reply becomes a question mark.
    package init(
        code: ReplyCode,
        status: EnhancedStatusCode?,
        cause: SMTPReplyCause,
        escaping text: [UInt8]
    ) {
        let line = SMTPReplyEncoder.escaped(text)
        self.init(code: code, status: status, cause: cause, lines: [line[...]])
    }
}

/// Why a policy's reply cannot be sent.
package enum SMTPReplyError: Error, Equatable {
    /// CR, NUL or another control octet.
    case controlOctet(UInt8)
    /// An octet beyond ASCII without SMTPUTF8, or text that is not UTF-8.
    case nonASCII
    /// The classes of reply code and enhanced status code differ.
    case contradictoryStatus
    /// More lines than `limit`.
    case tooManyLines(limit: Int)
    /// No text at all; the caller has a default.
    case empty
}

// MARK: - The greeting and the answers to HELO and EHLO

extension SMTPReply {
    /// The greeting.
    ///
    /// - Parameters:
    ///   - hostname: `me`; put in front unless `text` begins with it (RFC 5321 §4.2 wants it there).
    ///   - text: The control file `smtpgreeting`, or `nil`. ` ESMTP` is appended if the word is missing.
    /// - Returns: The reply 220, on one line.
    package static func greeting(hostname: [UInt8], text: [UInt8]? = nil) -> SMTPReply {
        let esmtp = [UInt8]("ESMTP".utf8)
        var words = (text ?? []).split(whereSeparator: \.isBlank)
        if words.first.map(Array.init) != hostname { words.insert(hostname[...], at: 0) }
        if !words.contains(where: { $0.elementsEqual(esmtp) }) { words.append(esmtp[...]) }
        let line = SMTPReplyEncoder.escaped(Array(words.joined(separator: [.space])))
        return SMTPReply(
            code: ReplyCode(known: 220),
            status: nil,
            cause: .none,
            lines: [line[...]]
        )
    }

    /// The answer to HELO.
    package static func helo(hostname: [UInt8]) -> SMTPReply {
        self.hello([SMTPReplyEncoder.escaped(hostname)])
    }

    /// The answer to EHLO: the host's name, then a keyword a line, always in the same order.
    ///
    /// - Note: RFC 5321 §4.1.1.1.
    package static func ehlo(
        hostname: [UInt8],
        extensions: SMTPExtensions,
        maximumMessageOctets: Int
    ) -> SMTPReply {
        var lines = [SMTPReplyEncoder.escaped(hostname)]
        lines += extensions.keywords(maximumMessageOctets: maximumMessageOctets)
        return self.hello(lines)
    }

    private static func hello(_ lines: [[UInt8]]) -> SMTPReply {
        SMTPReply(
            code: ReplyCode(known: 250),
            status: nil,
            cause: .none,
            lines: lines.map { $0[...] }
        )
    }
}
