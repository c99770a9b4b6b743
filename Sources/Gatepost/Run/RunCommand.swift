import ArgumentParser
import Configuration
import ServiceLog
import System

/// `gatepost run`: starts a frontend and its workers on one machine and keeps them running.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Starts a frontend and its workers, and starts again those that die.",
        discussion: """
            SIGTERM drains: no new session, running transactions finish; a second one ends at once. \
            SIGHUP reads frontend.toml again and replaces the workers, one for one, without losing \
            an event. Prints one line that starts with "ready" when mail is accepted.
            """
    )

    @Option(help: "The configuration folder.")
    var config = "config"

    @Option(help: "Listen here instead of where frontend.toml says (HOST:PORT).")
    var listen: String?

    @Option(help: "How many workers.")
    var workers = 2

    func validate() throws {
        guard (0...1_000).contains(self.workers) else {
            throw ValidationError("--workers is 0 to 1000")
        }
        if let listen = self.listen, ListenAddress(parsing: listen) == nil {
            throw ValidationError("--listen is an address and a port, as 127.0.0.1:2525")
        }
    }

    func run() throws {
        for program in [Program.frontend, .worker] where !program.isInstalled {
            StandardError.write("gatepost: \(program.path) is not there; build or install it")
            throw ExitCode(ExitStatus.unavailable)
        }
        let (configuration, problems) = ConfigurationReport.load(directory: self.config)
        guard let configuration, problems.isEmpty else {
            for problem in problems {
                StandardError.write(FilePath.relativized(problem.description))
            }
            throw ExitCode(ExitStatus.configuration)
        }
        ProgramLog.bootstrap(
            program: "gatepost",
            level: configuration.frontend.logLevel,
            format: configuration.frontend.logFormat
        )
        Systemd.prepare()
        var settings = Supervision.Settings()
        settings.workers = self.workers
        // The frontend ends by itself within `shutdown_ms`; it is killed only if it does not.
        settings.shutdownMS = configuration.frontend.shutdownMS + 5_000
        settings.hangMS = configuration.frontend.hangMS
        let common = ["--config", self.config]
        var supervisor = Supervisor(
            settings: settings,
            frontendArguments: common + (self.listen.map { ["--listen", $0] } ?? []),
            workerArguments: common
        )
        ProcessSecrecy.keepFiles(to: .user)
        try Self.makeRuntimeDirectory(configuration.frontend)
        let file = try Self.processFile(configuration.frontend)
        let code = supervisor.run()
        file.remove()
        throw ExitCode(code)
    }

    /// If the frontend is going to be another user, that user has to make files there too.
    private static func makeRuntimeDirectory(_ frontend: FrontendConfiguration) throws {
        do throws(SystemError) {
            try frontend.user?.makeFolder(frontend.runtimeDirectory, isShared: true)
        } catch {
            ProgramLog.complain("gatepost: runtime_directory in frontend.toml: \(error)")
            throw ExitCode(ExitStatus.unavailable)
        }
    }

    private static func processFile(_ frontend: FrontendConfiguration) throws -> ProcessFile {
        do throws(LockFile.Failure) {
            return try ProcessFile(directory: frontend.runtimeDirectory, frontendID: frontend.id)
        } catch {
            let key = "runtime_directory = \"\(frontend.runtimeDirectory)\" in frontend.toml"
            switch error {
            case .held(let path):
                ProgramLog.complain("gatepost: already running, see \(path)")
            case .foreign:
                ProgramLog.complain("gatepost: \(key): \(error)")
            case .failed:
                ProgramLog.complain("gatepost: \(key): \(error); name a folder this user may write")
            }
            throw ExitCode(ExitStatus.unavailable)
        }
    }
}
