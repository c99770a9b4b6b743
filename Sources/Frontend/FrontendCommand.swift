import ArgumentParser
import Certificates
import Configuration
import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLog
import System
import UnixSignals

/// `gatepost-frontend`: listens, speaks SMTP, asks the policy pools.
@main
struct FrontendCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gatepost-frontend",
        abstract: "Speaks SMTP and asks policy workers for every decision.",
        version: GatepostVersion.text
    )

    @Option(help: "The configuration folder, which holds frontend.toml.")
    var config = "config"

    @Option(help: "Listen here instead of where frontend.toml says: HOST:PORT.")
    var listen: String?

    @Option(help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel: LogLevel?

    @Option(help: "text or json.")
    var logFormat: LogFormat?

    /// Runs on the main thread, which becomes another user before there is any other thread; then it only
    /// waits for the end.
    func run() throws {
        ProcessSignals.prepare()
        Systemd.prepare()
        ProcessSecrecy.keepFiles(to: .user)
        let configuration = try self.loadConfiguration()
        Self.raiseDescriptorLimit()
        let sockets = try self.becomeUser(configuration)
        ProcessSecrecy.coreDumps(isAllowed: configuration.coreDumps)
        let certificates = try self.loadCertificates(configuration)
        ProgramLog.bootstrap(
            program: "gatepost-frontend",
            level: configuration.logLevel,
            format: configuration.logFormat
        )
        let group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.eventLoops)
        let threads = NIOThreadPool(numberOfThreads: 4)
        threads.start()
        let lifecycle = FrontendLifecycle(
            loops: Array(group.makeIterator()),
            threads: threads,
            load: { try self.loadConfiguration() }
        )
        let ended = group.next().makePromise(of: Void.self)
        ended.completeWithTask {
            try await lifecycle.run(
                configuration,
                certificates: certificates,
                sockets: sockets
            )
        }
        do {
            try ended.futureResult.wait()
        } catch let error as SystemError {
            Self.complain("\(error)")
            throw ExitCode(ExitStatus.unavailable)
        } catch let error as UnsafePlace {
            Self.complain("\(error)")
            throw ExitCode(ExitStatus.configuration)
        }
        try threads.syncShutdownGracefully()
        try group.syncShutdownGracefully()
    }

    /// Reads `frontend.toml`; if it is wrong, prints all mistakes and ends the process with 78.
    private func loadConfiguration() throws -> FrontendConfiguration {
        do {
            var configuration = try FrontendConfiguration.load(directory: self.config)
            configuration.logLevel = self.logLevel ?? configuration.logLevel
            configuration.logFormat = self.logFormat ?? configuration.logFormat
            if let listen = self.listen {
                guard let address = ListenAddress(parsing: listen) else {
                    throw ValidationError("--listen takes HOST:PORT, such as 127.0.0.1:2525")
                }
                configuration.listeners[0].address = address
                configuration.listeners.removeLast(configuration.listeners.count - 1)
            }
            return configuration
        } catch let errors as ConfigurationErrors {
            Self.complain("\(errors)")
            throw ExitCode(ExitStatus.configuration)
        }
    }

    /// Becomes the `user` of `frontend.toml`, after what only root can do.
    ///
    /// Certificates come after it, because the user reads them again whenever they change.
    ///
    /// - Returns: The sockets that root bound, by the names of their listeners.
    private func becomeUser(_ configuration: FrontendConfiguration) throws -> [String: CInt] {
        guard let user = configuration.user else { return [:] }
        var sockets: [String: CInt] = [:]
        do throws(SystemError) {
            if ProcessUser.isRoot {
                sockets = try BoundSockets.bind(
                    configuration.listeners,
                    except: Systemd.sockets
                )
            }
            try user.makeFolder(configuration.runtimeDirectory, isShared: true)
            try user.makeFolder(configuration.spoolDirectory, isShared: false)
            try user.become()
        } catch {
            Self.complain("\(error)")
            throw ExitCode(ExitStatus.unavailable)
        }
        let file = configuration.directory + "/frontend.toml"
        guard access(file, R_OK) == 0 else {
            Self.complain(
                "\(file): user: \"\(user.name)\" cannot read this file, which is read again at SIGHUP; "
                    + "let it, or its group, read the configuration folder"
            )
            throw ExitCode(ExitStatus.configuration)
        }
        return sockets
    }

    /// Reads the certificates; if one is not usable, prints all that is wrong and ends the process with
    /// 78.
    private func loadCertificates(
        _ configuration: FrontendConfiguration
    ) throws -> TLSCertificates? {
        guard !configuration.tls.certificates.isEmpty else { return nil }
        do {
            return try TLSCertificates(configuration, now: UnixTime.seconds)
        } catch {
            Self.complain("\(error)")
            throw ExitCode(ExitStatus.configuration)
        }
    }

    private static func complain(_ text: String) {
        ProgramLog.complain("gatepost-frontend: \(text)")
    }

    /// Raises the limit of open descriptors as far as the system allows: each session and each
    /// worker needs one.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

extension LogLevel: ExpressibleByArgument {}
extension LogFormat: ExpressibleByArgument {}
