/// The three digits that begin a reply.
///
/// - Note: RFC 5321 §4.2.1: the first digit 2 to 5, the second 0 to 5.
package struct ReplyCode: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16

    /// `nil` unless SMTP knows such a number.
    package init?(rawValue: UInt16) {
        guard (200..<600).contains(rawValue), rawValue / 10 % 10 <= 5 else { return nil }
        self.rawValue = rawValue
    }

    /// Codes of our own tables, which a test holds valid.
    init(known rawValue: UInt16) { self.rawValue = rawValue }

    /// 2yz and 3yz: the command was accepted.
    package var isPositive: Bool { self.rawValue < 400 }

    /// 5yz: the client must not send the same again.
    package var isPermanent: Bool { self.rawValue >= 500 }

    /// Codes that announce the end of the connection.
    ///
    /// RFC 5321 §4.2.3, RFC 7504 §3.
    package var closes: Bool { self.rawValue == 421 || self.rawValue == 521 }
}
