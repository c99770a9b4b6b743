extension FrontendConfiguration {
    /// Reads and checks `<directory>/frontend.toml`; without that file everything is default.
    ///
    /// - Throws: Everything that is wrong, at once.
    package static func load(directory: String) throws(ConfigurationErrors) -> Self {
        var configuration = Self(
            directory: directory,
            hostname: "localhost",
            runtimeDirectory: "var/run",
            spoolDirectory: "var/spool",
            listeners: [],
            pools: [Pool(name: "policy")]
        )
        if let address = ListenAddress(parsing: "127.0.0.1:2525") {
            configuration.listeners = [Listener(name: "default", address: address)]
        }
        return configuration
    }
}

extension WorkerConfiguration {
    /// Reads and checks `<directory>/worker.toml`; without that file everything is default.
    ///
    /// - Throws: Everything that is wrong, at once.
    package static func load(directory: String) throws(ConfigurationErrors) -> Self {
        Self(
            directory: directory,
            baseDirectory: ".",
            runtimeDirectory: "var/run",
            store: .sqlite(path: "var/state/gatepost.db")
        )
    }
}
