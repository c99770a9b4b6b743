import System

extension WorkerConfiguration {
    /// Reads and checks `<directory>/worker.toml`; without that file all values are defaults.
    ///
    /// - Parameter directory: The configuration folder; relative paths in the file are relative to
    ///   the folder that holds it.
    /// - Returns: The whole configuration.
    /// - Throws: All mistakes at once.
    package static func load(directory: String) throws(ConfigurationErrors) -> Self {
        let (configuration, errors) = Self.loadAnyway(directory: directory)
        guard errors.isEmpty else { throw ConfigurationErrors(errors) }
        return configuration
    }

    /// The same for a check, which goes on after mistakes.
    ///
    /// - Parameter directory: The configuration folder.
    /// - Returns: The configuration, with defaults where the file is wrong, and all mistakes.
    package static func loadAnyway(
        directory: String
    ) -> (configuration: Self, errors: [ConfigurationError]) {
        let problems = ConfigurationProblems()
        let folder = ConfigurationFolder(directory, problems: problems)
        let frontend = folder.reader("frontend.toml") ?? folder.emptyReader("frontend.toml")
        let reader = folder.reader("worker.toml") ?? folder.emptyReader("worker.toml")
        let configuration = Self(reading: reader, frontend: frontend, folder: folder)
        reader.finish()
        return (configuration, problems.sorted)
    }

    private init(reading reader: TOMLReader, frontend: TOMLReader, folder: ConfigurationFolder) {
        func source(_ key: String) -> TOMLReader { reader.has(key) ? reader : frontend }
        self.init(
            directory: folder.directory,
            baseDirectory: folder.baseDirectory,
            runtimeDirectory: folder.path(
                source("runtime_directory"),
                "runtime_directory",
                default: "var/run"
            ),
            store: Self.store(reader, folder: folder)
        )
        self.controlDirectories = folder.controlDirectories(source("control_directories"))
        if reader.has("recipient_directory") {
            self.recipientDirectory = Self.recipientDirectory(reader, folder: folder)
        }
        let hasUser = reader.has("user") || reader.has("group")
        self.user = ProcessUser(reading: hasUser ? reader : frontend)
        self.coreDumps = source("core_dumps").bool("core_dumps", default: self.coreDumps)
        self.logLevel = source("log_level").choice("log_level", default: self.logLevel)
        self.logFormat = source("log_format").choice("log_format", default: self.logFormat)
        self.pool = reader.poolName("pool", default: self.pool)
        self.concurrency = reader.integer(
            "concurrency",
            default: self.concurrency,
            in: 1...100_000,
            unit: "events"
        )
        self.shutdownMS = reader.milliseconds("shutdown_ms", default: self.shutdownMS)
        let dns = reader.subtable("dns")
        self.dns.servers = Self.servers(dns)
        if dns.has("trust_anchor_file") {
            let file = folder.path(dns, "trust_anchor_file", default: "")
            self.dns.trustAnchorFile = file
            if FileStamp(path: file) == nil {
                dns.report(
                    "trust_anchor_file",
                    "\(file): there is no such file",
                    remedy: "install dns-root-data and write \"/usr/share/dns/root.key\""
                )
            }
        }
        self.dns.timeoutMS = dns.integer(
            "timeout_ms",
            default: self.dns.timeoutMS,
            in: 100...60_000,
            unit: "milliseconds"
        )
        dns.finish()
    }

    private static func recipientDirectory(
        _ reader: TOMLReader,
        folder: ConfigurationFolder
    ) -> RecipientDirectory {
        let path = folder.path(reader, "recipient_directory", default: "")
        let directory = RecipientDirectory(pattern: path)
        if !directory.hasPlaceholder {
            reader.report(
                "recipient_directory",
                "has nothing of the recipient in it, so all recipients would have the same files",
                remedy: "write %u for the local part, %h for the domain, or %a for the address: "
                    + "\"var/recipients/%h/%u\""
            )
        }
        return directory
    }

    private static func servers(_ reader: TOMLReader) -> [DNS.Server] {
        (reader.strings("servers") ?? []).compactMap { text in
            if let host = IPAddress(parsing: text) { return DNS.Server(host: host, port: 53) }
            if let address = ListenAddress(parsing: text), address.port > 0 {
                return DNS.Server(host: address.host, port: address.port)
            }
            reader.report(
                "servers",
                "\"\(text)\" is not an address",
                remedy: "write \"127.0.0.1:5353\", \"192.0.2.53\" or \"[2001:db8::53]:53\""
            )
            return nil
        }
    }
}
