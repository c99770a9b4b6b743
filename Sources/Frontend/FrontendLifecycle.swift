import Certificates
import Configuration
import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLog
import System
import UnixSignals

/// What the process does around the event loops, from the start to the last log line.
///
/// SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reads `frontend.toml` again.
struct FrontendLifecycle {
    /// As many as `event_loops` says.
    let loops: [any EventLoop]
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
        let (loops, threads) = (self.loops, self.threads)
        let loop = loops[0]
        let process = try await loop.submit {
            NIOLoopBound(
                try FrontendProcess(
                    configuration: configuration,
                    sockets: sockets,
                    loops: loops,
                    threads: threads
                ),
                eventLoop: loop
            )
        }
        .get()
        let ended = loop.makePromise(of: Void.self)
        try await loop.flatSubmit { process.value.start(certificates, ended: ended) }.get()
        if let heartbeat = Heartbeat.current {
            loop.execute { process.value.startHeartbeat(heartbeat) }
        }
        let watcher = Task {
            var isStopping = false
            for await signal in signals {
                switch signal {
                case .sighup:
                    self.reload(process, logger)
                default:
                    if isStopping { loop.execute { process.value.endNow() } }
                    isStopping = true
                    logger.notice("stopping", metadata: ["signal": "\(signal)"])
                    loop.execute { process.value.shutDown() }
                }
            }
        }
        try await ended.futureResult.get()
        watcher.cancel()
        logger.notice("stopped")
    }

    private func reload(_ process: NIOLoopBound<FrontendProcess>, _ logger: Logger) {
        do {
            let configuration = try self.load()
            self.loops[0].execute { process.value.reload(configuration) }
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
