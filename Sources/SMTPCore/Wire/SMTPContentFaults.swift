/// What a bare CR or LF in message content means.
package enum BareNewlineRule: Equatable, Sendable {
    /// The message is read to its end and refused, 554 5.5.2.
    case reject
    /// A bare LF or CR becomes CRLF before anything sees it, and CRs before a CRLF go.
    ///
    /// None of them ends a message.
    case normalize
}

/// Everything wrong with a message so far; the reply names the first of these that applies.
package struct SMTPContentFaults: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// An LF that no CR preceded (RFC 5321 §2.3.8).
    package static let bareLineFeed = Self(rawValue: 1 << 0)
    /// A CR that no LF followed (RFC 5321 §2.3.8).
    package static let bareCarriageReturn = Self(rawValue: 1 << 1)
    /// Over `SMTPLimits.maximumTextLineOctets`.
    package static let lineTooLong = Self(rawValue: 1 << 2)
    /// Over `SMTPLimits.maximumMessageOctets`.
    package static let messageTooBig = Self(rawValue: 1 << 3)
    /// Over `SMTPLimits.maximumHeaderOctets` or `SMTPLimits.maximumHeaderFields`.
    package static let headerTooBig = Self(rawValue: 1 << 4)
    /// `SMTPLimits.maximumReceived` reached: a loop (RFC 5321 §6.3).
    package static let tooManyHops = Self(rawValue: 1 << 5)
    /// A NUL, where none is allowed.
    package static let nul = Self(rawValue: 1 << 6)
}
