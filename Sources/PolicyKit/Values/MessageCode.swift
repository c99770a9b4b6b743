internal import Crypto

/// Codes that prove that a message comes from a holder of a secret key.
package enum MessageCode {
    /// HMAC-SHA-256 of `message` (RFC 2104): 32 octets.
    package static func sha256(of message: [UInt8], key: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: key)))
    }
}
