import Configuration
public import Logging

/// One line of `config/plugins`, and what a plugin may use besides it.
///
/// Reading is strict without being tiresome: each call takes one argument and records what is wrong
/// with it; what no call has taken is an unknown argument. A plugin therefore reads all of its
/// arguments in its initialiser, positional ones first, then ``words(_:)``, then the named ones.
/// The operator sees every problem of every line at once.
///
/// Belongs to the initialiser it was passed to. What it hands out may be kept.
public final class PluginConfiguration {
    /// The plugin's own name: `relay`, also where an alias is written.
    public let name: String
    /// The name as it is written: `check_relay`.
    public let writtenName: String
    /// What tells several lines of one plugin apart, in logs, traces and metrics: `relay:0`.
    public let instance: String
    /// The file of the line.
    public let file: String
    /// The number of the line, from 1.
    public let line: Int
    /// The worker's logger, with the plugin as metadata and `loglevel` applied.
    public private(set) var logger: Logger
    /// What the worker shares with its plugins.
    public let shared: SharedResources

    /// When the line counts; all of them must hold.
    let conditions: [LineCondition]
    private(set) var problems: [PluginProblem] = []
    private(set) var warnings: [PluginProblem] = []
    private var remaining: [String]
    private var pairs: [(name: String, value: String)]?
    private var known: [String] = []

    package init(
        name: String,
        writtenName: String,
        instance: String,
        arguments: [String],
        file: String,
        line: Int,
        shared: SharedResources
    ) {
        self.name = name
        self.writtenName = writtenName
        self.instance = instance
        var words = arguments
        let (conditions, problems) = LineCondition.take(from: &words)
        self.conditions = conditions
        self.remaining = words
        self.file = file
        self.line = line
        self.shared = shared
        self.logger = shared.logger
        self.logger[metadataKey: "plugin"] = "\(instance)"
        for problem in problems { self.record(problem) }
    }

    /// Takes the next word of the line, whatever its name: `4` in `count_unrecognized_commands 4`.
    ///
    /// - Returns: `nil` if the line has ended, or if the word is not of this type (recorded).
    public func positional<Value>(_ name: String, as type: ArgumentType<Value>) -> Value? {
        self.known.append("<\(name)>")
        guard !self.remaining.isEmpty else { return nil }
        return self.read(self.remaining.removeFirst(), of: name, as: type)
    }

    /// Takes the next word of the line if it is of this type; else leaves it where it is.
    ///
    /// - Returns: `nil` if it is not, or if the line has ended.
    public func positional<Value>(
        _ name: String,
        ifFits type: ArgumentType<Value>
    ) -> Value? {
        self.known.append("<\(name)>")
        guard let word = self.remaining.first, let value = type.read(word) else { return nil }
        self.remaining.removeFirst()
        return value
    }

    /// Takes the next word of the line, `default` if there is none.
    ///
    /// A word that is not of this type begins the named arguments if what is left of the line is pairs
    /// of a name and a value: `reject_type` in `loop reject_type temp` is no number of hops.
    public func positional<Value>(
        _ name: String,
        as type: ArgumentType<Value>,
        default value: Value
    ) -> Value {
        let mayBePairs = self.remaining.count.isMultiple(of: 2)
        if mayBePairs { return self.positional(name, ifFits: type) ?? value }
        return self.positional(name, as: type) ?? value
    }

    /// Takes the next word of the line, without which the plugin cannot work.
    ///
    /// - Throws: ``PluginError`` if the line has ended.
    public func requiredPositional<Value>(
        _ name: String,
        as type: ArgumentType<Value>
    ) throws -> Value {
        guard let value = self.positional(name, as: type) else {
            throw PluginError("<\(name)> is missing: it must be \(type.expectation)")
        }
        return value
    }

    /// Takes those of `words` that stand where a name may stand, as in `queue/smtp-forward …
    /// xclient`.
    ///
    /// Called once, before the named arguments.
    public func words(_ words: Set<String>) -> Set<String> {
        self.known += words.sorted()
        var found: Set<String> = []
        var kept: [String] = []
        var index = self.remaining.startIndex
        while index < self.remaining.endIndex {
            let word = self.remaining[index]
            index += 1
            if words.contains(word.lowercased()) {
                found.insert(word.lowercased())
                continue
            }
            kept.append(word)
            if index < self.remaining.endIndex {
                kept.append(self.remaining[index])
                index += 1
            }
        }
        self.remaining = kept
        return found
    }

