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
    /// Unix seconds.
    let notBefore: Int
    let notAfter: Int

    /// Reads both files, and checks that the key belongs to the certificate.
    ///
    /// - Throws: What is wrong, of either file.
    init(_ settings: FrontendConfiguration.TLS.Certificate) throws(ConfigurationErrors) {
        let certificates = try Self.chain(settings.chain)
        guard let leaf = certificates.first else {
            throw Self.error(settings.chain, "holds no certificate", Self.chainRemedy)
        }
        let key = try Self.key(settings.key)
        self.file = settings.chain
        self.chain = certificates.map { .certificate($0) }
        self.key = .privateKey(key)
        self.names = settings.names.isEmpty ? Self.names(of: leaf) : settings.names
        self.endPoint = (try? leaf.toDERBytes()).flatMap { ServerEndPoint.endPoint(of: $0) }
        self.notBefore = leaf.notValidBefore
        self.notAfter = leaf.notValidAfter
        do {
            let pair = TLSConfiguration.makeServerConfiguration(
                certificateChain: self.chain,
                privateKey: self.key
            )
            _ = try NIOSSLContext(configuration: pair)
        } catch {
            throw Self.error(
                settings.key,
                "is not the key of the certificate in \(settings.chain)",
                "name the key that the certificate was made for, and put the server's own certificate "
                    + "first in the chain"
            )
        }
    }

    private static let chainRemedy =
        "write PEM: the server's certificate first, then the intermediate ones"

    private static func chain(_ file: String) throws(ConfigurationErrors) -> [NIOSSLCertificate] {
        let octets = try Self.read(file)
        do {
            return try NIOSSLCertificate.fromPEMBytes(octets)
        } catch {
            throw Self.error(file, "is not a certificate in PEM", Self.chainRemedy)
        }
    }

    private static func key(_ file: String) throws(ConfigurationErrors) -> NIOSSLPrivateKey {
        let octets = try Self.read(file)
        do {
            return try NIOSSLPrivateKey(bytes: octets, format: .pem)
        } catch {
            throw Self.error(
                file,
                "is not a private key in PEM, or needs a passphrase",
                "write the key in PEM without a passphrase"
            )
        }
    }

    private static func read(_ file: String) throws(ConfigurationErrors) -> [UInt8] {
        do throws(FileOctets.Failure) {
            return try FileOctets.read(file).octets
        } catch {
            throw Self.error(file, error.reason, "make it readable for the frontend's user")
        }
    }

    private static func error(
        _ file: String,
        _ problem: String,
        _ remedy: String
    )
        -> ConfigurationErrors
    {
        ConfigurationErrors([
            ConfigurationError(file: file, line: nil, key: nil, problem: problem, remedy: remedy)
        ])
    }

    /// The names of a certificate, in lower case (RFC 5280 §4.2.1.6, `dNSName`).
    private static func names(of certificate: NIOSSLCertificate) -> [String] {
        certificate._subjectAlternativeNames().compactMap { name in
            guard name.nameType == .dnsName else { return nil }
            return String(decoding: name.contents, as: UTF8.self).lowercased()
        }
    }
}
