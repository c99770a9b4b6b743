package import CertificatePaths
package import NIOSSL

/// What a listener asks of the certificates of its clients.
package struct ClientCertificateRule: Sendable {
    /// Whether a handshake fails without a verified certificate.
    package let isRequired: Bool
    /// `nil`: no certificate is verified.
    private let anchors: TrustAnchors?

    init(isRequired: Bool, anchors: TrustAnchors?) {
        self.isRequired = isRequired
        self.anchors = anchors
    }

    /// What is to be said of the certificates that a client shows, its own first; `nil` if there is none.
    ///
    /// The client has the private key: that the handshake proves.
    package func judge(_ chain: [NIOSSLCertificate]) -> ClientCertificate? {
        // The library has read them already, and writes what it read.
        let chain = chain.map { (try? $0.toDERBytes()) ?? [] }
        guard let own = chain.first else { return nil }
        let problem =
            if let anchors = self.anchors {
                anchors.problem(of: chain, for: .client)
            } else {
                "no client_ca_file"
            }
        return ClientCertificate(identity: CertificateIdentity(own), problem: problem)
    }

    /// Whether the handshake may go on with this certificate.
    package func admits(_ certificate: ClientCertificate?) -> Bool {
        !self.isRequired || certificate?.isVerified == true
    }
}

/// A certificate that a client has shown.
package struct ClientCertificate: Sendable, Equatable {
    package let identity: CertificateIdentity
    /// Why no authority vouches for it; `nil` if one does.
    package let problem: String?

    /// Whether an authority of `client_ca_file` vouches for it.
    package var isVerified: Bool { self.problem == nil }
}