    /// Takes the named argument `name`, in any case.
    ///
    /// - Returns: `nil` if it is not there, or if its value is not of this type (recorded).
    public func argument<Value>(_ name: String, as type: ArgumentType<Value>) -> Value? {
        let values = self.take(name)
        if values.count > 1 {
            self.record("argument \(name) is given \(values.count) times; once is allowed")
        }
        return values.first.flatMap { self.read($0, of: name, as: type) }
    }

    /// Takes the named argument `name`, `default` if it is not there.
    public func argument<Value>(
        _ name: String,
        as type: ArgumentType<Value>,
        default value: Value
    ) -> Value {
        self.argument(name, as: type) ?? value
    }

    /// Takes every value of the named argument `name`, in order.
    public func arguments<Value>(_ name: String, as type: ArgumentType<Value>) -> [Value] {
        self.take(name).compactMap { self.read($0, of: name, as: type) }
    }

    /// Takes the universal arguments `reject` (0, 1 or naughty) and `reject_type`.
    public func refusal(_ mode: Refusal.Mode = .reject, _ type: RefusalType = .perm) -> Refusal {
        let modes = ArgumentType<Refusal.Mode>.choice([
            "0": .tolerate, "1": .reject, "naughty": .naughty,
        ])
        return Refusal(
            self.argument("reject", as: modes, default: mode),
            self.refusalType(default: type)
        )
    }

    /// Takes the universal argument `reject_type`, for plugins whose `reject` is a number.
    public func refusalType(default type: RefusalType = .perm) -> RefusalType {
        let types = ArgumentType("one of perm, hard, temp, soft, disconnect, temp_disconnect") {
            RefusalType(word: $0)
        }
        return self.argument("reject_type", as: types, default: type)
    }

    /// Records something wrong with this line.
    ///
    /// The worker will not start.
    public func record(_ message: String) {
        self.problems.append(self.problem(message))
    }

    /// Records something odd about this line, which `gatepost check` and the log show.
    public func warn(_ message: String) {
        self.warnings.append(self.problem(message))
    }

    private func problem(_ message: String) -> PluginProblem {
        PluginProblem(
            file: self.file,
            line: self.line,
            plugin: self.writtenName,
            message: message
        )
    }

    /// The path that `path` means: relative ones begin at the folder that holds the configuration
    /// folder.
    public func resolve(path: String) -> String {
        path.hasPrefix("/") ? path : "\(self.shared.baseFolder)/\(path)"
    }

    /// Records that files cannot be made in `folder`, if that is so, as something odd about this line.
    ///
    /// No problem: the user of `gatepost check` may have fewer rights than the worker.
    ///
    /// - Parameter folder: An absolute path, as of ``resolve(path:)``; need not be there yet.
    public func warnUnlessWritable(folder: String) {
        guard let obstacle = FilePath.obstacle(toFilesIn: folder) else { return }
        self.warn(
            "this user cannot make files in \(folder), because \(obstacle.path) \(obstacle.reason); "
                + "name another folder, or let the worker's user write there"
        )
    }

    /// Ends the reading: takes `loglevel`, and records every argument that the plugin has not taken.
    package func finish() {
        if let level = self.argument("loglevel", as: .logLevel) {
            self.logger = level.applied(to: self.logger)
        }
        for pair in self.pairs ?? [] {
            let allowed = self.known.joined(separator: ", ")
            self.record("unknown argument \(pair.name); allowed: \(allowed)")
        }
        self.pairs = []
    }

    private func take(_ name: String) -> [String] {
        if !self.known.contains(name) {
            self.known.append(name)
        }
        var pairs = self.pairs ?? self.pairUp()
        let values = pairs.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
        pairs.removeAll { $0.name.lowercased() == name.lowercased() }
        self.pairs = pairs
        return values
    }

    private func pairUp() -> [(name: String, value: String)] {
        var pairs: [(name: String, value: String)] = []
        var words = self.remaining[...]
        self.remaining = []
        while let name = words.popFirst() {
            guard let value = words.popFirst() else {
                self.record("argument \(name) has no value")
                break
            }
            pairs.append((name, value))
        }
        return pairs
    }

    private func read<Value>(
        _ word: String,
        of name: String,
        as type: ArgumentType<Value>
    )
        -> Value?
    {
        guard let value = type.read(word) else {
            self.record("argument \(name) is \(word); it must be \(type.expectation)")
            return nil
        }
        return value
    }
}
