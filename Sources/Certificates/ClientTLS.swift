import NIOCore
package import NIOSSL
import System

/// What clients of other servers have in common with TLS.
package enum ClientTLS {
    /// Why the file of authorities is of no use.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// What clients of all kinds connect with.
    ///
    /// - Parameters:
    ///   - isVerifying: Whether the server's certificate must be one that an authority gave for its name.
    ///   - file: The authorities to trust, in PEM; `nil`: the system's.
    /// - Returns: For any number of connections.
    /// - Throws: What is wrong with the file.
    package static func context(
        isVerifying: Bool,
        authorities file: String?
    ) throws -> NIOSSLContext {
        guard isVerifying else { return try self.context(.none, .certificates([])) }
        let roots = try file.map { NIOSSLTrustRoots.certificates(try self.certificates($0)) }
        return try self.context(.fullVerification, roots ?? .default)
    }

    /// For connections that are made with a callback, which judges the server's certificate.
    package static func contextJudgedElsewhere() throws -> NIOSSLContext {
        try self.context(.noHostnameVerification, .certificates([]))
    }

    private static func context(
        _ verification: CertificateVerification,
        _ roots: NIOSSLTrustRoots
    ) throws -> NIOSSLContext {
        var settings = TLSConfiguration.makeClientConfiguration()
        settings.minimumTLSVersion = .tlsv12
        // How long a server may take to say that it closes as well.
        settings.shutdownTimeout = .seconds(1)
        settings.certificateVerification = verification
        settings.trustRoots = roots
        return try NIOSSLContext(configuration: settings)
    }

    /// The certificates (PEM) of a file.
    ///
    /// - Throws: What is wrong with the file.
    package static func certificates(_ file: String) throws -> [NIOSSLCertificate] {
        let octets: [UInt8]?
        do throws(SystemError) {
            octets = try Descriptor(reading: file).readAll(limit: 8_000_000)
        } catch {
            throw Failure(description: error.reason)
        }
        do {
            return try NIOSSLCertificate.fromPEMBytes(octets ?? [])
        } catch {
            throw Failure(description: "it must hold certificates in PEM")
        }
    }

    /// The name that the certificate of `host` must have; `nil` for an IP address, which a certificate names in
    /// another way.
    ///
    /// A host whose last label is digits alone is an IP address in one of its spellings, such as `127.1`: a
    /// top-level domain has letters (RFC 1123 §2.1).
    package static func certificateName(of host: String) -> String? {
        guard !host.contains(":") else { return nil }
        let last = host.utf8.split(separator: UInt8(ascii: ".")).last ?? ""[...].utf8
        return last.allSatisfy { 0x30...0x39 ~= $0 } ? nil : host
    }
}
