import Certificates
import Configuration
import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLog
import System
import UnixSignals

/// What the process does around the event loop, from the start to the last log line.
///
/// SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reads `frontend.toml` again.
struct FrontendLifecycle {
    let loop: any EventLoop
    let threads: NIOThreadPool
    /// Reads the configuration again, for SIGHUP.
    let load: @Sendable () throws -> FrontendConfiguration

    /// Runs until a signal asks it to stop.
    ///
    /// `sockets` are bound already, by the names of their listeners.
    ///
    /// - Throws: ``SystemError`` when the frontend could not start.
    func run(
        _ configuration: FrontendConfiguration,
        certificates: TLSCertificates?,
        sockets: [String: CInt]
    ) async throws {
        let logger = Logger(label: "frontend")
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        let (loop, threads) = (self.loop, self.threads)
        let server = try await loop.submit {
            NIOLoopBound(
                try FrontendServer(
                    configuration: configuration,
                    certificates: certificates,
                    sockets: sockets,
                    loop: loop,
                    threads: threads
                ),
                eventLoop: loop
            )
        }
        .get()
        if let heartbeat = Heartbeat.current {
            loop.scheduleRepeatedTask(
                initialDelay: .zero,
                delay: .milliseconds(heartbeat.intervalMS)
            ) { _ in heartbeat.beat() }
        }
        let ended = loop.makePromise(of: Void.self)
        try await loop.flatSubmit { server.value.start(ended: ended) }.get()
        let watcher = Task {
            var isStopping = false
            for await signal in signals {
                switch signal {
                case .sighup:
                    self.reload(server, logger)
                default:
                    if isStopping { loop.execute { server.value.endNow() } }
                    isStopping = true
                    logger.notice("stopping", metadata: ["signal": "\(signal)"])
                    loop.execute { server.value.shutDown() }
                }
            }
        }
        try await ended.futureResult.get()
        watcher.cancel()
        logger.notice("stopped")
    }

    private func reload(_ server: NIOLoopBound<FrontendServer>, _ logger: Logger) {
        do {
            let configuration = try self.load()
            self.loop.execute { server.value.reload(configuration) }
        } catch {
            logger.error("frontend.toml is not usable, the old one stays in force")
        }
    }
}

/// Tells systemd, and the program that reads standard output, that the frontend is ready.
enum ReadyNotice {
    /// Prints one line that starts with `ready`, and notifies systemd if it started this process.
    static func send(_ addresses: [String]) {
        ProgramLog.say("ready \(addresses.joined(separator: " "))")
        Systemd.notify("READY=1")
    }
}
