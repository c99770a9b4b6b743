import Octets
import System

extension FrontendConfiguration {
    /// Reads and checks `<directory>/frontend.toml`; without that file all values are defaults.
    ///
    /// - Parameter directory: The configuration folder; relative paths in the file are relative to
    ///   the folder that holds it.
    /// - Returns: The whole configuration.
    /// - Throws: All mistakes at once.
    package static func load(directory: String) throws(ConfigurationErrors) -> Self {
        let problems = ConfigurationProblems()
        let folder = ConfigurationFolder(directory, problems: problems)
        let reader = folder.reader("frontend.toml") ?? folder.emptyReader("frontend.toml")
        try problems.throwIfAny()
        let configuration = Self(reading: reader, folder: folder)
        reader.finish()
        try problems.throwIfAny()
        return configuration
    }

    private init(reading reader: TOMLReader, folder: ConfigurationFolder) {
        let controlDirectories = folder.controlDirectories(reader)
        self.init(
            directory: folder.directory,
            hostname: Self.hostname(reader, controlDirectories: controlDirectories),
            runtimeDirectory: folder.path(reader, "runtime_directory", default: "var/run"),
            spoolDirectory: folder.path(reader, "spool_directory", default: "var/spool"),
            listeners: [],
            pools: []
        )
        self.controlDirectories = controlDirectories
        self.id = reader.name("id", default: self.id)
        self.eventLoops = reader.integer(
            "event_loops",
            default: min(Machine.processors, Self.mostEventLoopsByDefault),
            in: 1...Self.mostEventLoops,
            unit: "event loops"
        )
        self.user = ProcessUser(reading: reader)
        self.coreDumps = reader.bool("core_dumps", default: self.coreDumps)
        self.shutdownMS = reader.integer(
            "shutdown_ms",
            default: self.shutdownMS,
            in: 0...3_600_000,
            unit: "milliseconds"
        )
        self.hangMS = reader.integer(
            "hang_ms",
            default: self.hangMS,
            in: 0...3_600_000,
            unit: "milliseconds"
        )
        if (1..<3_000).contains(self.hangMS) {
            reader.report(
                "hang_ms",
                "\(self.hangMS) is too short for programs that beat once a second",
                remedy: "write 3000 or more, or 0 for never"
            )
        }
        self.compatibility = reader.choice("compat", default: self.compatibility)
        if self.compatibility != .none {
            reader.reportLater("compat")
        }
        self.bareNewline = reader.choice("bare_newline", default: self.bareNewline)
        self.allowNUL = reader.bool("allow_nul", default: self.allowNUL)
        self.logLevel = reader.choice("log_level", default: self.logLevel)
        self.logFormat = reader.choice("log_format", default: self.logFormat)
        let limits = reader.subtable("limits")
        self.limits = Limits(reading: limits)
        limits.finish()
        self.tls = Self.tls(reader, folder: folder)
        self.listeners = Self.listeners(reader, folder: folder)
        self.pools = Self.pools(reader)
        self.checkSockets(reader)
        self.checkTLS(reader)
        self.checkAuth(reader)
    }

    private static func hostname(_ reader: TOMLReader, controlDirectories: [String]) -> String {
        if let name = reader.string("hostname") {
            if !Self.isHostname(name) {
                reader.report(
                    "hostname",
                    "\"\(name)\" is not a host name",
                    remedy: "write letters, digits, hyphens and dots, as mx1.example.org"
                )
            }
            return name
        }
        let file = ControlFileReader("me", directories: controlDirectories)
        reader.problems.report(contentsOf: file.errors)
        if let line = file.lines.first {
            if !Self.isHostname(line.text) {
                let error = line.error(
                    "\"\(line.text)\" is not a host name",
                    remedy: "write it as mx1.example.org"
                )
                reader.problems.report(error)
            }
            return line.text
        }
        return Machine.hostname
    }

    /// RFC 5321 §4.1.2 `Domain`, in ASCII.
    private static func isHostname(_ name: String) -> Bool {
        name.utf8.count <= 255
            && name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
                (1...63).contains(label.utf8.count) && !label.hasPrefix("-")
                    && !label.hasSuffix("-")
                    && label.utf8.allSatisfy {
                        $0.isLetterOrDigit || $0 == 0x2d
                    }
            }
    }

    /// Reports paths of sockets that are longer than the 107 octets of a Unix socket's address.
    private func checkSockets(_ reader: TOMLReader) {
        for (index, pool) in self.pools.enumerated() {
            let path = Self.socketPath(
                runtimeDirectory: self.runtimeDirectory,
                pool: pool.name,
                frontendID: self.id,
                loop: self.eventLoops - 1
            )
            guard path.utf8.count > UnixSocketAddress.maximumPathOctets else { continue }
            reader.report(
                "pool[\(index)].name",
                "its socket \(path) has \(path.utf8.count) octets, a socket's path may have 107",
                remedy: "shorten runtime_directory, for example to /run/gatepost"
            )
        }
    }
}

