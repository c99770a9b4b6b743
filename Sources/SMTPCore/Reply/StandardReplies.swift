/// Every text we ever send, a line each, encoded once.
///
/// The greeting and the answers to HELO and EHLO carry the host's name and are made by
/// ``SMTPConfiguration``.
package enum StandardReplies {
    static func reply(
        _ code: UInt16,
        _ status: (UInt8, UInt16, UInt16)?,
        _ cause: SMTPReplyCause,
        _ lines: String...
    ) -> SMTPReply {
        SMTPReply(
            code: ReplyCode(known: code),
            status: status.map { EnhancedStatusCode(known: $0.0, $0.1, $0.2) },
            cause: cause,
            lines: lines.map { [UInt8]($0.utf8)[...] }
        )
    }

    // MARK: Granted

    /// RFC 5321 §4.1.1.5, §4.1.1.9: RSET and NOOP.
    package static let ok = reply(250, (2, 0, 0), .none, "Ok")
    /// RFC 5321 §4.1.1.2, RFC 3463 §3.2.
    package static let senderAccepted = reply(250, (2, 1, 0), .none, "Sender ok")
    /// RFC 5321 §4.1.1.3, RFC 3463 §3.2.
    package static let recipientAccepted = reply(250, (2, 1, 5), .none, "Recipient ok")
    /// RFC 5321 §4.1.1.4.
    package static let startMailInput = reply(
        354,
        nil,
        .none,
        "Start mail input; end with <CRLF>.<CRLF>"
    )
    /// RFC 5321 §4.1.1.4.
    package static let messageAccepted = reply(250, (2, 0, 0), .none, "Message accepted")
    /// RFC 3030 §2.
    package static let chunkAccepted = reply(250, (2, 0, 0), .none, "Chunk accepted")
    /// RFC 5321 §4.1.1.8.
    package static let help = reply(
        214,
        (2, 0, 0),
        .none,
        "Commands: HELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT",
        "See RFC 5321"
    )
    /// The same of LMTP.
    static let helpOfLMTP = reply(
        214,
        (2, 0, 0),
        .none,
        "Commands: LHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT",
        "See RFC 2033"
    )
    /// RFC 5321 §3.5.3.
    package static let cannotVerify = reply(
        252,
        (2, 0, 0),
        .none,
        "Cannot verify, but will take mail for local users"
    )
    /// RFC 5321 §4.1.1.10.
    package static let closing = reply(221, (2, 0, 0), .none, "Closing connection")

    /// RFC 4954 §6.
    package static let authenticated = reply(
        235,
        (2, 7, 0),
        .none,
        "Authentication succeeded"
    )
    /// RFC 4954 §4: the client sends all by itself.
    static let emptyChallenge = SMTPReply.challenge([])
    /// What clients of LOGIN wait for.
    static let userChallenge = SMTPReply.challenge(Array("Username:".utf8))
    static let passwordChallenge = SMTPReply.challenge(Array("Password:".utf8))

    // MARK: Refused by SMTP: lines and commands

    /// RFC 5321 §4.5.3.1.9.
    package static let commandLineTooLong = reply(500, (5, 5, 2), .lineTooLong, "Line too long")
    /// RFC 4954 §4, §6.
    static let responseTooLong = reply(500, (5, 5, 6), .lineTooLong, "Response too long")
    /// RFC 5321 §2.3.8, §4.1.
    package static let bareLineFeedInCommand = reply(
        500,
        (5, 5, 2),
        .bareNewline,
        "A line ends in CRLF, not in LF alone"
    )
    /// RFC 5321 §2.3.8, §4.1.
    package static let bareCarriageReturnInCommand = reply(
        500,
        (5, 5, 2),
        .bareNewline,
        "A line ends in CRLF, not in CR alone"
    )
    /// RFC 5321 §4.1.2.
    package static let nulInCommand = reply(
        500,
        (5, 5, 2),
        .nulInCommand,
        "NUL in a command"
    )
    /// RFC 5321 §4.2.4.
    package static let unrecognizedCommand = reply(
        500,
        (5, 5, 1),
        .unrecognizedCommand,
        "Unrecognized command"
    )
    /// A browser that an attacker sent here, or a client that expects TLS at once.
    package static let otherProtocol = reply(
        554,
        (5, 5, 1),
        .unrecognizedCommand,
        "This is an SMTP server, closing connection"
    )
    /// RFC 2920 §3.1.
    package static let contentBeforeReply = reply(
        554,
        (5, 5, 0),
        .badSequence,
        "Message content before the reply to DATA, closing connection"
    )
    /// RFC 5321 §4.2.4, §7.3.
    package static let expnNotImplemented = reply(
        502,
        (5, 5, 1),
        .notImplemented,
        "EXPN is not implemented"
    )
    /// RFC 3207 §4.
    package static let startTLSNotOffered = reply(
        502,
        (5, 5, 1),
        .notOffered,
        "STARTTLS is not offered"
    )
    /// RFC 3207 §4.
    package static let readyToStartTLS = reply(220, (2, 0, 0), .none, "Ready to start TLS")
    /// RFC 3207 §4.2.
    package static let alreadyEncrypted = reply(
        503,
        (5, 5, 1),
        .badSequence,
        "TLS is active already"
    )
    /// What follows STARTTLS in clear text may be an attacker's: RFC 3207 §4.2.
    package static let octetsBehindStartTLS = reply(
        554,
        (5, 5, 0),
        .badSequence,
        "Nothing may follow STARTTLS before its reply, closing connection"
    )
    /// RFC 3207 §4.
    package static let encryptionRequired = reply(
        530,
        (5, 7, 0),
        .encryptionRequired,
        "Must issue a STARTTLS command first"
    )
    /// RFC 4954 §6.
    package static let authenticationRequired = reply(
        530,
        (5, 7, 0),
        .authenticationRequired,
        "Authentication required"
    )
    /// RFC 4954 §4.
    package static let authNotOffered = reply(502, (5, 5, 1), .notOffered, "AUTH is not offered")
    /// RFC 4954 §4, §6.
    package static let authNeedsEncryption = reply(
        538,
        (5, 7, 11),
        .encryptionRequired,
        "AUTH needs TLS; send STARTTLS first"
    )
    /// RFC 4954 §4.
    package static let unknownMechanism = reply(
        504,
        (5, 5, 4),
        .badParameter,
        "This mechanism is not offered"
    )
    /// RFC 4954 §4.
    package static let noInitialResponse = reply(
        501,
        (5, 7, 0),
        .badSyntax,
        "This mechanism has no initial response"
    )
    /// RFC 4954 §4.
    package static let authCancelled = reply(
        501,
        (5, 7, 0),
        .badSyntax,
        "Authentication cancelled"
    )
    /// RFC 4954 §4.
    package static let badBase64 = reply(501, (5, 5, 2), .badSyntax, "Bad base64")
    /// RFC 4616 §2, RFC 2195 §2.
    package static let badCredentials = reply(
        501,
        (5, 5, 2),
        .badSyntax,
        "Bad message for this mechanism"
    )
    /// RFC 4616 §2: the authorization identity is not the user's own.
    package static let otherIdentity = reply(
        535,
        (5, 7, 8),
        .badParameter,
        "Acting for another user is not possible"
    )
    /// XCLIENT or XFORWARD from an address that is in none of the listener's networks for it.
    static let notTrusted = reply(550, (5, 7, 0), .notOffered, "Not allowed from your address")
    /// XCLIENT or XFORWARD.
    package static let clientSyntax = reply(
        501,
        (5, 5, 4),
        .badParameter,
        "Attributes of a client are expected, each NAME=value in xtext"
    )
    /// XCLIENT or XFORWARD.
    static let clientInTransaction = reply(
        503,
        (5, 5, 1),
        .badSequence,
        "Not inside a transaction; send RSET first"
    )
    /// RFC 3030 §2: the chunk follows at once, so the connection closes.
    package static let bdatNotOffered = reply(
        502,
        (5, 5, 1),
        .notOffered,
        "CHUNKING is not offered, closing connection"
    )

    // MARK: Refused by SMTP: order

    /// RFC 5321 §4.1.4.
    package static let helloFirst = reply(503, (5, 5, 1), .badSequence, "Send HELO or EHLO first")
    /// RFC 2033 §4.1.
    static let lhloFirst = reply(503, (5, 5, 1), .badSequence, "Send LHLO first")
    /// RFC 2033 §4.1.
    static let helloOfSMTP = reply(
        500,
        (5, 5, 1),
        .unrecognizedCommand,
        "This is LMTP; send LHLO"
    )
    /// RFC 5321 §4.1.4.
    package static let nestedMail = reply(
        503,
        (5, 5, 1),
        .badSequence,
        "MAIL inside a transaction; send RSET first"
    )
    /// RFC 4954 §4.
    package static let alreadyAuthenticated = reply(
        503,
        (5, 5, 1),
        .badSequence,
        "Already authenticated"
    )
    /// RFC 4954 §4.
    package static let authInTransaction = reply(
        503,
        (5, 5, 1),
        .badSequence,
        "AUTH inside a transaction; send RSET first"
    )
    /// RFC 5321 §4.1.4.
    package static let mailFirst = reply(503, (5, 5, 1), .badSequence, "Send MAIL first")
    /// RFC 5321 §4.1.4.
    package static let recipientFirst = reply(503, (5, 5, 1), .badSequence, "Send RCPT first")
    /// RFC 3030 §2.
    package static let dataBehindChunk = reply(
        503,
        (5, 5, 1),
        .badSequence,
        "DATA inside a message that comes by BDAT; send RSET first"
    )
    /// RFC 3030 §2.
    package static let recipientBehindChunk = reply(
        503,
        (5, 5, 1),
        .badSequence,
        "RCPT inside a message that comes by BDAT; send RSET first"
    )
    /// RFC 3030 §3.
    package static let binaryNeedsChunks = reply(
        503,
        (5, 5, 1),
        .badSequence,
        "BODY=BINARYMIME needs BDAT"
    )
    /// RFC 5321 §3.3.
    package static let noValidRecipients = reply(
        554,
        (5, 5, 1),
        .badSequence,
        "No valid recipients"
    )
    /// RFC 2033 §4.2.
    static let noValidRecipientsOfLMTP = reply(
        503,
        (5, 5, 1),
        .badSequence,
        "No valid recipients"
    )

    // MARK: Refused by SMTP: syntax

    /// RFC 5321 §4.1.1.1.
    package static let helloSyntax = reply(
        501,
        (5, 5, 4),
        .badSyntax,
        "Syntax: HELO or EHLO, then your host name"
    )
    /// RFC 5321 §4.1.1.2.
    package static let mailSyntax = reply(
        501,
        (5, 5, 4),
        .badSyntax,
        "Syntax: MAIL FROM:<address> [parameters]"
    )
    /// RFC 5321 §4.1.1.3.
    package static let recipientSyntax = reply(
        501,
        (5, 5, 4),
        .badSyntax,
        "Syntax: RCPT TO:<address> [parameters]"
    )
    /// RFC 4954 §4.
    package static let authSyntax = reply(
        501,
        (5, 5, 4),
        .badSyntax,
        "Syntax: AUTH mechanism [initial-response]"
    )
    /// RFC 5321 §4.1.1.6.
    package static let verifySyntax = reply(501, (5, 5, 4), .badSyntax, "Syntax: VRFY address")
    /// RFC 3030 §2: it is not known how much to drop, so the connection closes.
    package static let chunkSyntax = reply(
        501,
        (5, 5, 4),
        .badSyntax,
        "Syntax: BDAT size [LAST], closing connection"
    )
    /// RFC 5321 §4.1.1.4, §4.1.1.5, §4.1.1.10: DATA, RSET, QUIT.
    package static let noArgumentAllowed = reply(
        501,
        (5, 5, 4),
        .badSyntax,
        "This command has no argument"
    )
    /// RFC 5321 §4.1.2, RFC 3463 §3.2.
    package static let badSender = reply(501, (5, 1, 7), .badAddress, "Bad sender address syntax")
    /// RFC 5321 §4.1.2, RFC 3463 §3.2.
    package static let badRecipient = reply(
        501,
        (5, 1, 3),
        .badAddress,
        "Bad recipient address syntax"
    )
    /// RFC 5321 §4.5.3.1.9.
    package static let senderTooLong = reply(501, (5, 1, 7), .badAddress, "Path too long")
    /// RFC 5321 §4.5.3.1.9.
    package static let recipientTooLong = reply(501, (5, 1, 3), .badAddress, "Path too long")
    /// RFC 6531 §3.5.
    package static let senderNeedsUTF8 = reply(
        550,
        (5, 6, 7),
        .badAddress,
        "Non-ASCII address without SMTPUTF8"
    )
    /// RFC 6531 §3.5.
    package static let recipientNeedsUTF8 = reply(
        553,
        (5, 6, 7),
        .badAddress,
        "Non-ASCII address without SMTPUTF8"
    )
    /// RFC 5321 §4.1.1.11.
    package static let unknownParameter = reply(
        555,
        (5, 5, 4),
        .badParameter,
        "Parameter not recognized or not implemented"
    )
    /// RFC 5321 §4.1.2, RFC 1870 §3, RFC 6152 §2, RFC 6531 §3.4.
    package static let badParameter = reply(
        501,
        (5, 5, 4),
        .badParameter,
        "Bad parameter syntax"
    )
    /// RFC 5321 §4.1.1.11.
    package static let repeatedParameter = reply(
        501,
        (5, 5, 4),
        .badParameter,
        "Parameter given twice"
    )
    /// HOLDFOR or HOLDUNTIL beyond what EHLO announced, or in the past.
    ///
    /// RFC 4865.
    package static let releaseOutOfRange = reply(
        501,
        (5, 5, 4),
        .badParameter,
        "The release is later than EHLO allows, or in the past"
    )

    // MARK: Refused by SMTP: limits

    /// RFC 1870 §6.1, RFC 3463 §3.4.
    package static let messageTooBig = reply(
        552,
        (5, 3, 4),
        .messageTooBig,
        "Message too big for this system"
    )
    package static let headerTooBig = reply(
        552,
        (5, 3, 4),
        .headerTooBig,
        "Message header too big for this system"
    )
    /// RFC 5321 §4.5.3.1.6.
    package static let textLineTooLong = reply(
        554,
        (5, 6, 0),
        .lineTooLong,
        "A line of the message is too long"
    )
    /// RFC 5321 §2.3.8.
    package static let bareNewlineInMessage = reply(
        554,
        (5, 5, 2),
        .bareNewline,
        "The message has a CR or an LF alone; lines end in CRLF"
    )
    /// RFC 5321 §4.5.2, RFC 3463 §3.7.
    package static let nulInMessage = reply(
        554,
        (5, 6, 0),
        .nulInMessage,
        "The message has a NUL"
    )
    /// RFC 5321 §6.3, RFC 3463 §3.5.
    package static let tooManyHops = reply(
        554,
        (5, 4, 6),
        .tooManyHops,
        "Too many hops, this message is looping"
    )
    /// RFC 5321 §4.5.3.1.10.
    package static let tooManyRecipients = reply(
        452,
        (4, 5, 3),
        .tooManyRecipients,
        "Too many recipients, send the rest again"
    )
    package static let tooManyErrors = reply(
        421,
        (4, 7, 0),
        .tooManyErrors,
        "Too many errors, closing connection"
    )
    package static let tooManyUnrecognized = reply(
        421,
        (4, 7, 0),
        .tooManyErrors,
        "Too many unrecognized commands, closing connection"
    )
    package static let tooManyNoops = reply(
        421,
        (4, 7, 0),
        .tooManyErrors,
        "Too many NOOPs in a row, closing connection"
    )
    /// RFC 5321 §3.8, §7.8; RFC 3463 §3.8.
    package static let tooManyWithoutMessage = reply(
        421,
        (4, 7, 0),
        .tooManyErrors,
        "Too many commands without a message, closing connection"
    )
    /// RFC 5321 §3.8, §7.8; RFC 3463 §3.8.
    package static let tooManyRefusedRecipients = reply(
        421,
        (4, 7, 0),
        .tooManyErrors,
        "Too many refused recipients in a row, closing connection"
    )
    /// RFC 5321 §3.8, §7.8; RFC 3463 §3.8.
    package static let tooManyCommands = reply(
        421,
        (4, 7, 0),
        .tooManyErrors,
        "Too many commands in one session, connect again"
    )
    /// RFC 5321 §3.8, §7.8; RFC 3463 §3.8.
    package static let tooFast = reply(
        421,
        (4, 7, 0),
        .tooManyErrors,
        "Too many commands at once, closing connection"
    )
    package static let tooManyFailedLogins = reply(
        421,
        (4, 7, 0),
        .tooManyErrors,
        "Too many failed logins, closing connection"
    )
    package static let tooManyFailedLoginsOfUser = reply(
        454,
        (4, 7, 0),
        .tooManyErrors,
        "Too many failed logins, try again later"
    )
    package static let tooManyTransactions = reply(
        421,
        (4, 7, 0),
        .tooManyTransactions,
        "Too many messages in one session, connect again"
    )
    package static let tooManySessions = reply(
        421,
        (4, 7, 0),
        .tooManySessions,
        "Too many sessions, try again later"
    )
    package static let tooManyNewSessions = reply(
        421,
        (4, 7, 0),
        .tooManySessions,
        "Too many new sessions, try again later"
    )

    /// RFC 5321 §4.2.3, RFC 3463 §3.4.
    package static let memoryUsedUp = reply(
        452,
        (4, 3, 1),
        .systemFailure,
        "Not enough memory, try again later"
    )
    /// RFC 5321 §3.8, RFC 3463 §3.4.
    package static let memoryUsedUpClosing = reply(
        421,
        (4, 3, 2),
        .systemFailure,
        "Not enough memory, try again later"
    )
    /// RFC 5321 §4.2.3, RFC 3463 §3.4.
    package static let spoolFull = reply(
        452,
        (4, 3, 1),
        .systemFailure,
        "Not enough disk space, try again later"
    )
    package static let spoolFailed = reply(
        451,
        (4, 3, 0),
        .systemFailure,
        "The message could not be written, try again later"
    )

    // MARK: Closing

    /// RFC 5321 §4.5.3.2.7, RFC 3463 §3.5.
    package static let timeout = reply(421, (4, 4, 2), .timeout, "Timeout, closing connection")
    /// RFC 5321 §4.5.3.2.5, RFC 3463 §3.5.
    package static let tooSlow = reply(
        421,
        (4, 4, 2),
        .timeout,
        "The message comes too slowly, closing connection"
    )
    /// RFC 5321 §3.8, RFC 3463 §3.4.
    package static let shuttingDown = reply(
        421,
        (4, 3, 2),
        .shuttingDown,
        "Service is shutting down, try again later"
    )
    /// RFC 5321 §3.8.
    package static let internalError = reply(
        421,
        (4, 3, 0),
        .internalError,
        "Internal error, closing connection"
    )
}
