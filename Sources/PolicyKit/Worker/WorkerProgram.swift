import Configuration
import Logging
import NIOCore
import NIOPosix
import ServiceLog
import Stores
import Synchronization
import System
import UnixSignals

/// The steps of a worker's life, from its command line to its exit code.
struct WorkerProgram: Sendable {
    /// What sysexits.h calls them.
    private enum ExitCode {
        static let success: Int32 = 0
        static let unavailable: Int32 = 69
        static let configuration: Int32 = 78
    }

    let identity: WorkerIdentity
    let registry: PluginRegistry
    let options: WorkerOptions

    /// - Returns: The exit code.
    func run() async -> Int32 {
        ProcessSignals.prepare()
        let (configuration, errors) = self.loadConfiguration()
        // A check goes on, to find what else is wrong.
        guard errors.isEmpty || self.options.check else {
            Self.complain(errors.map(\.description))
            return ExitCode.configuration
        }
        if !self.options.check, let user = configuration.user, let error = Self.become(user) {
            Self.complain(["\(error)"])
            return ExitCode.unavailable
        }
        Systemd.prepare()
        ProcessSecrecy.keepFiles(to: .group)
        ProcessSecrecy.coreDumps(isAllowed: configuration.coreDumps)
        ProgramLog.bootstrap(
            program: self.identity.name,
            level: configuration.logLevel,
            format: configuration.logFormat
        )
        let logger = Logger(label: self.identity.name)
        let failures = ControlFileFailures(logger)
        let shared = SharedResources(
            eventLoop: MultiThreadedEventLoopGroup(numberOfThreads: 1).next(),
            logger: logger,
            configuration: configuration,
            controlFiles: ControlFiles(directories: configuration.controlDirectories) {
                failures.report($0)
            }
        )
        let (loaded, problems) = self.loadPlugins(shared, failures)
        Self.complain(errors.map(\.description) + problems)
        guard let plugins = loaded, errors.isEmpty, problems.isEmpty else {
            return ExitCode.configuration
        }
        if self.options.check {
            let warnings = plugins.warnings.map(\.description) + Self.storeWarnings(shared)
            Self.complain(warnings.map { "warning: \($0)" })
            self.printChains(plugins)
            return ExitCode.success
        }
        for warning in plugins.warnings {
            logger.warning("\(warning)")
        }
        return await self.serve(plugins, shared)
    }

    // MARK: Start

    /// Becomes the user of `worker.toml`.
    ///
    /// The program starts again for that, because its entry point is async: it comes here a second time,
    /// as the user, before anything was taken from the environment.
    ///
    /// - Returns: Why that is not possible; `nil` if this process is the user already.
    private static func become(_ user: ProcessUser) -> SystemError? {
        guard !ProcessUser.isRoot else { return user.startAgain() }
        do throws(SystemError) {
            try user.become()
            return nil
        } catch {
            return error
        }
    }

    private func loadConfiguration() -> (WorkerConfiguration, [ConfigurationError]) {
        var (configuration, errors) = WorkerConfiguration.loadAnyway(directory: self.options.config)
        configuration.pool = self.options.pool ?? configuration.pool
        configuration.logLevel = self.options.logLevel ?? configuration.logLevel
        configuration.logFormat = self.options.logFormat ?? configuration.logFormat
        return (configuration, errors)
    }

    /// Loads every plugin; what is wrong with control files is a reason not to start as well.
    private func loadPlugins(
        _ shared: SharedResources,
        _ failures: ControlFileFailures
    ) -> (LoadedPlugins?, problems: [String]) {
        let (file, errors) = PluginsFile.loadAnyway(
            directories: shared.configuration.controlDirectories
        )
        var problems = errors.map(\.description)
        var loaded: LoadedPlugins?
        do throws(PluginProblems) {
            loaded = try LoadedPlugins(file.lines, from: self.registry, shared: shared)
        } catch {
            problems += error.problems.map(\.description)
        }
        if let problem = shared.store.usedDriver?.problem {
            problems.append("\(shared.configuration.directory)/worker.toml: \(problem)")
        }
        return (loaded, problems + failures.endStart())
    }

    /// One line for each hook that a plugin serves: `HOOK LABEL LABEL(if relay) LABEL(observes) …`, in the order of
    /// asking.
    private func printChains(_ plugins: LoadedPlugins) {
        let chains = plugins.chains()
        for hook in Hook.allCases {
            guard let chain = chains[hook] else { continue }
            let asked = chain.asked.map {
                Self.label($0.instance, $0.conditions.map(\.description))
            }
            let told = chain.told.map {
                Self.label($0.instance, ["observes"] + $0.conditions.map(\.description))
            }
            ProgramLog.say(([hook.rawValue] + asked + told).joined(separator: " "))
        }
    }

