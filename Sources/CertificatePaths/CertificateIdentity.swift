internal import COpenSSL
internal import Crypto

/// What a certificate says of its owner, and how it is told from others.
package struct CertificateIdentity: Sendable, Equatable {
    /// The owner's name in the form of RFC 4514, as in `CN=mail.example.org,O=Example`; `nil` if it cannot be
    /// read or is longer than ``maximumNameOctets``.
    package let subject: String?
    /// The name of the authority that signed it, in the same form.
    package let issuer: String?
    /// SHA-256 of the certificate in DER: 64 hexadecimal digits in lower case.
    package let fingerprint: String
    /// SHA-256 of its public key, the SubjectPublicKeyInfo in DER, which stays the same when the certificate is
    /// renewed with the same key; `nil` if it cannot be read.
    package let keyFingerprint: String?

    /// The longest name that is told.
    package static let maximumNameOctets = 1_024

    /// - Parameter certificate: In DER.
    package init(_ certificate: [UInt8]) {
        self.subject = Self.name(certificate, isIssuer: false)
        self.issuer = Self.name(certificate, isIssuer: true)
        self.fingerprint = Self.hexadecimal(certificate)
        self.keyFingerprint = CertificateKey.octets(of: certificate).map { Self.hexadecimal($0) }
    }

    private static func name(_ certificate: [UInt8], isIssuer: Bool) -> String? {
        let room = Self.maximumNameOctets
        let name = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
            let length = buffer.withMemoryRebound(to: CChar.self) {
                gatepost_certificate_name(
                    certificate,
                    certificate.count,
                    isIssuer ? 1 : 0,
                    $0.baseAddress,
                    room
                )
            }
            count = max(0, length)
        }
        return name.isEmpty ? nil : String(decoding: name, as: UTF8.self)
    }

    private static func hexadecimal(_ octets: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        let text = SHA256.hash(data: octets).flatMap {
            [digits[Int($0 >> 4)], digits[Int($0 & 0xF)]]
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// The public key of a certificate.
enum CertificateKey {
    /// Keys of post-quantum algorithms have some thousand octets.
    private static let maximumOctets = 65_536

    /// The SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) in DER; `nil` if it cannot be read.
    static func octets(of certificate: [UInt8]) -> [UInt8]? {
        let key = [UInt8](unsafeUninitializedCapacity: Self.maximumOctets) { buffer, count in
            count = max(
                0,
                gatepost_certificate_key(
                    certificate,
                    certificate.count,
                    buffer.baseAddress,
                    Self.maximumOctets
                )
            )
        }
        return key.isEmpty ? nil : key
    }
}