extension FrontendConfiguration.Limits {
    fileprivate init(reading reader: TOMLReader) {
        self.init()
        self.readTimes(reader)
        self.readSession(reader)
        self.readConnections(reader)
        self.readSizes(reader)
    }

    private mutating func readTimes(_ reader: TOMLReader) {
        func duration(_ key: String, _ value: Int64) -> Int64 {
            reader.milliseconds(key, default: value, from: 1_000)
        }
        self.commandTimeoutMS = duration("command_timeout_ms", self.commandTimeoutMS)
        self.dataTimeoutMS = duration("data_timeout_ms", self.dataTimeoutMS)
        self.replyTimeoutMS = duration("reply_timeout_ms", self.replyTimeoutMS)
        self.sessionTimeoutMS = duration("session_timeout_ms", self.sessionTimeoutMS)
        self.maximumReplyDelayMS = reader.milliseconds(
            "max_reply_delay_ms",
            default: self.maximumReplyDelayMS
        )
        // EHLO says it in seconds, in nine digits (RFC 4865 §3).
        self.maximumFutureReleaseMS = reader.integer(
            "max_future_release_ms",
            default: self.maximumFutureReleaseMS,
            in: 1_000...999_999_999_000,
            unit: "milliseconds"
        )
    }

    private mutating func readSession(_ reader: TOMLReader) {
        self.maximumRecipients = reader.integer(
            "max_recipients",
            default: self.maximumRecipients,
            in: 100...1_000_000
        )
        self.maximumErrors = reader.count("max_errors", default: self.maximumErrors)
        self.maximumUnrecognized = reader.count(
            "max_unrecognized",
            default: self.maximumUnrecognized
        )
        self.maximumTransactions = reader.count(
            "max_transactions",
            default: self.maximumTransactions
        )
        self.maximumNoops = reader.count("max_noop", default: self.maximumNoops)
        self.maximumCommandsWithoutMessage = reader.count(
            "max_commands_without_message",
            default: self.maximumCommandsWithoutMessage
        )
        self.maximumRefusedRecipients = reader.count(
            "max_refused_recipients",
            default: self.maximumRefusedRecipients
        )
        self.maximumCommands = reader.count(
            "max_commands_per_session",
            default: self.maximumCommands
        )
        self.budgets = FrontendConfiguration.Budgets(reading: reader)
        self.failedLogins = FrontendConfiguration.FailedLogins(reading: reader)
        self.maximumReceived = reader.integer(
            "max_received",
            default: self.maximumReceived,
            in: 1...10_000
        )
    }

    private mutating func readConnections(_ reader: TOMLReader) {
        self.maximumSessions = reader.count("max_sessions", default: self.maximumSessions)
        self.maximumSessionsPerIP = reader.count(
            "max_sessions_per_ip",
            default: self.maximumSessionsPerIP
        )
        self.maximumSessionsPerNetwork = reader.count(
            "max_sessions_per_network",
            default: self.maximumSessionsPerNetwork
        )
        self.maximumNewSessionsPerIP = reader.count(
            "max_new_sessions_per_ip",
            default: self.maximumNewSessionsPerIP
        )
        self.maximumNewSessionsPerNetwork = reader.count(
            "max_new_sessions_per_network",
            default: self.maximumNewSessionsPerNetwork
        )
    }

    private mutating func readSizes(_ reader: TOMLReader) {
        func octets(_ key: String, _ value: Int, in range: ClosedRange<Int>) -> Int {
            reader.integer(key, default: value, in: range, unit: "octets")
        }
        self.maximumMessageOctets = octets(
            "max_message_octets",
            self.maximumMessageOctets,
            in: 65_536...(1 << 40)
        )
        self.maximumHeaderOctets = octets(
            "max_header_octets",
            self.maximumHeaderOctets,
            in: 1_024...(1 << 26)
        )
        self.maximumHeaderFields = reader.integer(
            "max_header_fields",
            default: self.maximumHeaderFields,
            in: 100...100_000
        )
        self.maximumLineOctets = octets(
            "max_line_octets",
            self.maximumLineOctets,
            in: 1_000...(1 << 26)
        )
        self.memoryOctets = octets("memory_octets", self.memoryOctets, in: 0...(1 << 40))
        self.memoryMessageOctets = octets(
            "memory_message_octets",
            self.memoryMessageOctets,
            in: 0...(1 << 26)
        )
    }
}
