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
struct FrontendCommand: AsyncParsableCommand {
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

    func run() async throws {
        ProcessSignals.prepare()
        Systemd.prepare()
        let configuration = try self.loadConfiguration()
        let certificates = try self.loadCertificates(configuration.tls)
        ProgramLog.bootstrap(
            program: "gatepost-frontend",
            level: configuration.logLevel,
            format: configuration.logFormat
        )
        Self.raiseDescriptorLimit()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let threads = NIOThreadPool(numberOfThreads: 4)
        threads.start()
        let lifecycle = FrontendLifecycle(
            loop: group.next(),
            threads: threads,
            load: { try self.loadConfiguration() }
        )
        do {
            try await lifecycle.run(configuration, certificates: certificates)
        } catch let error as SystemError {
            Self.complain("\(error)")
            throw ExitCode(ExitStatus.unavailable)
        } catch let error as UnsafePlace {
            Self.complain("\(error)")
            throw ExitCode(ExitStatus.configuration)
        }
        try await threads.shutdownGracefully()
        try await group.shutdownGracefully()
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

    /// Reads the certificates; if one is not usable, prints all that is wrong and ends the process with
    /// 78.
    private func loadCertificates(_ settings: FrontendConfiguration.TLS) throws -> TLSCertificates?
    {
        guard !settings.certificates.isEmpty else { return nil }
        do {
            return try TLSCertificates(settings, now: UnixTime.seconds)
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
