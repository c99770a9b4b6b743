import PolicyKit

/// The most results that one transaction keeps.
private let maximumResults = 100

extension NoteKey<[String]> {
    /// What the checks of this message found, each as one `resinfo` of RFC 8601 §2.2.
    static let authenticationResults = NoteKey("authentication_results", in: .transaction)
}

extension NoteKey<JSONValue> {
    /// What SPF found: an object with `result`, `domain`, and `identity` (`mailfrom` or `helo`).
    static let spf = NoteKey("spf", in: .transaction)
    /// What each DKIM-Signature is worth: a list of objects with `result`, `domain`, `selector`, `identity` and
    /// `algorithm`.
    static let dkim = NoteKey("dkim", in: .transaction)
    /// What the message's chain of ARC sets is worth: an object with `result`.
    static let arc = NoteKey("arc", in: .transaction)
    /// What DMARC found: an object with `result`, `domain`, `policy` and `disposition`.
    static let dmarc = NoteKey("dmarc", in: .transaction)
}

extension HookEvent {
    /// Keeps one result for the message's Authentication-Results field.
    ///
    /// - Parameter result: One `resinfo` of RFC 8601 §2.2 without its semicolon, such as
    ///   `spf=pass smtp.mailfrom=example.org`. The hundredth of a transaction is the last that is kept.
    func addAuthenticationResult(_ result: String) {
        var results = self.notes[.authenticationResults] ?? []
        guard results.count < maximumResults else { return }
        results.append(result)
        self.notes[.authenticationResults] = results
    }
}
