@_exported public import Addresses
package import System

/// Everything that `config/worker.toml` says, checked, with defaults filled in and paths absolute.
///
/// `runtime_directory`, `control_directories`, `log_level`, `log_format`, `user` with `group`, and
/// `core_dumps` default to what `frontend.toml` in the same folder says, so that one machine says them
/// once.
package struct WorkerConfiguration: Sendable, Equatable {
    /// The configuration folder, absolute.
    package var directory: String
    /// The folder that holds ``directory``; plugins resolve their relative paths here.
    package var baseDirectory: String
    /// Where control files are looked for, best first.
    package var controlDirectories: [String]
    /// `recipient_directory`: where recipients' own control files are; `nil`: they have none.
    package var recipientDirectory: RecipientDirectory?
    /// `runtime_directory`, absolute; the pool's sockets are `<it>/pools/<pool>/*.sock`.
    package var runtimeDirectory: String
    /// `pool`: which pool to serve; overruled by `--pool`.
    package var pool = "policy"
    /// `concurrency`: events taken at once from one frontend.
    package var concurrency = 64
    /// `shutdown_ms`: how long running events may go on after SIGTERM.
    package var shutdownMS: Int64 = 30_000
    /// `user` and `group`: what the worker becomes before it loads plugins; `nil`: it stays what it is.
    package var user: ProcessUser?
    /// `core_dumps`: the kernel may write core files, and debuggers may read the process.
    package var coreDumps = false
    /// `log_level`, overruled by `--log-level`.
    package var logLevel: LogLevel = .info
    /// `log_format`, overruled by `--log-format`.
    package var logFormat: LogFormat = .text
    /// `[dns]`.
    package var dns = DNS()
    /// `[store]`.
    package var store: Store

    /// A configuration without a file, for tests; every other key has its default.
    package init(
        directory: String,
        baseDirectory: String,
        runtimeDirectory: String,
        store: Store
    ) {
        self.directory = directory
        self.baseDirectory = baseDirectory
        self.controlDirectories = [directory]
        self.runtimeDirectory = runtimeDirectory
        self.store = store
    }

    /// `[dns]`: the resolver that plugins share.
    package struct DNS: Sendable, Equatable {
        /// `servers`; empty: the system's.
        package var servers: [Server] = []
        /// `trust_anchor_file`, absolute: keys from which DNSSEC is validated; `nil`: it is not.
        package var trustAnchorFile: String?
        /// `timeout_ms` for one look-up, retries included.
        package var timeoutMS: Int64 = 5_000

        /// An address literal and a port.
        package struct Server: Sendable, Equatable {
            package let host: IPAddress
            /// 53 when the file names none.
            package let port: Int
        }

        package init() {}
    }
}
