/// What proves who a client is, at `auth`.
public enum LoginProof: Sendable, Hashable {
    /// PLAIN and LOGIN; never empty.
    case password(Bytes)
    /// CRAM-MD5: 32 hexadecimal digits, made of the challenge and the password (RFC 2195 §2).
    case response(Bytes, challenge: Bytes)
    /// A message of a mechanism of several steps: SCRAM-SHA-256, OAUTHBEARER and XOAUTH2.
    case message(LoginMessage)

    /// What a client that knows `password` answers to the challenge of CRAM-MD5 (RFC 2195 §2).
    public static func cramMD5(password: Bytes, challenge: Bytes) -> Self {
        let digest = MD5.authenticationCode(of: challenge.octets, key: password.octets)
        return .response(Bytes(octets: digest.hexadecimalDigits), challenge: challenge)
    }

    /// Whether the client knows `password`.
    ///
    /// The time that this takes does not depend on how much of the password was right. With CRAM-MD5,
    /// too, the password is needed in clear text. A message proves nothing by itself.
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

        case .message: return false
        }
    }
}

/// One message of a login of several steps.
///
/// Nothing of the login stays in a worker: what it wants to know again goes with its challenge
/// (``HookEvent/challenge(_:state:)``) and comes back with the client's answer, to any worker of the pool.
public struct LoginMessage: Sendable, Hashable {
    /// What the client sent, base64 apart; it may be empty, but for the first.
    public var octets: Bytes
    /// 1 for the client's first message.
    public var step: Int
    /// What came with the challenge that the client answers; `nil` at the first step.
    public var state: Bytes?

    /// A message.
    public init(_ octets: Bytes, step: Int = 1, state: Bytes? = nil) {
        self.octets = octets
        self.step = step
        self.state = state
    }
}

/// A message in a log or an error shows its step, and nothing of its octets.
extension LoginMessage: CustomStringConvertible, CustomReflectable {
    /// `message of step 1`.
    public var description: String { "message of step \(self.step)" }

    /// Nothing, for `dump` and the like.
    public var customMirror: Mirror { Mirror(self, children: []) }
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
    /// `password`, `response` or `message`.
    public var description: String {
        switch self {
        case .password: "password"
        case .response: "response"
        case .message: "message"
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
