import CertificatePaths
import Configuration
import NIOSSL

/// The authorities of a `client_ca_file`.
struct ClientAuthorities {
    /// Whose names clients are told, so that they choose a certificate.
    let certificates: [NIOSSLCertificate]
    let anchors: TrustAnchors
    /// A line for each that is not valid.
    let warnings: [String]

    private static let remedy = "write the certificates of the authorities in PEM"

    /// - Throws: What is wrong with the file.
    init(_ file: String, now: Int) throws(ConfigurationErrors) {
        let certificates = try PEMFile.certificates(file, Self.remedy)
        guard !certificates.isEmpty else {
            throw PEMFile.error(file, "holds no certificate", Self.remedy)
        }
        do {
            self.anchors = try TrustAnchors(certificates.map { try $0.toDERBytes() })
        } catch {
            throw PEMFile.error(file, "has a certificate that cannot be read", Self.remedy)
        }
        self.certificates = certificates
        self.warnings = certificates.compactMap { certificate in
            let subject = (try? certificate.toDERBytes()).flatMap {
                CertificateIdentity($0).subject
            }
            return CertificateDates(certificate).warning(
                of: subject.map { "the authority \($0)" } ?? "an authority",
                in: file,
                now
            )
        }
    }
}
