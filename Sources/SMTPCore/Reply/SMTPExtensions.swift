/// The service extensions that EHLO offers.
package struct SMTPExtensions: OptionSet, Sendable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    package static let pipelining = Self(rawValue: 1 << 0)  // RFC 2920
    package static let size = Self(rawValue: 1 << 1)  // RFC 1870
    package static let eightBitMIME = Self(rawValue: 1 << 2)  // RFC 6152
    package static let smtpUTF8 = Self(rawValue: 1 << 3)  // RFC 6531
    package static let enhancedStatusCodes = Self(rawValue: 1 << 4)  // RFC 2034
    package static let startTLS = Self(rawValue: 1 << 5)  // RFC 3207
    package static let chunking = Self(rawValue: 1 << 6)  // RFC 3030 §2
    package static let binaryMIME = Self(rawValue: 1 << 7)  // RFC 3030 §3
    package static let dsn = Self(rawValue: 1 << 8)  // RFC 3461
    package static let limits = Self(rawValue: 1 << 9)  // RFC 9422
    package static let requireTLS = Self(rawValue: 1 << 10)  // RFC 8689

    package static let prdr = Self(rawValue: 1 << 11)  // draft-hall-prdr-00

    package static let priority = Self(rawValue: 1 << 12)  // RFC 6710

    /// Offered by a session only while its caller sets ``SMTPSession/futureRelease``.
    package static let futureRelease = Self(rawValue: 1 << 13)  // RFC 4865

    /// What a listener offers unless told otherwise.
    package static let standard: Self = [
        .pipelining, .size, .eightBitMIME, .smtpUTF8, .enhancedStatusCodes, .chunking, .limits,
    ]

    /// The keyword lines, in the order in which they are always sent.
    ///
    /// Without a `futureRelease` there is no FUTURERELEASE, for its line names a date.
    func keywords(
        _ limits: SMTPLimits,
        futureRelease: FutureReleaseOffer? = nil
    ) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        if self.contains(.pipelining) { lines.append([UInt8]("PIPELINING".utf8)) }
        if self.contains(.size) {
            lines.append([UInt8]("SIZE \(limits.maximumMessageOctets)".utf8))
        }
        if self.contains(.eightBitMIME) { lines.append([UInt8]("8BITMIME".utf8)) }
        // SMTPUTF8 may only be offered together with 8BITMIME (RFC 6531 §3.1).
        if self.contains(.smtpUTF8), self.contains(.eightBitMIME) {
            lines.append([UInt8]("SMTPUTF8".utf8))
        }
        if self.contains(.enhancedStatusCodes) {
            lines.append([UInt8]("ENHANCEDSTATUSCODES".utf8))
        }
        if self.contains(.chunking) { lines.append([UInt8]("CHUNKING".utf8)) }
        // BINARYMIME needs BDAT (RFC 3030 §3).
        if self.contains(.binaryMIME), self.contains(.chunking) {
            lines.append([UInt8]("BINARYMIME".utf8))
        }
        if self.contains(.dsn) { lines.append([UInt8]("DSN".utf8)) }
        if self.contains(.limits) { lines.append(Self.limitsLine(limits)) }
        if self.contains(.prdr) { lines.append([UInt8]("PRDR".utf8)) }
        if self.contains(.priority) { lines.append([UInt8]("MT-PRIORITY".utf8)) }
        if self.contains(.futureRelease), let futureRelease { lines.append(futureRelease.keyword) }
        if self.contains(.requireTLS) { lines.append([UInt8]("REQUIRETLS".utf8)) }
        if self.contains(.startTLS) { lines.append([UInt8]("STARTTLS".utf8)) }
        return lines
    }

    /// What a client can know of the limits beforehand (RFC 9422 §3); one that is 0 is none.
    ///
    /// A value has six digits at most (RFC 9422 §4); a greater limit is announced as the greatest value.
    private static func limitsLine(_ limits: SMTPLimits) -> [UInt8] {
        let recipients = min(limits.maximumRecipients, 999_999)
        let transactions = min(limits.maximumTransactions, 999_999)
        let messages = transactions > 0 ? " MAILMAX=\(transactions)" : ""
        return [UInt8]("LIMITS RCPTMAX=\(recipients)\(messages)".utf8)
    }
}

/// What a session has become, as far as EHLO's keywords depend on it.
package struct SMTPSecurity: Hashable, Sendable {
    /// The connection is encrypted (RFC 3207 §4.2: STARTTLS is not offered again).
    package var isEncrypted = false
    /// It is encrypted, and there is a certificate of ours that a login can be bound to (RFC 5929 §4).
    package var isBound = false
    /// The client said who it is (RFC 4954 §4: AUTH is not taken again).
    package var isAuthenticated = false

    /// Every state that there is, in the order of ``index``.
    static let all: [Self] = (0..<8).map {
        Self(isEncrypted: $0 & 1 != 0, isBound: $0 & 4 != 0, isAuthenticated: $0 & 2 != 0)
    }

    /// 0 to 7.
    var index: Int {
        (self.isEncrypted ? 1 : 0) + (self.isAuthenticated ? 2 : 0) + (self.isBound ? 4 : 0)
    }
}
