import CertificatePaths
import Certificates
import NIOCore
import NIOSSL
import PolicyCore
import PolicyProtocol

/// What the client of one handshake shows of itself, and whether that will do.
///
/// Confined to the session's event loop.
final class ClientCertificateCheck {
    private let rule: ClientCertificateRule
    private var certificate: ClientCertificate?

    init(_ rule: ClientCertificateRule) { self.rule = rule }

    /// The client showed these certificates, its own first; the library goes on with what `decision` gets.
    func shown(
        _ chain: [NIOSSLCertificate],
        _ decision: EventLoopPromise<NIOSSLVerificationResult>
    ) {
        self.certificate = self.rule.judge(chain)
        decision.succeed(self.isContent ? .certificateVerified : .failed)
    }

    /// Whether the client has shown what it must.
    var isContent: Bool { self.rule.admits(self.certificate) }

    /// Why the client's certificate is not taken, for the log; `nil` if it is, or if there is none.
    var refusal: String? {
        guard let certificate = self.certificate, !self.isContent else { return nil }
        let reason = certificate.problem ?? ""
        return
            "the client's certificate \(certificate.identity.fingerprint) is not taken: \(reason)"
    }

    var facts: ClientCertificateFacts {
        guard let certificate = self.certificate else { return .none }
        return .shown(
            SessionSnapshot.ClientCertificate(
                isVerified: certificate.isVerified,
                subject: certificate.identity.subject,
                issuer: certificate.identity.issuer,
                fingerprint: certificate.identity.fingerprint,
                keyFingerprint: certificate.identity.keyFingerprint
            )
        )
    }
}

@available(*, unavailable)
extension ClientCertificateCheck: Sendable {}
