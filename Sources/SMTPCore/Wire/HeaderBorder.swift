import Octets

/// The border between header section and body: the same for us and for every reader of the mail.
package enum HeaderBorder {
    /// Put before the first line of a mailbox file, it makes that line a field.
    private static let mailboxLineName = Array("X-Mailbox-Line: ".utf8)

    /// Mends the start of a message so that the section ends where ``HeaderGrammar`` says.
    ///
    /// Fields are added above and below those that came. So a body that does not begin with an empty
    /// line gets one (RFC 5322 §2.1): else its first line could be read as a field, or, if it begins with
    /// white space, as a continuation of the last field, which may be our Received. A first line `From …`
    /// becomes the value of a field: some readers end the header there, and others do not.
    ///
    /// - Parameters:
    ///   - octets: The start of the message, up to the octet that ended the section at least.
    ///   - bodyOffset: Where the section ends.
    /// - Returns: Where it ends now.
    package static func close(_ octets: inout [UInt8], bodyOffset: Int) -> Int {
        guard (0...octets.count).contains(bodyOffset) else { return bodyOffset }
        if bodyOffset < octets.count, octets[bodyOffset] != .carriageReturn {
            octets.insert(contentsOf: [.carriageReturn, .lineFeed], at: bodyOffset)
        }
        guard bodyOffset > 0, HeaderGrammar.field(in: octets.span, at: 0) == nil else {
            return bodyOffset
        }
        octets.insert(contentsOf: self.mailboxLineName, at: 0)
        return bodyOffset + self.mailboxLineName.count
    }
}
