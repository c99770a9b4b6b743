/// Everything that has a maximum, with its unit, default and source.
///
/// 0 is no limit where it says so.
package struct SMTPLimits: Equatable, Sendable {
    /// Octets of a command line, CRLF included.
    ///
    /// RFC 5321 §4.5.3.1.4.
    package static let commandLineOctets = 512

    /// Octets of a MAIL command line, CRLF included.
    ///
    /// RFC 5321 §4.5.3.1.4 (512), RFC 1870 §3 (SIZE, 26), RFC 6152 §2 (BODY, 17), RFC 6531 §3.1
    /// (SMTPUTF8, 10).
    package static let mailLineOctets = 512 + 26 + 17 + 10

    /// Octets of a command line, CRLF included, of a session that offers these extensions.
    ///
    /// RFC 3461 §4 lets DSN's parameters come on top: RET (9), ENVID (107), NOTIFY (29), ORCPT (507);
    /// RFC 8689 §2 lets REQUIRETLS (11), RFC 6710 §3 MT-PRIORITY (15), RFC 4865 §3 HOLDFOR or HOLDUNTIL (34).
    /// `takesAuth`: a mechanism is offered in some state.
    static func lineOctets(
        of verb: SMTPVerb?,
        offered: SMTPExtensions,
        takesAuth: Bool
    ) -> Int {
        switch verb {
        case .mail:
            Self.mailLineOctets + (offered.contains(.dsn) ? 9 + 107 : 0)
                + (offered.contains(.requireTLS) ? 11 : 0)
                + (offered.contains(.priority) ? 15 : 0)
                + (offered.contains(.futureRelease) ? 34 : 0)
                + (takesAuth ? Self.authParameterOctets : 0)
        case .rcpt:
            Self.commandLineOctets + (offered.contains(.dsn) ? 29 + 507 : 0)
        case .ehlo, .helo, .lhlo, .data, .bdat, .rset, .vrfy, .expn, .noop, .help, .quit, .auth,
            .starttls,
            .xclient, .xforward, nil:
            Self.commandLineOctets
        }
    }

    /// Octets of a line that answers a challenge, CRLF included.
    ///
    /// RFC 4954 §4.
    static let responseLineOctets = 12_288

    /// Octets that the parameter AUTH adds to a MAIL command line.
    ///
    /// RFC 4954 §3.
    static let authParameterOctets = 500

    /// Octets of a user's name or a password; RFC 4616 §2 asks 255.
    package static let credentialOctets = 1_024

    /// Octets of an overlong line that are read and dropped before the session is closed.
    package static let discardedLineOctets = 65_536

    /// Octets of a local-part: what a path leaves beside its brackets, the "@" and a domain of one.
    ///
    /// RFC 5321 §4.5.3.1.1 asks 64; forwarders and mailing lists write longer ones.
    package static let localPartOctets = Self.pathOctets - 4

    /// Octets of a domain or address literal.
    ///
    /// RFC 5321 §4.5.3.1.2.
    package static let domainOctets = 255

    /// Octets of a path with its brackets and source route.
    ///
    /// RFC 5321 §4.5.3.1.3.
    package static let pathOctets = 256

    /// Octets of a label of a domain.
    ///
    /// RFC 1035 §2.3.4.
    package static let labelOctets = 63

    /// Octets of a HELO or EHLO name.
    ///
    /// RFC 5321 §4.5.3.1.2.
    package static let helloNameOctets = 255

    /// Digits of the value of SIZE.
    ///
    /// RFC 1870 §4.
    package static let sizeDigits = 20

    /// Octets of a reply line, CRLF included.
    ///
    /// RFC 5321 §4.5.3.1.5.
    package static let replyLineOctets = 512

    /// Lines of a policy's reply; more are refused.
    package static let replyLines = 100

    /// Octets of a message, CRLFs counted, dots of transparency not.
    ///
    /// RFC 5321 §4.5.3.1.7 asks 64 Ki.
    package var maximumMessageOctets = 26_214_400
    /// Octets of a header block.
    package var maximumHeaderOctets = 1_048_576
    /// Fields of a header block.
    package var maximumHeaderFields = 1_000
    /// Octets of a text line, CRLF included, the dot of transparency not.
    ///
    /// RFC 5321 §4.5.3.1.6 asks 1,000; longer lines are common, so this one only stops abuse.
    package var maximumTextLineOctets = 65_536
    /// Received and Delivered-To fields that make a loop; 0 is no limit.
    ///
    /// RFC 5321 §6.3.
    package var maximumReceived = 100
    /// Recipients of a transaction.
    ///
    /// RFC 5321 §4.5.3.1.8 asks 100.
    package var maximumRecipients = 1_000
    /// Errors of a session that are answered; one more closes it.
    ///
    /// 0 is no limit.
    package var maximumErrors = 10
    /// The same before HELO or EHLO was granted, where browsers and port scanners stand.
    package var maximumErrorsBeforeHello = 5
    /// Unrecognised commands of a session that are asked about; one more closes it.
    ///
    /// 0 is no limit.
    package var maximumUnrecognized = 10
    /// Transactions of a session that reached a granted DATA; one more closes it.
    ///
    /// 0 is no limit.
    package var maximumTransactions = 1_000
    /// NOOPs in a row; one more closes the session.
    ///
    /// 0 is no limit.
    package var maximumNoops = 100
    /// Commands in a row without a message, RCPT aside; one more closes the session.
    ///
    /// A granted DATA starts the count again. 0 is no limit.
    package var maximumCommandsWithoutMessage = 1_000
    /// RCPTs in a row of which none was granted; one more closes the session.
    ///
    /// 0 is no limit.
    package var maximumRefusedRecipients = 2_000
    /// Commands of a session; one more closes it.
    ///
    /// 0 is no limit.
    package var maximumCommands = 0
    /// AUTHs of a session that policy refused and that are answered; one more closes it.
    ///
    /// 0 is no limit.
    package var maximumFailedLogins = 3

    /// Octets of refused chunks in a row that are read and dropped; more close the session.
    ///
    /// RFC 3030 §2.
    package var maximumDroppedChunkOctets: Int {
        let (double, isOver) = self.maximumMessageOctets.multipliedReportingOverflow(by: 2)
        return isOver ? .max : double
    }

    package init() {}
}
