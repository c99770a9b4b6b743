import ArgumentParser
import Configuration
import Logging
import Synchronization

/// The command line of every worker built with PolicyKit.
struct WorkerOptions: ParsableCommand {
    /// What `--help` and `--version` print: a worker has a name and a version only once it runs.
    private static let about = Mutex(CommandConfiguration())

    static var configuration: CommandConfiguration { self.about.withLock { $0 } }

    @Option(help: "The configuration folder: plugins, worker.toml, control files.")
    var config = "config"

    @Option(help: "The pool to serve; overrules worker.toml.")
    var pool: String?

    @Option(help: "trace, debug, info, notice, warning, error or critical; overrules worker.toml.")
    var logLevel: LogLevel?

    @Option(help: "text or json; overrules worker.toml.")
    var logFormat: LogFormat?

    @Flag(help: "Load everything, print who is asked at each hook in order, and exit.")
    var check = false

    /// Reads this process's command line; on a mistake, `--help` or `--version` the process ends.
    static func parse(name: String, version: String) -> Self {
        self.about.withLock {
            $0 = CommandConfiguration(
                commandName: name,
                abstract: "Dials the frontends of a pool and answers their events with plugins.",
                version: version
            )
        }
        return self.parseOrExit()
    }
}

extension LogLevel: ExpressibleByArgument {}
extension LogFormat: ExpressibleByArgument {}
