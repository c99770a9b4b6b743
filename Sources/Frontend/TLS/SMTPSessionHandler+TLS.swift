import Certificates
import Configuration
import NIOCore
import NIOSSL
import PolicyCore
import SMTPCore
import TLSRecords

// MARK: - Encrypting the connection

extension SMTPSessionHandler {
    /// Puts TLS between the socket and this handler: what arrives from now on is a handshake.
    ///
    /// What was sent before is with the channel already.
    func beginHandshake(_ context: ChannelHandlerContext) {
        guard let certificates = self.server.tls.certificates else {
            return self.endNow(.refused)
        }
        self.phase = .securing
        self.phaseUntilMS = self.server.nowMS + self.server.tls.handshakeTimeoutMS
        let pipeline = context.channel.pipeline.syncOperations
        do {
            let handshake = try Handshake(certificates, listener: self.listener.place)
            self.handshake = handshake
            try pipeline.addHandler(handshake.handler, position: .first)
            // The handler of a channel that is active begins at once; the ClientHello comes later.
            try pipeline.addHandler(handshake.observer, position: .first)
        } catch {
            self.encryptionFailed(error)
        }
    }

    /// What stands in the pipeline during a handshake.
    struct Handshake {
        let observer = HelloObserver()
        let handler: NIOSSLServerHandler
        /// Those in force when it began.
        let certificates: TLSCertificates
        /// `nil` where the client is not asked for a certificate.
        let client: ClientCertificateCheck?

        /// - Throws: What the library says.
        init(_ certificates: TLSCertificates, listener: Int) throws {
            let (context, rule) = try certificates.connection(to: listener)
            self.certificates = certificates
            self.client = rule.map { ClientCertificateCheck($0) }
            if let client = self.client {
                self.handler = NIOSSLServerHandler(
                    context: context,
                    customVerificationCallback: { client.shown($0, $1) }
                )
            } else {
                self.handler = NIOSSLServerHandler(context: context)
            }
        }
    }

    /// The handshake is done: the session begins again, or begins at all.
    func handshakeCompleted(_ context: ChannelHandlerContext) {
        guard self.phase == .securing, let handshake = self.handshake else { return }
        guard handshake.client?.isContent ?? true else {
            return self.encryptionFailed(NIOSSLError.noCertificateToValidate)
        }
        self.handshake = nil
        self.server.limitCounters.handshakeDone()
        self.phaseUntilMS = .max
        let facts = TLSFacts(handshake)
        context.pipeline.syncOperations.removeHandler(handshake.observer, promise: nil)
        self.lastHeardMS = self.server.nowMS
        let wasOpened = self.machine.wait == .handshake
        guard self.machine.encrypted(isBound: facts.isBound) else { return self.endNow(.refused) }
        self.tell { $0.encrypted(facts, &$1) }
        if wasOpened {
            self.phase = .parsing
            self.parse()
        } else {
            self.phase = .greetingHeld
            self.opened(context)
        }
    }

    /// The handshake failed, or the client closed the connection without saying so by TLS.
    func encryptionFailed(_ error: any Error) {
        guard self.phase == .securing else { return }
        self.summary.handshakeFailed(
            self.handshake?.client?.refusal ?? "\(error)",
            facts: self.policy.facts,
            log: (self.server.logger, self.server.nowMS)
        )
        self.endNow(.refused)
    }
}

/// `handshake_timeout_ms` are over.
struct HandshakeTimeout: Error, CustomStringConvertible {
    var description: String { "the client did not finish the handshake in time" }
}

extension TLSFacts {
    init(_ handshake: SMTPSessionHandler.Handshake) {
        let records = handshake.observer.records
        let version: String? =
            switch handshake.handler.tlsVersion {
            case .tlsv1: "TLSv1"
            case .tlsv11: "TLSv1.1"
            case .tlsv12: "TLSv1.2"
            case .tlsv13: "TLSv1.3"
            case nil: nil
            }
        self.init(
            version: version ?? "TLS",
            cipher: records.cipher.flatMap { TLSCipher(code: $0)?.description },
            serverName: records.serverName,
            client: handshake.client?.facts ?? .notAsked,
            serverEndPoint: handshake.certificates.endPoint(for: records.serverName)
        )
    }
}
