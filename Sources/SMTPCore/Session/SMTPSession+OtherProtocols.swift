import Octets

// A browser or a TLS client that was sent to this port: what it says first is no SMTP.

extension SMTPSession {
    /// Methods of HTTP.
    private static let methods = ["GET", "POST", "HEAD", "PUT", "CONNECT", "OPTIONS"]
        .map { [UInt8]($0.utf8) }

    /// The type of a TLS record with a handshake (RFC 8446 §5.1); no command begins with it.
    private static let handshakeRecord: UInt8 = 0x16

    /// Whether the first line of a session, complete or not, is another protocol's.
    ///
    /// What follows may hold SMTP commands that an attacker made a browser send, from the browser's place
    /// in the network.
    func beginsOtherProtocol(_ octets: borrowing Span<UInt8>) -> Bool {
        guard octets.count > 0,
            !self.configuration.commandOptions.contains(.otherProtocols)
        else { return false }
        if octets[0] == Self.handshakeRecord { return true }
        for method in Self.methods where Self.isFirstWord(method, octets) { return true }
        return false
    }

    private static func isFirstWord(_ word: [UInt8], _ octets: borrowing Span<UInt8>) -> Bool {
        guard octets.count > word.count, octets[word.count] <= .space else { return false }
        for (index, octet) in word.enumerated() where octets[index] != octet { return false }
        return true
    }

    mutating func refuseOtherProtocol() -> SMTPAction {
        self.meter.unrecognizedReceived()
        self.meter.errorMade()
        return self.close(StandardReplies.otherProtocol)
    }
}
