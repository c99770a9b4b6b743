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

    /// The mechanism that stands in `range`, in any letter case; `nil` if we know none of that name.
    init?(in octets: borrowing Span<UInt8>, _ range: Range<Int>) {
        if octets.equals("PLAIN", in: range) {
            self = .plain
        } else if octets.equals("LOGIN", in: range) {
            self = .login
        } else if octets.equals("CRAM-MD5", in: range) {
            self = .cramMD5
        } else {
            return nil
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
    }

    package init(mechanism: SMTPMechanism, user: [UInt8], proof: Proof) {
        self.mechanism = mechanism
        self.user = user
        self.proof = proof
    }
}
