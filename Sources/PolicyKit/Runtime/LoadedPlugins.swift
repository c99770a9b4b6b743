package import Configuration
import Logging

/// The plugins of a worker, loaded in the order of `config/plugins`.
package struct LoadedPlugins: Sendable {
    /// A plugin and the line that it was loaded from.
    package struct Entry: Sendable {
        /// `relay:0`: the name in logs, traces and metrics.
        package let instance: String
        package let file: String
        package let line: Int
        package let hooks: [Hook: Subscription]
        let plugin: any Plugin
        let logger: Logger
        let conditions: [LineCondition]
        let handlers: [Hook: HookHandler]
        let observed: Set<Hook>
    }

    package let entries: [Entry]
    /// What is odd but works.
    package let warnings: [PluginProblem]

    /// Loads one plugin a line of `lines`.
    ///
    /// - Throws: ``PluginProblems`` with everything that is wrong in all lines.
    package init(
        _ lines: [PluginLine],
        from registry: PluginRegistry,
        shared: SharedResources
    ) throws(PluginProblems) {
        var entries: [Entry] = []
        var problems: [PluginProblem] = []
        var warnings: [PluginProblem] = []
        for line in lines {
            if let retired = registry.retired(line.name) {
                let problem = line.problem(retired.explanation)
                switch retired.effect {
                case .ignored: warnings.append(problem)
                case .refused: problems.append(problem)
                }
                continue
            }
            switch Self.load(line, from: registry, shared: shared) {
            case .success(let (entry, odd)):
                entries.append(entry)
                warnings += odd

            case .failure(let found): problems += found.problems
            }
        }
        guard problems.isEmpty else { throw PluginProblems(problems) }
        self.entries = entries
        self.warnings = warnings + Self.misplaced(entries)
    }

    /// The entries in the order in which they are asked at `hook`: that of their lines, unless one has to precede
    /// another.
    func ordered(at hook: Hook) -> [Entry] {
        var ordered = self.entries
        for entry in self.entries {
            guard let name = entry.hooks[hook]?.precedes,
                let from = ordered.firstIndex(where: {
                    $0.file == entry.file && $0.line == entry.line
                }),
                let to = ordered[..<from].firstIndex(where: { $0.isAsked(at: hook, as: name) })
            else { continue }
            ordered.insert(ordered.remove(at: from), at: to)
        }
        return ordered
    }

    /// Lines that stand behind one that they have to precede.
    private static func misplaced(_ entries: [Entry]) -> [PluginProblem] {
        entries.enumerated().flatMap { index, entry in
            entry.hooks.compactMap { hook, subscription -> PluginProblem? in
                guard let name = subscription.precedes,
                    entries[..<index].contains(where: { $0.isAsked(at: hook, as: name) })
                else { return nil }
                return entry.problem(
                    "stands after \(name), but is asked before it at \(hook.rawValue); move the line up"
                )
            }
        }
    }

    private static func load(
        _ line: PluginLine,
        from registry: PluginRegistry,
        shared: SharedResources
    ) -> Result<(Entry, [PluginProblem]), PluginProblems> {
        guard let type = registry[line.name] else {
            let suggestion = NearestWord.suggestion(for: line.name, among: registry.names)
            return .failure(PluginProblems([line.problem("unknown plugin; \(suggestion)")]))
        }
        let configuration = PluginConfiguration(line, of: type, shared: shared)
        if type.name != line.name {
            configuration.warn("is an old name of \(type.name)")
        }
        var made: (any Plugin)?
        do {
            made = try type.init(configuration: configuration)
        } catch {
            configuration.record("\(error)")
        }
        configuration.finish()
        guard let plugin = made, configuration.problems.isEmpty else {
            return .failure(PluginProblems(configuration.problems))
        }
        let entry = Entry(plugin, configuration)
        if entry.hooks.isEmpty, entry.observed.isEmpty {
            configuration.warn("with these arguments it is never asked")
        }
        return .success((entry, configuration.warnings))
    }

    /// Starts every plugin, in order.
    ///
    /// - Throws: ``PluginProblems`` with everything that could not start.
    package func start() async throws(PluginProblems) {
        var problems: [PluginProblem] = []
        for entry in self.entries {
            do {
                try await entry.plugin.start()
            } catch {
                problems.append(entry.problem("\(error)"))
            }
        }
        guard problems.isEmpty else { throw PluginProblems(problems) }
    }

    /// Stops every plugin, last first.
    package func stop() async {
        for entry in self.entries.reversed() {
            await entry.plugin.stop()
        }
    }

    /// The plugins that are asked or told at `hook`, in order.
    package func instances(at hook: Hook) -> [String] {
        self.ordered(at: hook).filter { $0.hooks[hook] != nil || $0.observed.contains(hook) }
            .map(\.instance)
    }
}

extension LoadedPlugins.Entry {
    init(_ plugin: any Plugin, _ configuration: PluginConfiguration) {
        self.instance = configuration.instance
        self.file = configuration.file
        self.line = configuration.line
        self.plugin = plugin
        self.logger = configuration.logger
        self.conditions = configuration.conditions
        var hooks: [Hook: Subscription] = [:]
        var handlers: [Hook: HookHandler] = [:]
        let observed = (plugin as? any ObserverHook)?.observedHooks ?? []
        for (hook, handler) in HookHandler.all(of: plugin) where !observed.contains(hook) {
            guard let subscription = plugin.subscription(at: hook) else { continue }
            hooks[hook] = subscription
            handlers[hook] = handler
        }
        self.hooks = hooks
        self.handlers = handlers
        self.observed = observed
    }

    /// Whether it is the plugin of this name, and asked at `hook`.
    func isAsked(at hook: Hook, as name: String) -> Bool {
        type(of: self.plugin).name == name && self.hooks[hook] != nil
    }

    func problem(_ message: String) -> PluginProblem {
        PluginProblem(file: self.file, line: self.line, plugin: self.instance, message: message)
    }
}

extension PluginLine {
    func problem(_ message: String) -> PluginProblem {
        PluginProblem(file: self.file, line: self.line, plugin: self.name, message: message)
    }
}

extension PluginConfiguration {
    convenience init(_ line: PluginLine, of type: any Plugin.Type, shared: SharedResources) {
        self.init(
            name: type.name,
            writtenName: line.name,
            instance: line.instance.map { "\(type.name):\($0)" } ?? type.name,
            arguments: line.arguments,
            file: line.file,
            line: line.line,
            shared: shared
        )
    }
}

/// Everything that is wrong in `config/plugins`, all of it at once; never empty when thrown.
package struct PluginProblems: Error, Sendable, Equatable, CustomStringConvertible {
    package let problems: [PluginProblem]

    package init(_ problems: [PluginProblem]) {
        self.problems = problems
    }

    /// One line a problem.
    package var description: String {
        self.problems.map(\.description).joined(separator: "\n")
    }
}
