import ArgumentParser
import Configuration
import Logging
import NIOCore
import NIOPosix
import System
import UnixSignals

/// A worker as a program: what `gatepost-worker` is, with plugins of one's own.
///
/// ```swift
/// import PolicyKit
///
/// @main struct MyWorker {
///     static func main() async {
///         await Worker.main(name: "my-worker", plugins: [RefuseEve.self])
///     }
/// }
/// ```
///
/// The command line is that of `gatepost-worker`: `--config DIR [--pool NAME] [--log-level LEVEL]
/// [--log-format text|json] [--check]`, and `--version` or `--help`. It loads the plugins that `config/plugins` names, dials every
/// frontend of its pool, prints one line that starts with `ready` when the first has taken it, and
/// drains on SIGTERM or SIGINT; the second such signal ends it at once. Exit codes follow sysexits:
/// 64 usage, 69 a plugin could not start, 78 configuration.
public enum Worker {
    /// Runs the program.
    ///
    /// Called once, from the program's entry point.
    ///
    /// - Parameters:
    ///   - name: What the worker is, for frontends and logs: workers of one name do the same work.
    ///   - version: The version of the program; `nil` is Gatepost's own.
    ///   - plugins: The plugins that `config/plugins` may name.
    ///   - retired: Names that are explained where `config/plugins` has them.
    public static func main(
        name: String,
        version: String? = nil,
        plugins: [any Plugin.Type],
        retired: [RetiredPlugin] = []
    ) async -> Never {
        let version = version ?? GatepostVersion.text
        let options = WorkerOptions.parse(name: name, version: version)
        let program = WorkerProgram(
            identity: WorkerIdentity(name: name, version: version),
            registry: PluginRegistry(plugins, retired: retired),
            options: options
        )
        ExitStatus.exit(await program.run())
    }
}
