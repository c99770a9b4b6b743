package import Configuration
import NIOCore
package import NIOSSL

/// The certificates and settings of `[tls]`, loaded and checked: what new connections are encrypted
/// with.
///
/// Immutable: changed files are loaded into another one. Loading reads files and must not run on an
/// event loop.
package struct TLSCertificates: Sendable {
    package let context: NIOSSLContext
    /// What is allowed and looks like a mistake; a line each.
    package let warnings: [String]
    /// All names that a client may ask for, in lower case.
    package let names: [String]
    private let serverNames: ServerNames
    /// Of each certificate.
    private let endPoints: [[UInt8]?]
    /// What the files were when they were read.
    private let stamps: [String: FileStamp?]

    /// Reads the files of `settings`.
    ///
    /// - Parameters:
    ///   - settings: At least one certificate.
    ///   - now: Unix seconds.
    /// - Throws: All that is wrong with the files.
    package init(_ settings: FrontendConfiguration.TLS, now: Int) throws(ConfigurationErrors) {
        self.stamps = Self.stamps(settings)
        var certificates: [ServerCertificate] = []
        var errors: [ConfigurationError] = []
        for entry in settings.certificates {
            do throws(ConfigurationErrors) {
                certificates.append(try ServerCertificate(entry))
            } catch {
                errors += error.errors
            }
        }
        guard errors.isEmpty, let first = certificates.first else {
            throw ConfigurationErrors(errors)
        }
        self.warnings = certificates.compactMap { Self.warning($0, now) }
        self.names = certificates.flatMap(\.names)
        self.serverNames = ServerNames(certificates.map(\.names))
        self.endPoints = certificates.map(\.endPoint)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: first.chain,
            privateKey: first.key
        )
        configuration.minimumTLSVersion =
            switch settings.minimumVersion {
            case .tls12: .tlsv12
            case .tls13: .tlsv13
            }
        // Only numbers that the library knows get here: it ends the process on any other word.
        configuration.cipherSuiteValues = settings.ciphers.map { NIOTLSCipher($0.code) }
        configuration.certificateVerification = .none
        configuration.trustRoots = .certificates([])
        if certificates.count > 1 {
            Self.choose(certificates, by: self.serverNames, &configuration)
        }
        do {
            self.context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw ConfigurationErrors([
                ConfigurationError(
                    file: first.file,
                    line: nil,
                    key: nil,
                    problem: "cannot be used for TLS: \(error)",
                    remedy: "write certificates in PEM"
                )
            ])
        }
    }

    /// Shows the certificate of the name that the client asks for, and the first if none has it.
    private static func choose(
        _ certificates: [ServerCertificate],
        by names: ServerNames,
        _ configuration: inout TLSConfiguration
    ) {
        let choices = certificates.map { certificate in
            var choice = NIOSSLContextConfigurationOverride()
            choice.certificateChain = certificate.chain
            choice.privateKey = certificate.key
            return choice
        }
        configuration.sslContextCallback = { hello, promise in
            let index = hello.serverHostname.flatMap { names.certificate(for: $0) } ?? 0
            promise.succeed(index == 0 ? .noChanges : choices[index])
        }
    }

    /// Days before its end in which a certificate is warned of.
    private static let warningDays = 14

    private static func warning(_ certificate: ServerCertificate, _ now: Int) -> String? {
        let days = certificate.notAfter.subtractingReportingOverflow(now).partialValue / 86_400
        if certificate.notAfter <= now {
            return "\(certificate.file): the certificate expired \(-days) days ago; renew it"
        }
        if days < Self.warningDays {
            return "\(certificate.file): the certificate expires in \(days) days; renew it"
        }
        if certificate.notBefore > now {
            return "\(certificate.file): the certificate is not valid yet; look at the clock"
        }
        return nil
    }

    /// What a login can be bound to: `tls-server-end-point` of the certificate that a client is shown that
    /// asks for this name, or for none (RFC 5929 §4); `nil` if there is none for its kind.
    package func endPoint(for name: String?) -> [UInt8]? {
        guard self.endPoints.count > 1, let name else { return self.endPoints[0] }
        return self.endPoints[self.serverNames.certificate(for: name) ?? 0]
    }

    /// Whether a certificate has this name.
    package func has(name: String) -> Bool { self.serverNames.certificate(for: name) != nil }

    // MARK: - Changes

    /// Whether a file of these settings is another than the one that was read.
    package func haveFilesChanged(_ settings: FrontendConfiguration.TLS) -> Bool {
        Self.stamps(settings) != self.stamps
    }

    private static func stamps(_ settings: FrontendConfiguration.TLS) -> [String: FileStamp?] {
        let files = settings.certificates.flatMap { [$0.chain, $0.key] }
        return Dictionary(files.map { ($0, FileStamp(path: $0)) }) { first, _ in first }
    }
}
