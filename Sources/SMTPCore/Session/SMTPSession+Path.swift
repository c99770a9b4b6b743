import Octets

extension SMTPSession {
    /// Reads the path of MAIL or RCPT behind its keyword.
    ///
    /// - Returns: The path, and the offset behind it: the end of the line, or a space.
    func readPath<Path: SMTPPath>(
        of type: Path.Type,
        _ argument: Range<Int>,
        _ octets: borrowing Span<UInt8>
    ) throws(SMTPRefusal) -> (path: Path, end: Int) {
        let end = argument.upperBound
        guard octets.hasPrefix(Path.keyword, at: argument.lowerBound, before: end) else {
            throw SMTPRefusal(Path.syntax)
        }
        let start = argument.lowerBound + Path.keyword.utf8CodeUnitCount
        do {
            let read = try self.readPath(octets, at: start, before: end)
            return (try Path(octets, read.content), read.end)
        } catch {
            throw SMTPRefusal(Path.refusal(of: error))
        }
    }

    /// Reads a path behind the colon, which must end the line or precede a space.
    private func readPath(
        _ octets: borrowing Span<UInt8>,
        at start: Int,
        before end: Int
    ) throws(PathError) -> (content: PathGrammar.Content, end: Int) {
        var start = start
        let options = self.configuration.pathOptions
        if options.contains(.spaceAfterColon) {
            while start < end, octets[start].isBlank { start += 1 }
        }
        let path = try PathGrammar.path(in: octets, at: start, before: end, options: options)
        guard path.end == end || octets[path.end] == .space else { throw .syntax }
        return path
    }
}

/// A path of MAIL or RCPT: its keyword, and what is said when it cannot be read.
protocol SMTPPath {
    /// In upper case, with its colon.
    static var keyword: StaticString { get }
    /// The reply where the keyword is missing.
    static var syntax: SMTPReply { get }

    init(_ octets: borrowing Span<UInt8>, _ content: PathGrammar.Content) throws(PathError)

    static func refusal(of error: PathError) -> SMTPReply
}

extension ReversePath: SMTPPath {
    static var keyword: StaticString { "FROM:" }
    static var syntax: SMTPReply { StandardReplies.mailSyntax }

    static func refusal(of error: PathError) -> SMTPReply {
        error == .tooLong ? StandardReplies.senderTooLong : StandardReplies.badSender
    }
}

extension ForwardPath: SMTPPath {
    static var keyword: StaticString { "TO:" }
    static var syntax: SMTPReply { StandardReplies.recipientSyntax }

    static func refusal(of error: PathError) -> SMTPReply {
        error == .tooLong ? StandardReplies.recipientTooLong : StandardReplies.badRecipient
    }
}

/// A reply of ours as the reason why parsing ended.
struct SMTPRefusal: Error {
    let reply: SMTPReply

    init(_ reply: SMTPReply) {
        self.reply = reply
    }
}

extension ParameterError {
    var reply: SMTPReply {
        switch self {
        case .syntax: StandardReplies.badParameter
        case .unknown: StandardReplies.unknownParameter
        case .repeated: StandardReplies.repeatedParameter
        case .tooBig: StandardReplies.messageTooBig
        }
    }
}
