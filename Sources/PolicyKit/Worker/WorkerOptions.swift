import ArgumentParser
import Configuration
import Logging

/// The command line of every worker built with PolicyKit.
struct WorkerOptions: ParsableArguments {
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
}

extension LogLevel: ExpressibleByArgument {}
extension LogFormat: ExpressibleByArgument {}
