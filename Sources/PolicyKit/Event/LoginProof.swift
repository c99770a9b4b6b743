/// What proves who a client is, at `auth`.
public enum LoginProof: Sendable, Hashable {
    /// PLAIN and LOGIN; never empty.
    case password(Bytes)
    /// CRAM-MD5: 32 hexadecimal digits, made of the challenge and the password (RFC 2195 §2).
    case response(Bytes, challenge: Bytes)
}