    /// `dnsbl(unless relay, if listener=mx)`.
    private static func label(_ instance: String, _ remarks: [String]) -> String {
        remarks.isEmpty ? instance : "\(instance)(\(remarks.joined(separator: ", ")))"
    }

    // MARK: Service

    private func serve(_ plugins: LoadedPlugins, _ shared: SharedResources) async -> Int32 {
        let loop = shared.eventLoop
        let executor = LoopExecutor(loop)
        if let heartbeat = Heartbeat.current {
            loop.scheduleRepeatedTask(
                initialDelay: .zero,
                delay: .milliseconds(heartbeat.intervalMS)
            ) { _ in heartbeat.beat() }
        }
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        let start = Task(executorPreference: executor) { () -> PluginProblems? in
            do throws(PluginProblems) {
                try await plugins.start()
                return nil
            } catch {
                return error
            }
        }
        if let problems = await start.value {
            Self.complain(problems.problems.map(\.description))
            return ExitCode.unavailable
        }
        let ended = loop.makePromise(of: Void.self)
        let service = NIOLoopBoundBox.makeEmptyBox(valueType: WorkerService.self, eventLoop: loop)
        loop.execute {
            let made = self.makeService(plugins, shared) { ended.succeed() }
            service.value = made
            made.start()
        }
        Self.openStore(shared)
        let limit = Duration.milliseconds(shared.configuration.shutdownMS)
        let watch = Task {
            var isDraining = false
            for await _ in signals {
                if isDraining {
                    ProgramLog.flush()
                    ExitStatus.exitAtOnce(ExitCode.success)
                }
                isDraining = true
                Systemd.notify("STOPPING=1")
                loop.execute { service.value?.drain(within: limit) }
            }
        }
        try? await ended.futureResult.get()
        await Task(executorPreference: executor) { await plugins.stop() }.value
        await shared.store.usedDriver?.close()
        watch.cancel()
        return ExitCode.success
    }

    private func makeService(
        _ plugins: LoadedPlugins,
        _ shared: SharedResources,
        onEnd: @escaping () -> Void
    ) -> WorkerService {
        WorkerService(
            loop: shared.eventLoop,
            logger: shared.logger,
            identity: self.identity,
            pool: shared.configuration.pool,
            runtimeDirectory: shared.configuration.runtimeDirectory,
            concurrency: shared.configuration.concurrency,
            plugins: plugins,
            onReady: {
                ProgramLog.say("ready \(self.identity.name), pool \(shared.configuration.pool)")
                Systemd.notify("READY=1")
            },
            onEnd: onEnd
        )
    }

    /// What is odd about a store that plugins use; the user of a check may have fewer rights than the worker.
    private static func storeWarnings(_ shared: SharedResources) -> [String] {
        guard shared.store.usedDriver != nil,
            case .sqlite(let path) = shared.configuration.store.place,
            let obstacle = FilePath.obstacle(toFilesIn: FilePath.parent(of: path))
        else { return [] }
        return [
            "worker.toml: store.url: this user cannot make files beside \(path), because "
                + "\(obstacle.path) \(obstacle.reason); name another file, or let the worker's user write there"
        ]
    }

    /// Opens the store if a plugin uses it.
    ///
    /// Without it the worker goes on, and its plugins decide.
    private static func openStore(_ shared: SharedResources) {
        guard let driver = shared.store.usedDriver else { return }
        Task {
            do {
                try await driver.open()
            } catch {
                shared.logger.error(
                    "the store cannot be used yet; plugins do what on_store_failure says",
                    metadata: ["error": "\(error)"]
                )
            }
        }
    }

    private static func complain(_ lines: [String]) {
        for line in lines { ProgramLog.complain(line) }
    }
}

/// What is wrong with control files: at the start a reason not to, later a line of the log.
private final class ControlFileFailures: Sendable {
    private let logger: Logger
    private let atStart = Mutex<[String]?>([])

    init(_ logger: Logger) {
        self.logger = logger
    }

    func report(_ error: ConfigurationError) {
        let isKept = self.atStart.withLock { lines in
            lines?.append(error.description)
            return lines != nil
        }
        guard !isKept else { return }
        self.logger.error(
            "control file keeps its last good content",
            metadata: ["error": "\(error)"]
        )
    }

    /// The failures so far; later ones are logged.
    func endStart() -> [String] {
        self.atStart.withLock { lines in
            defer { lines = nil }
            return lines ?? []
        }
    }
}
