internal import Crypto

/// The channel binding `tls-server-end-point`: a digest of the certificate that a client was shown.
///
/// - Note: RFC 5929 §4.1.
package enum ServerEndPoint {
    private static let sequence: UInt8 = 0x30
    private static let objectIdentifier: UInt8 = 0x06
    /// 1.2.840.113549.1.1, the signatures of PKCS #1 (RFC 8017).
    private static let pkcs1: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01]
    /// 1.2.840.10045.4, those of ECDSA (RFC 5758 §3.2).
    private static let ecdsa: [UInt8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04]

    /// The digest of the certificate by the function of its signature, or SHA-256 where that is MD5 or SHA-1.
    ///
    /// - Parameter certificate: DER (RFC 5280 §4.1).
    /// - Returns: `nil` if the signature has no digest function or one that is not known here, as with Ed25519
    ///   and RSASSA-PSS: the binding is not defined, or not offered.
    package static func endPoint(of certificate: [UInt8]) -> [UInt8]? {
        guard let algorithm = self.signatureAlgorithm(of: certificate) else { return nil }
        switch algorithm {
        case self.pkcs1 + [4], self.pkcs1 + [5], self.pkcs1 + [11], self.ecdsa + [1],
            self.ecdsa + [3, 2]:
            return Array(SHA256.hash(data: certificate))
        case self.pkcs1 + [12], self.ecdsa + [3, 3]: return Array(SHA384.hash(data: certificate))
        case self.pkcs1 + [13], self.ecdsa + [3, 4]: return Array(SHA512.hash(data: certificate))
        default: return nil
        }
    }

    /// The object identifier of `signatureAlgorithm`: the first field of the second field.
    private static func signatureAlgorithm(of certificate: [UInt8]) -> [UInt8]? {
        guard let outer = self.content(certificate[...], tag: self.sequence),
            let signed = self.content(outer, tag: self.sequence),
            let algorithm = self.content(outer[signed.endIndex...], tag: self.sequence)
        else { return nil }
        return self.content(algorithm, tag: self.objectIdentifier).map { Array($0) }
    }

    /// The content of the element that `octets` begin with; `nil` if it has another tag, or is cut short.
    private static func content(_ octets: ArraySlice<UInt8>, tag: UInt8) -> ArraySlice<UInt8>? {
        guard octets.count >= 2, octets.first == tag else { return nil }
        var rest = octets.dropFirst()
        guard let first = rest.popFirst() else { return nil }
        var length = Int(first)
        if first >= 0x80 {
            let count = Int(first & 0x7F)
            guard (1...4).contains(count), rest.count >= count else { return nil }
            length = rest.prefix(count).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(count)
        }
        guard rest.count >= length else { return nil }
        return rest.prefix(length)
    }
}
