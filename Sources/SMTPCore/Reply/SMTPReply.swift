import Octets

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

    /// This reply's text with the codes of a worker that wrote none.
    ///
    /// `status` is that of the class of `code`; `nil` sends none.
    package func with(code: ReplyCode, status: EnhancedStatusCode?) -> SMTPReply {
        SMTPReply(code: code, status: status, cause: self.cause, lines: self.lines)
    }

    /// The text of each line, without its codes.
    private var lines: [ArraySlice<UInt8>] {
        let skipped = 4 + (self.status.map { "\($0) ".utf8.count } ?? 0)
        return self.wire.split(separator: .lineFeed).map { $0.dropFirst(skipped).dropLast() }
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
    ///   - text: The control file `smtpgreeting`, or what a worker says; empty for our own words.
    ///     ` ESMTP` is appended to the first line if the word is missing.
    ///   - isLMTP: The word is `LMTP`.
    /// - Returns: The reply 220.
    package static func greeting(
        hostname: [UInt8],
        text: [[UInt8]] = [],
        isLMTP: Bool = false
    ) -> SMTPReply {
        let name = [UInt8]((isLMTP ? "LMTP" : "ESMTP").utf8)
        var words = self.words(of: text.first ?? [], after: hostname)
        if !words.contains(where: { $0.elementsEqual(name) }) { words.append(name[...]) }
        let first = Array(words.joined(separator: [.space]))
        return self.naming(ReplyCode(known: 220), [first] + text.dropFirst())
    }

    /// The answer to HELO: the host's name, then the `text` of a worker, if there is one.
    package static func helo(hostname: [UInt8], text: [[UInt8]] = []) -> SMTPReply {
        let words = self.words(of: text.first ?? [], after: hostname)
        let first = Array(words.joined(separator: [.space]))
        return self.naming(ReplyCode(known: 250), [first] + text.dropFirst())
    }

    /// The answer to EHLO: the first line of this answer to HELO, then a keyword a line, always in the
    /// same order.
    ///
    /// What did not fit into the first line is dropped: the next one would be read as a keyword.
    ///
    /// - Note: RFC 5321 §4.1.1.1.
    func offering(
        _ extensions: SMTPExtensions,
        mechanisms: [SMTPMechanism],
        limits: SMTPLimits,
        trust: SMTPTrust = [],
        futureRelease: FutureReleaseOffer? = nil
    ) -> SMTPReply {
        var keywords = extensions.keywords(limits, futureRelease: futureRelease)
        if !mechanisms.isEmpty {
            // RFC 4954 §3.
            let words = ["AUTH"] + mechanisms.map(\.rawValue)
            keywords.append(Array(words.joined(separator: " ").utf8))
        }
        keywords += trust.keywords
        return Self.naming(ReplyCode(known: 250), self.lines.prefix(1).map(Array.init) + keywords)
    }

    /// 334 with what the client is to answer.
    ///
    /// - Note: RFC 4954 §4.
    package static func challenge(_ octets: [UInt8]) -> SMTPReply {
        SMTPReply(
            code: ReplyCode(known: 334),
            status: nil,
            cause: .none,
            escaping: Base64.encoded(octets)
        )
    }

    /// The words of `text`; the first is `hostname`, which RFC 5321 §4.2 wants there.
    private static func words(of text: [UInt8], after hostname: [UInt8]) -> [ArraySlice<UInt8>] {
        let words = text.split(whereSeparator: \.isBlank)
        return words.first.map(Array.init) == hostname ? words : [hostname[...]] + words
    }

    private static func naming(_ code: ReplyCode, _ lines: [[UInt8]]) -> SMTPReply {
        let lines = lines.map { SMTPReplyEncoder.escaped($0)[...] }
        return SMTPReply(code: code, status: nil, cause: .none, lines: lines)
    }
}
