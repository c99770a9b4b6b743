/// Where a message without a header section begins.
enum HeaderBorder {
    /// Puts an empty line before octets that start with a space or a tab.
    ///
    /// A first line that starts with white space continues no field of the message's own, so there is
    /// no header section. But header fields are put on top of it, Received for one, and without an
    /// empty line between it would read as going on with the last of them (RFC 5322 §2.2.3). Whoever
    /// sends the message chooses those octets, so they must not end in a field that we vouch for.
    ///
    /// `octets` is the start of the message.
    static func close(_ octets: inout [UInt8]) {
        guard let first = octets.first, first == 0x20 || first == 0x09 else { return }
        octets.insert(contentsOf: [0x0D, 0x0A], at: 0)
    }
}
