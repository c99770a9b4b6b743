/// What proves who a client is, at `auth`.
public enum LoginProof: Sendable, Hashable {
    /// PLAIN and LOGIN; never empty.
    case password(Bytes)
    /// CRAM-MD5: 32 hexadecimal digits, made of the challenge and the password (RFC 2195 §2).
    case response(Bytes, challenge: Bytes)

    /// What a client that knows `password` answers to the challenge of CRAM-MD5 (RFC 2195 §2).
    public static func cramMD5(password: Bytes, challenge: Bytes) -> Self {
        let digest = MD5.authenticationCode(of: challenge.octets, key: password.octets)
        return .response(Bytes(octets: digest.hexadecimalDigits), challenge: challenge)
    }

    /// Whether the client knows `password`.
    ///
    /// The time that this takes does not depend on how much of the password was right. With CRAM-MD5,
    /// too, the password is needed in clear text.
    public func matches(_ password: Bytes) -> Bool {
        switch self {
        case .password(let given):
            return given.octets.isEqualInConstantTime(password.octets)

        case .response(let response, let challenge):
            guard
                case .response(let right, _) = Self.cramMD5(
                    password: password,
                    challenge: challenge
                )
            else { return false }
            return response.asciiLowercased.octets.isEqualInConstantTime(right.octets)
        }
    }
}

/// How many logins failed lately; the operator says how long that is (`auth_failures_remembered_ms`).
public struct LoginFailures: Sendable, Hashable {
    /// From the client's address; of IPv6 from its /64.
    public var address: Int
    /// Of the user, from anywhere.
    public var user: Int

    /// Counts of failures.
    public init(address: Int = 0, user: Int = 0) {
        self.address = address
        self.user = user
    }
}

/// A proof in a log or an error shows what kind it is, and nothing of it.
extension LoginProof: CustomStringConvertible, CustomReflectable {
    /// `password` or `response`.
    public var description: String {
        switch self {
        case .password: "password"
        case .response: "response"
        }
    }

    /// Nothing, for `dump` and the like.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension [UInt8] {
    /// Whether both are the same.
    ///
    /// The time that this takes depends on the number of octets of `self` alone.
    package func isEqualInConstantTime(_ secret: [UInt8]) -> Bool {
        var difference: UInt8 = self.count == secret.count ? 0 : 1
        for (index, octet) in self.enumerated() {
            difference |= octet ^ (index < secret.count ? secret[index] : 0)
        }
        return difference == 0
    }

    /// Two digits an octet, in lower case.
    fileprivate var hexadecimalDigits: [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return self.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }
}
