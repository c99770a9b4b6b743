import ArgumentParser
import Configuration
import Glibc
import JSON
import System

/// `gatepost workers`: shows the workers of each pool of the running frontends, and their state.
///
/// It is a worker that only observes: it dials a pool's socket and reads the notification `status`.
struct WorkersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workers",
        abstract: "Shows the workers of each pool: version, state, counts, latency.",
        discussion: """
            With --watch it goes on when a frontend stops, says so, and shows it again when it is back; SIGINT \
            and SIGTERM end it. Exit code 0: shown; 69: no frontend answers; 78: a mistake in frontend.toml.
            """
    )

    @Option(help: "The configuration folder.")
    var config = "config"

    @Flag(help: "Prints what the frontends say, one JSON object a line.")
    var json = false

    @Flag(help: "Goes on, once a second, until it is ended.")
    var watch = false

    func run() throws {
        let configuration = try self.load()
        guard let pool = configuration.pools.first else { return }
        let folder = "\(configuration.runtimeDirectory)/pools/\(pool.name)"
        let signals = StopSignals()
        var watch = FrontendWatch(folder: folder, pool: pool.name, signals: signals)
        defer { watch.end() }
        watch.dial()
        guard !watch.isEmpty || signals.hasCome(seconds: 0) else {
            StandardError.write(
                "gatepost workers: no frontend answers in \(folder); is it running?"
            )
            throw ExitCode(ExitStatus.unavailable)
        }
        while true {
            let areAllWell = watch.next { self.show($0) }
            guard self.watch else {
                if !areAllWell { throw ExitCode(ExitStatus.unavailable) }
                return
            }
            // Frontends may start and stop meanwhile.
            if signals.hasCome(seconds: watch.isEmpty ? 1 : 0) { return }
            watch.dial()
        }
    }

    private func load() throws -> FrontendConfiguration {
        do throws(ConfigurationErrors) {
            return try FrontendConfiguration.load(directory: self.config)
        } catch {
            for problem in error.errors { StandardError.write(problem.description) }
            throw ExitCode(ExitStatus.configuration)
        }
    }

    private func show(_ status: JSONValue) {
        if self.json {
            var writer = JSONWriter()
            status.encode(into: &writer)
            StandardOutput.write(PrintableText.json(writer.octets))
        } else {
            for line in WorkersTable(status).lines {
                StandardOutput.write(line)
            }
        }
    }
}
