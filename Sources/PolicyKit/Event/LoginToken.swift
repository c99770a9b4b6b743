import JSON

// OAUTHBEARER (RFC 7628) and XOAUTH2: a token in the client's first message.
extension HookEvent<AuthStage> {
    /// The token that an identity provider gave the client; `nil` with other mechanisms, and if the message
    /// has none.
    ///
    /// Never to be logged or kept.
    public var bearerToken: Bytes? {
        guard self.isOfToken, case .message(let message) = self.proof, message.step == 1 else {
            return nil
        }
        let prefix = "auth=bearer "
        for pair in message.octets.octets.split(separator: 0x01) {
            let start = Bytes(octets: Array(pair.prefix(prefix.utf8.count)))
            guard start.asciiLowercased == Bytes(prefix) else { continue }
            let token = pair.dropFirst(prefix.utf8.count).drop { $0 == UInt8(ascii: " ") }
            // RFC 6750 §2.1.
            guard !token.isEmpty, token.allSatisfy({ (0x21...0x7E).contains($0) }) else {
                return nil
            }
            return Bytes(octets: Array(token))
        }
        return nil
    }

    private var isOfToken: Bool { self.mechanism == "OAUTHBEARER" || self.mechanism == "XOAUTH2" }

    /// Refuses the token of a login by OAUTHBEARER or XOAUTH2, in two steps: the client is told why as a
    /// challenge, answers it without saying anything, and is refused (RFC 7628 §3.2.3).
    ///
    /// Return it at every step for which ``bearerToken`` is not a good token.
    ///
    /// - Parameter scope: What a token needs, in words of the identity provider: printable ASCII. Mail
    ///   programs ask for such a token then.
    /// - Returns: The answer to return.
    public func refuseToken(scope: String? = nil) -> Answer {
        guard self.isOfToken, case .message(let message) = self.proof, message.step == 1 else {
            return .deny
        }
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("status")
        writer.string(self.mechanism == "XOAUTH2" ? "401" : "invalid_token")
        writer.key("schemes")
        writer.string("bearer")
        if let scope {
            writer.key("scope")
            writer.string(scope)
        }
        writer.endObject()
        return self.challenge(Bytes(octets: writer.octets))
    }
}
