internal import Crypto

/// What a TLSA record says of a certificate, apart from its usage (RFC 6698 §2.1).
package struct CertificateAssociation: Sendable, Hashable {
    /// What is compared.
    package enum Selector: UInt8, Sendable, CaseIterable {
        case certificate = 0
        /// The SubjectPublicKeyInfo.
        case key = 1
    }

    /// How it is compared.
    package enum Matching: UInt8, Sendable, CaseIterable {
        case whole = 0
        case sha256 = 1
        case sha512 = 2
    }

    package let selector: Selector
    package let matching: Matching
    package let data: [UInt8]

    /// - Returns: `nil` if no certificate can match: numbers of which RFC 6698 knows nothing, or data that does
    ///   not have their form.
    package init?(selector: UInt8, matching: UInt8, data: [UInt8]) {
        guard let selector = Selector(rawValue: selector),
            let matching = Matching(rawValue: matching)
        else { return nil }
        switch matching {
        case .whole: guard !data.isEmpty else { return nil }
        case .sha256: guard data.count == SHA256.byteCount else { return nil }
        case .sha512: guard data.count == SHA512.byteCount else { return nil }
        }
        self.selector = selector
        self.matching = matching
        self.data = data
    }

    /// Whether this certificate, in DER, is meant.
    package func matches(_ certificate: [UInt8]) -> Bool {
        let octets: [UInt8]
        switch self.selector {
        case .certificate: octets = certificate
        case .key:
            guard let key = CertificateKey.octets(of: certificate) else { return false }
            octets = key
        }
        return switch self.matching {
        case .whole: octets == self.data
        case .sha256: SHA256.hash(data: octets).elementsEqual(self.data)
        case .sha512: SHA512.hash(data: octets).elementsEqual(self.data)
        }
    }
}
