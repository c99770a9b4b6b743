import JSON
package import PolicyProtocol

/// How the connection is encrypted.
package struct TLSFacts: Equatable, Sendable {
    /// For example `TLSv1.3`.
    package let version: String
    /// The cipher suite's name in the registry of IANA; `nil` if it could not be told.
    package let cipher: String?
    /// What the client asked for by SNI, in ASCII; `nil` if it named no server.
    package let serverName: String?
    /// What the client showed of itself.
    private var client: ClientCertificateFacts
    /// What a login can be bound to: `tls-server-end-point` (RFC 5929 §4); `nil` if the certificate has none.
    let serverEndPoint: [UInt8]?

    /// Whether a login can be bound to the certificate.
    package var isBound: Bool { self.serverEndPoint != nil }

    package init(
        version: String,
        cipher: String?,
        serverName: String?,
        client: ClientCertificateFacts = .notAsked,
        serverEndPoint: [UInt8]? = nil
    ) {
        self.serverEndPoint = serverEndPoint
        self.version = version
        self.cipher = cipher
        self.serverName = serverName
        self.client = client
    }

    /// A proxy that encrypts this connection speaks for another client, which showed no certificate here.
    mutating func clientReplaced() {
        if self.client != .notAsked { self.client = .none }
    }

    /// Writes the `tls` object of an event.
    func encode(into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("version")
        writer.string(self.version)
        writer.key("cipher")
        if let cipher = self.cipher { writer.string(cipher) } else { writer.null() }
        writer.key("sni")
        if let name = self.serverName { writer.string(name) } else { writer.null() }
        self.client.encode(into: &writer)
        writer.endObject()
    }
}

/// What is known of the certificate of a client.
package enum ClientCertificateFacts: Equatable, Sendable {
    /// The listener asks for none.
    case notAsked
    /// The client showed none.
    case none
    case shown(SessionSnapshot.ClientCertificate)

    /// Writes the member `client_certificate`, which is absent where none was asked for.
    fileprivate func encode(into writer: inout JSONWriter) {
        switch self {
        case .notAsked: break
        case .none:
            writer.key("client_certificate")
            writer.null()
        case .shown(let certificate):
            writer.key("client_certificate")
            writer.beginObject()
            writer.key("verified")
            writer.bool(certificate.isVerified)
            Self.encode("subject", certificate.subject, into: &writer)
            Self.encode("issuer", certificate.issuer, into: &writer)
            Self.encode("fingerprint", certificate.fingerprint, into: &writer)
            Self.encode("key_fingerprint", certificate.keyFingerprint, into: &writer)
            writer.endObject()
        }
    }

    private static func encode(
        _ key: StaticString,
        _ text: String?,
        into writer: inout JSONWriter
    ) {
        writer.key(key)
        if let text { writer.string(text) } else { writer.null() }
    }
}
