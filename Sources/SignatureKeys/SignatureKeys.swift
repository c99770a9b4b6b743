internal import COpenSSL

/// What a key signs with.
package enum SignatureKeyKind: String, Sendable, CaseIterable {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).
    case rsa
    /// Ed25519 (RFC 8032).
    case ed25519
}

/// A key of libcrypto, which any thread may use: it is never changed.
private final class KeyHandle: @unchecked Sendable {
    let key: OpaquePointer

    init?(_ key: OpaquePointer?) {
        guard let key else { return nil }
        self.key = key
    }

    deinit { gatepost_key_free(self.key) }

    var kind: SignatureKeyKind {
        gatepost_key_kind(self.key) == Int32(gatepost_key_rsa) ? .rsa : .ed25519
    }

    var bits: Int { Int(gatepost_key_bits(self.key)) }

    /// What `write` writes; `nil` if it cannot.
    func written(_ write: (OpaquePointer, UnsafeMutablePointer<UInt8>?, Int) -> Int) -> [UInt8]? {
        let room = 32_768
        var isWritten = false
        let octets = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
            let length = write(self.key, buffer.baseAddress, room)
            isWritten = length >= 0
            count = max(0, length)
        }
        return isWritten ? octets : nil
    }
}

/// A public key, as the DNS has it.
package struct PublicKey: Sendable {
    /// The octets of a SHA-256 digest, which is what is signed.
    package static let digestOctets = 32

    private let handle: KeyHandle

    /// Reads an RSA key in DER.
    ///
    /// `nil` if it is neither, or if octets follow it.
    ///
    /// - Parameter der: A SubjectPublicKeyInfo (RFC 5280 §4.1), or an RSAPublicKey (RFC 8017, appendix A.1.1).
    package init?(rsa der: [UInt8]) {
        guard let handle = KeyHandle(gatepost_key_read_rsa(der, der.count)) else { return nil }
        self.handle = handle
    }

    /// Takes the 32 octets of an Ed25519 key.
    ///
    /// - Returns: `nil` if they are not 32.
    package init?(ed25519 octets: [UInt8]) {
        guard let handle = KeyHandle(gatepost_key_read_ed25519(octets, octets.count)) else {
            return nil
        }
        self.handle = handle
    }

    package var kind: SignatureKeyKind { self.handle.kind }

    /// The bits of an RSA key's modulus.
    package var bits: Int { self.handle.bits }

    /// Whether `signature` is one of this key over a SHA-256 digest.
    package func verifies(_ signature: [UInt8], of digest: [UInt8]) -> Bool {
        digest.count == Self.digestOctets
            && gatepost_key_verify(self.handle.key, digest, signature, signature.count) == 1
    }

    /// The octets of ``PrivateKey/publicOctets``; `nil` if they cannot be written.
    package var octets: [UInt8]? { self.handle.written { gatepost_key_write_public($0, $1, $2) } }
}

/// A private key, as a file has it.
package struct PrivateKey: Sendable {
    private let handle: KeyHandle

    /// Reads a key in PEM: PKCS #8 or PKCS #1, without a password.
    ///
    /// - Returns: `nil` if it cannot be read, or if it is neither RSA nor Ed25519.
    package init?(pem: [UInt8]) {
        guard let handle = KeyHandle(gatepost_key_read_private(pem, pem.count)) else { return nil }
        self.handle = handle
    }

    /// Makes a key; `nil` if that cannot be.
    ///
    /// - Parameters:
    ///   - kind: Its kind.
    ///   - bits: Of an RSA key's modulus; without meaning for others.
    package init?(generating kind: SignatureKeyKind, bits: Int = 2_048) {
        let number = kind == .rsa ? gatepost_key_rsa : gatepost_key_ed25519
        guard bits > 0, let handle = KeyHandle(gatepost_key_generate(Int32(number), bits)) else {
            return nil
        }
        self.handle = handle
    }

    package var kind: SignatureKeyKind { self.handle.kind }

    /// The bits of an RSA key's modulus.
    package var bits: Int { self.handle.bits }

    /// Signs a SHA-256 digest; `nil` if it does not have 32 octets, or if the key is too short to sign it.
    package func signature(of digest: [UInt8]) -> [UInt8]? {
        guard digest.count == PublicKey.digestOctets else { return nil }
        return self.handle.written { gatepost_key_sign($0, digest, $1, $2) }
    }

    /// The public key: of RSA a SubjectPublicKeyInfo in DER, of Ed25519 its 32 octets.
    package var publicOctets: [UInt8]? {
        self.handle.written { gatepost_key_write_public($0, $1, $2) }
    }

    /// The key in PEM, as PKCS #8.
    package var pem: [UInt8]? { self.handle.written { gatepost_key_write_pem($0, 1, $1, $2) } }

    /// The public key in PEM.
    package var publicPEM: [UInt8]? {
        self.handle.written { gatepost_key_write_pem($0, 0, $1, $2) }
    }
}
