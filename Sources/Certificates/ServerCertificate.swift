import Configuration
import NIOSSL

/// A certificate with its chain and key, as `[[tls.certificate]]` names them.
struct ServerCertificate {
    let chain: [NIOSSLCertificateSource]
    let key: NIOSSLPrivateKeySource
    /// What a client may ask for, in lower case.
    let names: [String]
    let file: String
    /// What a login can be bound to; `nil` if there is none for its kind.
    let endPoint: [UInt8]?
    let dates: CertificateDates

    /// Reads both files, and checks that the key belongs to the certificate.
    ///
    /// - Throws: What is wrong, of either file.
    init(_ settings: FrontendConfiguration.TLS.Certificate) throws(ConfigurationErrors) {
        let certificates = try PEMFile.certificates(settings.chain, Self.chainRemedy)
        guard let leaf = certificates.first else {
            throw PEMFile.error(settings.chain, "holds no certificate", Self.chainRemedy)
        }
        let key = try Self.key(settings.key)
        self.file = settings.chain
        self.chain = certificates.map { .certificate($0) }
        self.key = .privateKey(key)
        self.names = settings.names.isEmpty ? Self.names(of: leaf) : settings.names
        self.endPoint = (try? leaf.toDERBytes()).flatMap { ServerEndPoint.endPoint(of: $0) }
        self.dates = CertificateDates(leaf)
        do {
            let pair = TLSConfiguration.makeServerConfiguration(
                certificateChain: self.chain,
                privateKey: self.key
            )
            _ = try NIOSSLContext(configuration: pair)
        } catch {
            throw PEMFile.error(
                settings.key,
                "is not the key of the certificate in \(settings.chain)",
                "name the key that the certificate was made for, and put the server's own certificate "
                    + "first in the chain"
            )
        }
    }

    private static let chainRemedy =
        "write PEM: the server's certificate first, then the intermediate ones"

    private static func key(_ file: String) throws(ConfigurationErrors) -> NIOSSLPrivateKey {
        let octets = try PEMFile.octets(file)
        do {
            return try NIOSSLPrivateKey(bytes: octets, format: .pem)
        } catch {
            throw PEMFile.error(
                file,
                "is not a private key in PEM, or needs a passphrase",
                "write the key in PEM without a passphrase"
            )
        }
    }

    /// The names of a certificate, in lower case (RFC 5280 §4.2.1.6, `dNSName`).
    private static func names(of certificate: NIOSSLCertificate) -> [String] {
        certificate._subjectAlternativeNames().compactMap { name in
            guard name.nameType == .dnsName else { return nil }
            return String(decoding: name.contents, as: UTF8.self).lowercased()
        }
    }
}
