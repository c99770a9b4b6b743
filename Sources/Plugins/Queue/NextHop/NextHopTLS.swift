import CertificatePaths
import Certificates
import NIOCore
import NIOSSL
import PolicyKit

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
        /// Always, with a certificate that the TLSA records of the hop vouch for (RFC 7672); as `may` if it
        /// has none.
        case dane
        /// The same, and never without such records.
        case daneOnly = "dane-only"

        var usesDANE: Bool { self == .dane || self == .daneOnly }
    }

    /// In clear text.
    static let none = Self(level: .none, isWrapped: false, name: nil, context: nil)

    private(set) var level: Level
    /// TLS from the first octet, without STARTTLS.
    private let isWrapped: Bool
    /// The name in the certificate and in SNI; `nil`: the hop's own.
    private var name: String?
    /// `nil` only in clear text.
    private var context: NIOSSLContext?
    /// For hops whose certificate may be anything; only with DANE.
    private var anyContext: NIOSSLContext?
    /// Only with DANE.
    private var lookup: DANELookup?
    /// What a connection's certificate must match, and its names; `nil` before they are looked up, and
    /// without DANE.
    private var records: (DANERecords, names: [String])?
    /// Where the hop is, as DNSSEC vouches for it; empty: the system knows.
    private(set) var addresses: [IPAddress] = []

    private init(level: Level, isWrapped: Bool, name: String?, context: NIOSSLContext?) {
        self.level = level
        self.isWrapped = isWrapped
        self.name = name
        self.context = context
    }

    /// Whether a certificate must be one that we trust.
    var isVerifying: Bool { self.level == .verify || self.records != nil }

    /// What a connection is to do first.
    var encryption: SMTPClientMachine.Encryption {
        switch self.level {
        case .none: .never
        case .may: .ifOffered
        case .encrypt, .verify, .dane, .daneOnly: self.isWrapped ? .implicit : .required
        }
    }

    /// The handler that encrypts one connection to `address`, and with DANE what it thinks of the certificate.
    ///
    /// - Throws: What the library says of the name.
    func makeHandler(_ address: ServerAddress) throws -> (NIOSSLClientHandler, DANECheck?) {
        guard let context = self.context else {
            throw SMTPForwardError(.encryption, "no TLS here")
        }
        let name = self.name ?? address.certificateName
        guard let (records, names) = self.records else {
            return (try NIOSSLClientHandler(context: context, serverHostname: name), nil)
        }
        let check = DANECheck(records, names: names)
        let handler = try NIOSSLClientHandler(
            context: context,
            serverHostname: name,
            customVerificationCallback: { check.shown($0, $1) }
        )
        return (handler, check)
    }

    /// How the next connection to `address` is encrypted: with DANE that is in the DNS.
    ///
    /// - Throws: ``SMTPForwardError`` if there can be no connection.
    func resolved(_ address: ServerAddress, until deadline: NIODeadline) async throws -> Self {
        guard let lookup = self.lookup else { return self }
        return try self.resolved(await lookup.find(address, until: deadline), address)
    }

    private func resolved(_ host: DANEHost, _ address: ServerAddress) throws -> Self {
        var resolved = self
        resolved.addresses = host.addresses
        switch (host.finding, self.level) {
        case (.failed(let reason), _): throw SMTPForwardError(.unreachable, reason)
        case (.records(let records, let names), _):
            resolved.records = (records, names)
            // RFC 7672 §8.1
            resolved.name = names.first

        case (.none, .daneOnly):
            throw SMTPForwardError(.encryption, "\(address) has no secure TLSA records")

        case (.unusable, .daneOnly):
            throw SMTPForwardError(.encryption, "\(address) has TLSA records of no use to SMTP")

        case (.none, _):
            resolved.level = .may
            resolved.context = self.anyContext

        case (.unusable, _):
            resolved.level = .encrypt
            resolved.context = self.anyContext
        }
        return resolved
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
        if isWrapped, [.none, .may, .dane].contains(level) {
            configuration.record("tls_wrappermode needs tls encrypt, verify or dane-only")
        }
        if level.usesDANE, name != nil {
            configuration.warn("tls_name: with tls \(level.rawValue) the names are in the DNS")
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
            context = try ClientTLS.context(isVerifying: level == .verify, authorities: file)
        } catch {
            configuration.record("tls_ca_file is \(file ?? ""): \(error)")
        }
        self.init(level: level, isWrapped: isWrapped, name: name, context: context)
        if level.usesDANE { self.prepareDANE(configuration) }
    }

    /// Gets the resolver, and a context that lets ``DANECheck`` judge.
    private mutating func prepareDANE(_ configuration: PluginConfiguration) {
        if !configuration.validatesDNSSEC {
            let problem =
                "tls \(self.level.rawValue) needs trust_anchor_file of [dns] in worker.toml"
            if self.level == .daneOnly {
                configuration.record(problem)
            } else {
                configuration.warn(problem)
            }
        }
        do {
            self.lookup = DANELookup(resolver: try configuration.resolver())
            self.anyContext = self.context
            self.context = try ClientTLS.contextJudgedElsewhere()
        } catch {
            configuration.record("tls \(self.level.rawValue): \(error)")
        }
    }
}

extension ArgumentType<String> {
    /// A name as a certificate holds it.
    static var hostName: Self {
        Self("a host name, and no address") { word in
            guard let (host, port) = ServerAddress.hostAndPort(word), port == nil else {
                return nil
            }
            return ClientTLS.certificateName(of: host)
        }
    }
}
