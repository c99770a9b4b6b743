internal import Crypto

/// HMAC with MD5 (RFC 2104), which CRAM-MD5 is made of (RFC 2195 §2).
///
/// MD5 is broken as a digest of documents. It is here for the one mechanism that names it.
package enum MD5 {
    /// HMAC-MD5 of `message`: 16 octets.
    package static func authenticationCode(of message: [UInt8], key: [UInt8]) -> [UInt8] {
        Array(
            HMAC<Insecure.MD5>.authenticationCode(for: message, using: SymmetricKey(data: key))
        )
    }
}
