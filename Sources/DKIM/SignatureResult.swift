/// What a signature is worth, in the words of RFC 8601 §2.7.1.
package enum SignatureResult: String, Sendable {
    case pass
    case fail
    /// It is right, but does not cover all of the body.
    case policy
    /// It is wrong, and its domain says that it is only tried out.
    case neutral
    /// The DNS did not answer.
    case temperror
    /// It can never be right: it or its key cannot be used.
    case permerror
}

/// Why a signature is not right.
package struct SignatureFailure: Error, Sendable, Equatable {
    package let result: SignatureResult
    /// A few words of printable ASCII, without quotes.
    package let reason: String

    init(_ result: SignatureResult, _ reason: String) {
        self.result = result
        self.reason = reason
    }
}

/// With what a signature was made (RFC 6376 §3.3, RFC 8463 §3).
package enum SignatureAlgorithm: String, Sendable, CaseIterable {
    case rsaSHA256 = "rsa-sha256"
    case ed25519SHA256 = "ed25519-sha256"

    init(_ octets: [UInt8]?) throws(SignatureFailure) {
        guard let octets else { throw SignatureFailure(.permerror, "no a=") }
        switch String(decoding: octets, as: UTF8.self) {
        case Self.rsaSHA256.rawValue: self = .rsaSHA256
        case Self.ed25519SHA256.rawValue: self = .ed25519SHA256
        // RFC 8301 §3.1
        case "rsa-sha1": throw SignatureFailure(.permerror, "rsa-sha1 is not secure")
        default: throw SignatureFailure(.permerror, "unknown algorithm")
        }
    }
}

/// What the DNS said about the name of a key.
package enum KeyAnswer: Sendable, Equatable {
    /// The texts of its TXT records.
    case records([[UInt8]])
    /// There is none.
    case none
    /// It did not answer.
    case failed
}
