package import Configuration
import NIOCore
package import NIOSSL

/// The certificates and settings of `[tls]`, loaded and checked: what new connections are encrypted
/// with.
///
/// Immutable: changed files are loaded into another one. Loading reads files and must not run on an
/// event loop.
package struct TLSCertificates: Sendable {
    private let context: NIOSSLContext
    /// What ``context`` was made of.
    private let configuration: TLSConfiguration
    /// Of each listener, in their order, what is asked of its clients; `nil`: nothing.
    private let clients: [(rule: ClientCertificateRule, configuration: TLSConfiguration)?]
    /// What is allowed and looks like a mistake; a line each.
    package let warnings: [String]
    /// All names that a client may ask for, in lower case.
    package let names: [String]
    private let serverNames: ServerNames
    /// Of each certificate.
    private let endPoints: [[UInt8]?]
    /// What the files were when they were read.
    private let stamps: [String: FileStamp?]

    /// Reads the files of `[tls]` and of `client_ca_file`.
    ///
    /// - Parameters:
    ///   - frontend: With at least one certificate.
    ///   - now: Unix seconds.
    /// - Throws: All that is wrong with the files.
    package init(_ frontend: FrontendConfiguration, now: Int) throws(ConfigurationErrors) {
        self.stamps = Self.stamps(frontend)
        let settings = frontend.tls
        var certificates: [ServerCertificate] = []
        var errors: [ConfigurationError] = []
        for entry in settings.certificates {
            do throws(ConfigurationErrors) {
                certificates.append(try ServerCertificate(entry))
            } catch {
                errors += error.errors
            }
        }
        let authorities = Self.authorities(frontend, now: now, &errors)
        guard errors.isEmpty, let first = certificates.first else {
            throw ConfigurationErrors(errors)
        }
        self.warnings =
            certificates.compactMap { $0.dates.warning(of: "the certificate", in: $0.file, now) }
            + authorities.sorted { $0.key < $1.key }.flatMap(\.value.warnings)
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
        self.configuration = configuration
        self.clients = frontend.listeners.map {
            Self.client($0.clientCertificates, authorities, configuration)
        }
        do {
            self.context = try NIOSSLContext(configuration: configuration)
            for client in self.clients {
                _ = try client.map { try NIOSSLContext(configuration: $0.configuration) }
            }
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

    // MARK: - Clients

    /// The authorities by their files; what is wrong with a file becomes an error.
    private static func authorities(
        _ frontend: FrontendConfiguration,
        now: Int,
        _ errors: inout [ConfigurationError]
    ) -> [String: ClientAuthorities] {
        var authorities: [String: ClientAuthorities] = [:]
        for file in Set(frontend.listeners.compactMap(\.clientCertificates.authorityFile)).sorted()
        {
            do throws(ConfigurationErrors) {
                authorities[file] = try ClientAuthorities(file, now: now)
            } catch {
                errors += error.errors
            }
        }
        return authorities
    }

    private static func client(
        _ settings: FrontendConfiguration.ClientCertificates,
        _ authorities: [String: ClientAuthorities],
        _ configuration: TLSConfiguration
    ) -> (rule: ClientCertificateRule, configuration: TLSConfiguration)? {
        guard settings.demand != .none else { return nil }
        let authorities = settings.authorityFile.flatMap { authorities[$0] }
        var configuration = configuration
        // What the library would check with these authorities, the rule checks in its place.
        configuration.certificateVerification =
            settings.demand == .require ? .noHostnameVerification : .optionalVerification
        configuration.trustRoots = .certificates(authorities?.certificates ?? [])
        configuration.sendCANameList = true
        let rule = ClientCertificateRule(
            isRequired: settings.demand == .require,
            anchors: authorities?.anchors
        )
        return (rule, configuration)
    }

    /// What one connection to a listener is encrypted with, and what is asked of its client.
    ///
    /// A client that is asked gets a context of its own, so that no session is resumed. In a resumed session the
    /// client shows no certificate (RFC 8446 §2.2), and the facts would not be those of this handshake.
    ///
    /// - Parameter listener: Its place in the configuration.
    /// - Returns: The context, and the rule; `nil`: nothing is asked.
    /// - Throws: What the library says.
    package func connection(
        to listener: Int
    ) throws -> (context: NIOSSLContext, client: ClientCertificateRule?) {
        guard self.clients.indices.contains(listener), let client = self.clients[listener] else {
            return (self.context, nil)
        }
        return (try NIOSSLContext(configuration: client.configuration), client.rule)
    }

    // MARK: - Names

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

    /// What a login can be bound to: `tls-server-end-point` of the certificate that a client is shown that
    /// asks for this name, or for none (RFC 5929 §4); `nil` if there is none for its kind.
    package func endPoint(for name: String?) -> [UInt8]? {
        guard self.endPoints.count > 1, let name else { return self.endPoints[0] }
        return self.endPoints[self.serverNames.certificate(for: name) ?? 0]
    }

    /// Whether a certificate has this name.
    package func has(name: String) -> Bool { self.serverNames.certificate(for: name) != nil }

    // MARK: - Changes

    /// Whether a file of this configuration is another than the one that was read.
    package func haveFilesChanged(_ frontend: FrontendConfiguration) -> Bool {
        Self.stamps(frontend) != self.stamps
    }

    private static func stamps(_ frontend: FrontendConfiguration) -> [String: FileStamp?] {
        let files = frontend.tlsFiles
        return Dictionary(files.map { ($0, FileStamp(path: $0)) }) { first, _ in first }
    }
}
