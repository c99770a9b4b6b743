/// A way in which a client proves who it is.
///
/// - Note: RFC 4954 §3, §4.
package enum SMTPMechanism: String, CaseIterable, Sendable {
    /// The password, with the user's name, in one message (RFC 4616).
    case plain = "PLAIN"
    /// The user's name and the password in two messages; no RFC has it, many devices do.
    case login = "LOGIN"
    /// A keyed hash of a challenge (RFC 2195): the server has to know the password itself.
    case cramMD5 = "CRAM-MD5"
    /// A proof in two messages, without the password (RFC 5802, RFC 7677).
    case scramSHA256 = "SCRAM-SHA-256"
    /// The same, bound to the certificate that we showed (RFC 5929 §4): only where there is one to bind to.
    case scramSHA256Plus = "SCRAM-SHA-256-PLUS"
    /// A token of an identity provider (RFC 7628).
    case oauthBearer = "OAUTHBEARER"
    /// The same in the form that was there before OAUTHBEARER; no RFC has it.
    case xoauth2 = "XOAUTH2"

    /// The mechanism that stands in `range`, in any letter case; `nil` if we know none of that name.
    init?(in octets: borrowing Span<UInt8>, _ range: Range<Int>) {
        for mechanism in Self.allCases where octets.equals(mechanism.name, in: range) {
            self = mechanism
            return
        }
        return nil
    }

    /// Whether a session in this state may be offered it; `inClear`: those without encryption, too.
    func isOffered(in security: SMTPSecurity, inClear: Bool) -> Bool {
        switch self {
        case .scramSHA256Plus: security.isBound
        case .plain, .login, .cramMD5, .scramSHA256, .oauthBearer, .xoauth2:
            security.isEncrypted || inClear
        }
    }

    /// The name, in capitals.
    private var name: StaticString {
        switch self {
        case .plain: "PLAIN"
        case .login: "LOGIN"
        case .cramMD5: "CRAM-MD5"
        case .scramSHA256: "SCRAM-SHA-256"
        case .scramSHA256Plus: "SCRAM-SHA-256-PLUS"
        case .oauthBearer: "OAUTHBEARER"
        case .xoauth2: "XOAUTH2"
        }
    }
}

/// Who a client says it is, and its proof.
package struct SMTPCredentials: Equatable, Sendable {
    package let mechanism: SMTPMechanism
    /// The identity to be proved, as the client wrote it: 1 to ``SMTPLimits/credentialOctets``, no NUL.
    package let user: [UInt8]
    package let proof: Proof

    package enum Proof: Equatable, Sendable {
        /// 1 to ``SMTPLimits/credentialOctets``, no NUL.
        case password([UInt8])
        /// What we sent, and what the client made of it: 32 hexadecimal digits.
        case response([UInt8], challenge: [UInt8])
        /// A message of a mechanism of several steps, as the client sent it, base64 apart.
        ///
        /// `step` is 1 for the client's first; the others answer policy's challenges, and may be empty.
        case message([UInt8], step: Int)
    }

    package init(mechanism: SMTPMechanism, user: [UInt8], proof: Proof) {
        self.mechanism = mechanism
        self.user = user
        self.proof = proof
    }
}
