import Certificates
import Configuration
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import ServiceLog
import System

/// What new connections of a loop are encrypted with.
struct TLSInForce: Sendable {
    /// `nil` where there is none.
    let certificates: TLSCertificates?
    let handshakeTimeoutMS: Int64

    init(_ settings: FrontendConfiguration.TLS, _ certificates: TLSCertificates?) {
        self.certificates = certificates
        self.handshakeTimeoutMS = settings.handshakeTimeoutMS
    }
}

/// The certificates in force, and the look at their files.
///
/// Confined to the first event loop, which tells the others; files are read on the thread pool.
/// Sessions that began keep what they began with. A file that is not usable is logged, and the last good
/// certificates stay in force.
final class TLSService {
    private var certificates: TLSCertificates?
    private var configuration: FrontendConfiguration
    private let loop: any EventLoop
    private let threads: NIOThreadPool
    private let logger: Logger
    /// Told of new certificates.
    private let changed: (TLSInForce) -> Void
    /// Monotonic milliseconds.
    private var lookedMS: Int64 = 0
    private var isLooking = false

    /// Begins with `certificates`; `nil` where there are none.
    init(
        _ configuration: FrontendConfiguration,
        _ certificates: TLSCertificates?,
        loop: any EventLoop,
        threads: NIOThreadPool,
        changed: @escaping (TLSInForce) -> Void
    ) {
        self.configuration = configuration
        self.certificates = certificates
        self.loop = loop
        self.threads = threads
        self.changed = changed
        self.logger = Logger(label: "tls")
        for warning in certificates?.warnings ?? [] { self.logger.warning("\(warning)") }
    }

    /// Looks at the files when `reload_ms` have passed since the last look.
    func timePassed(_ nowMS: Int64) {
        let interval = self.configuration.tls.reloadMS
        guard interval > 0, nowMS - self.lookedMS >= interval, !self.isLooking else { return }
        self.lookedMS = nowMS
        self.load(self.configuration, always: false)
    }

    /// SIGHUP: new settings, and the files are read whatever their stamps say.
    func reload(_ configuration: FrontendConfiguration) {
        self.load(configuration, always: true)
    }

    private func load(_ configuration: FrontendConfiguration, always: Bool) {
        guard !configuration.tls.certificates.isEmpty else { return }
        let current = self.certificates
        self.isLooking = true
        self.threads.runIfActive(eventLoop: self.loop) { () -> TLSCertificates? in
            if !always, let current, !current.haveFilesChanged(configuration) { return nil }
            return try TLSCertificates(configuration, now: UnixTime.seconds)
        }
        .assumeIsolated()
        .whenComplete { result in
            self.isLooking = false
            switch result {
            case .success(nil): break
            case .success(let certificates?):
                self.configuration = configuration
                self.certificates = certificates
                self.changed(TLSInForce(configuration.tls, certificates))
                for warning in certificates.warnings { self.logger.warning("\(warning)") }
                self.logger.notice(
                    "certificates loaded",
                    metadata: ["names": "\(certificates.names.joined(separator: " "))"]
                )
            case .failure(let error):
                self.logger.error(
                    "certificates cannot be loaded, the last good ones stay in force",
                    metadata: ["error": "\(error)"]
                )
            }
        }
    }
}

@available(*, unavailable)
extension TLSService: Sendable {}
