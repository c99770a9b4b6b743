import CertificatePaths
import NIOCore
import NIOSSL

/// What the TLSA records of a hop say of the certificate of one connection.
///
/// Confined to the connection's event loop.
final class DANECheck {
    private let records: DANERecords
    private let names: [String]
    /// Why the certificate is not the hop's; `nil` if it is, or was not shown yet.
    private(set) var problem: String?

    init(_ records: DANERecords, names: [String]) {
        self.records = records
        self.names = names
    }

    /// The hop showed these certificates, its own first; the library goes on with what `decision` gets.
    func shown(
        _ chain: [NIOSSLCertificate],
        _ decision: EventLoopPromise<NIOSSLVerificationResult>
    ) {
        // The library has read them already, and writes what it read.
        let chain = chain.map { (try? $0.toDERBytes()) ?? [] }
        self.problem = self.records.problem(of: chain, names: self.names)
        decision.succeed(self.problem == nil ? .certificateVerified : .failed)
    }
}

@available(*, unavailable)
extension DANECheck: Sendable {}
