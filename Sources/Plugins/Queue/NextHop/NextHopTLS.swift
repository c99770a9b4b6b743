import NIOCore
import NIOSSL
import PolicyKit
import System

/// How connections to a next hop are encrypted, and what its certificate must be.
struct NextHopTLS: Sendable {
    /// The words of Postfix's `smtp_tls_security_level`.
    enum Level: String, CaseIterable, Sendable {
        case none
        /// If the hop offers it; its certificate may be anything.
        case may
        /// Always; its certificate may be anything.
        case encrypt
        /// Always, with a certificate that an authority we trust gave for the hop's name.
        case verify
    }

    /// In clear text.
    static let none = Self(level: .none, isWrapped: false, name: nil, context: nil)

    let level: Level
    /// TLS from the first octet, without STARTTLS.
    private let isWrapped: Bool
    /// The name in the certificate and in SNI; `nil`: the hop's own.
    private let name: String?
    /// `nil` only in clear text.
    private let context: NIOSSLContext?

    private init(level: Level, isWrapped: Bool, name: String?, context: NIOSSLContext?) {
        self.level = level
        self.isWrapped = isWrapped
        self.name = name
        self.context = context
    }

    /// What a connection is to do first.
    var encryption: SMTPClientMachine.Encryption {
        switch self.level {
        case .none: .never
        case .may: .ifOffered
        case .encrypt, .verify: self.isWrapped ? .implicit : .required
        }
    }

    /// The handler that encrypts one connection to `address`.
    ///
    /// - Throws: What the library says of the name.
    func makeHandler(_ address: ServerAddress) throws -> NIOSSLClientHandler {
        guard let context = self.context else {
            throw SMTPForwardError(.encryption, "no TLS here")
        }
        return try NIOSSLClientHandler(
            context: context,
            serverHostname: self.name ?? address.certificateName
        )
    }
}

extension NextHopTLS {
    /// Reads `tls`, `tls_wrappermode`, `tls_name` and `tls_ca_file`, and the file.
    ///
    /// What is wrong is recorded.
    init(_ configuration: PluginConfiguration, default usual: Level) {
        let level = configuration.argument("tls", as: .choice, default: usual)
        let isWrapped = configuration.argument("tls_wrappermode", as: .flag, default: false)
        let name = configuration.argument("tls_name", as: .hostName)
        let file = configuration.argument("tls_ca_file", as: .text).map {
            configuration.resolve(path: $0)
        }
        if isWrapped, level == .none || level == .may {
            configuration.record("tls_wrappermode needs tls encrypt or tls verify")
        }
        if file != nil, level != .verify {
            configuration.warn("tls_ca_file means nothing without tls verify")
        }
        guard level != .none else {
            self = .none
            return
        }
        var context: NIOSSLContext?
        do {
            context = try Self.context(verifying: level == .verify, file)
        } catch {
            configuration.record("tls_ca_file is \(file ?? ""): \(error)")
        }
        self.init(level: level, isWrapped: isWrapped, name: name, context: context)
    }

    /// What TLS clients here have in common; `file` has the authorities to trust instead of the system's.
    ///
    /// - Throws: What is wrong with the file.
    static func context(verifying: Bool, _ file: String?) throws -> NIOSSLContext {
        var settings = TLSConfiguration.makeClientConfiguration()
        settings.minimumTLSVersion = .tlsv12
        // How long a hop may take to say that it closes as well.
        settings.shutdownTimeout = .seconds(1)
        settings.certificateVerification = verifying ? .fullVerification : .none
        if !verifying {
            settings.trustRoots = .certificates([])
        } else if let file {
            settings.trustRoots = .certificates(try self.certificates(file))
        }
        return try NIOSSLContext(configuration: settings)
    }

    /// The certificates (PEM) of a file.
    ///
    /// - Throws: What is wrong with the file.
    static func certificates(_ file: String) throws -> [NIOSSLCertificate] {
        let octets: [UInt8]?
        do throws(SystemError) {
            octets = try Descriptor(reading: file).readAll(limit: 8_000_000)
        } catch {
            throw PluginError(error.reason)
        }
        do {
            return try NIOSSLCertificate.fromPEMBytes(octets ?? [])
        } catch {
            throw PluginError("it must hold certificates in PEM")
        }
    }
}

extension ArgumentType<String> {
    /// A name as a certificate holds it.
    static var hostName: Self {
        Self("a host name") { word in
            guard let (host, port) = ServerAddress.hostAndPort(word), port == nil,
                !host.contains(":")
            else { return nil }
            return host
        }
    }
}
