import Glibc
import Synchronization
import System

/// A line of a control file or of `plugins`, without the white space around it, and its place;
/// empty lines and comments are left out.
package struct FileLine: Sendable, Equatable {
    package let text: String
    /// The file that the entry is in; it may be an included one.
    package let file: String
    /// Counted from 1.
    package let line: Int

    package init(text: String, file: String, line: Int) {
        self.text = text
        self.file = file
        self.line = line
    }

    /// An error that names the entry's file and line.
    package func error(_ problem: String, remedy: String) -> ConfigurationError {
        ConfigurationError(
            file: self.file,
            line: self.line,
            key: nil,
            problem: problem,
            remedy: remedy
        )
    }
}

/// A control file's name and how its lines become a value, for example a list of networks.
///
/// Keep it in a `static let`: each value is a cache of its own.
package struct ControlValue<Value: Sendable>: Sendable {
    package let name: String
    let cache: ControlValueCache<Value>
    let parse: @Sendable ([FileLine]) throws(ConfigurationErrors) -> Value

    /// - Parameters:
    ///   - name: The name of the control file, for example `relayclients`.
    ///   - parse: Called once for each version of the file. If it throws, the errors are reported
    ///     once, and the value of the last version that could be parsed is used.
    package init(
        _ name: String,
        parse: @escaping @Sendable ([FileLine]) throws(ConfigurationErrors) -> Value
    ) {
        self.name = name
        self.cache = ControlValueCache()
        self.parse = parse
    }
}

/// The identity of a ``ControlValue``, and its last answer.
///
/// A worker needs the same lists at each event of each session. Nearly always the session began
/// after the newest version and before the file was last checked; then the answer comes from here,
/// after one lock and three comparisons.
///
/// The answer is kept in a box and not as a `Value`, so that the lock is not generic: a look-up
/// took 690 ns with a generic lock and takes 390 ns with this one (Swift 6.3.1, two cores, busy).
final class ControlValueCache<Value: Sendable>: Sendable {
    private let answer = Mutex<ControlAnswer?>(nil)

    var id: ObjectIdentifier { ObjectIdentifier(self) }

    /// - Returns: `nil` if the cache does not have it.
    func value(in files: ControlFiles, startedMS: Int64) -> Value?? {
        guard let box = ControlAnswer.box(in: self.answer, files, startedMS) else { return nil }
        // Only `remember(_:in:startedMS:)` puts boxes there, with this `Value`.
        return .some(unsafeDowncast(box, to: ControlValueBox<Value>.self).value)
    }

    func remember(_ value: Value?, in files: ControlFiles, startedMS: Range<Int64>) {
        let answer = ControlAnswer(
            files: ObjectIdentifier(files),
            startedMS: startedMS,
            box: ControlValueBox(value)
        )
        self.answer.withLock { $0 = answer }
    }
}

/// The value of one ``ControlFiles`` for sessions that started in a range of time.
private struct ControlAnswer: Sendable {
    let files: ObjectIdentifier
    let startedMS: Range<Int64>
    /// A ``ControlValueBox``.
    let box: any AnyObject & Sendable

    static func box(
        in answer: borrowing Mutex<Self?>,
        _ files: ControlFiles,
        _ startedMS: Int64
    ) -> (any AnyObject & Sendable)? {
        answer.withLock { answer in
            guard let answer, answer.startedMS.contains(startedMS),
                answer.files == ObjectIdentifier(files)
            else { return nil }
            return answer.box
        }
    }
}

private final class ControlValueBox<Value: Sendable>: Sendable {
    let value: Value?

    init(_ value: Value?) {
        self.value = value
    }
}

/// The control files of a configuration.
///
/// A change of a file holds for the sessions that begin after it.
///
/// At every check, a file is searched for in each directory in turn, so a new file in an earlier
/// directory is found. Each content is parsed into an immutable version. If a file becomes
/// unreadable, or one of its `$include`s fails, its last good version is used, and the error is
/// reported once.
///
/// A session gets the versions that existed when it began: ``snapshot(startedMS:)`` takes that
/// time, so every worker gives the same answer for one session without remembering the session. A
/// file is checked (stat) only for a session that began after the last check.
///
/// Can be used from any thread.
package final class ControlFiles: Sendable {
    package let directories: [String]
    private let onError: @Sendable (ConfigurationError) -> Void
    private let nowMS: @Sendable () -> Int64
    private let histories = Mutex<[String: ControlFileHistory]>([:])
    /// By ``ControlValueCache/id``: the last good values, in case all kept versions are broken.
    private let lastGood = Mutex<[ObjectIdentifier: any Sendable]>([:])

    /// - Parameters:
    ///   - directories: Where files are searched for, in this order; missing folders are skipped.
    ///   - onError: Called once for each failure of each version of a file, on the thread of the
    ///     caller that found it, never under a lock.
    package convenience init(
        directories: [String],
        onError: @escaping @Sendable (ConfigurationError) -> Void
    ) {
        self.init(directories: directories, nowMS: Self.clockMS, onError: onError)
    }

    /// The same with another clock, for tests; `nowMS` is Unix milliseconds.
    init(
        directories: [String],
        nowMS: @escaping @Sendable () -> Int64,
        onError: @escaping @Sendable (ConfigurationError) -> Void
    ) {
        self.directories = directories
        self.nowMS = nowMS
        self.onError = onError
    }

    private static let clockMS: @Sendable () -> Int64 = { UnixTime.milliseconds }

    /// The files as they were when the session began.
    ///
    /// - Parameter startedMS: `session.started_ms`, Unix milliseconds.
    /// - Returns: A view, which reads a file when a value of it is needed.
    package func snapshot(startedMS: Int64) -> ControlSnapshot {
        ControlSnapshot(files: self, startedMS: startedMS)
    }

    /// The files as they are now, outside any session.
    package func snapshot() -> ControlSnapshot {
        self.snapshot(startedMS: .max)
    }

    /// Reads each file again, at the start and for `gatepost check`.
    ///
    /// - Returns: All mistakes in the files that exist.
    package func problems(in names: [String]) -> [ConfigurationError] {
        names.flatMap { ControlFileReader($0, directories: self.directories).errors }
    }

    /// The entries of a file that can be read, even if others cannot: at the start all mistakes are
    /// reported at once.
    ///
    /// - Parameter name: For example `badmailfrom`.
    /// - Returns: The entries in their order; empty if there is no such file.
    package func readableLines(_ name: String) -> [FileLine] {
        ControlFileReader(name, directories: self.directories).lines
    }

    /// Reads a file of a folder that is no part of a configuration.
    ///
    /// - Parameters:
    ///   - name: For example `whitelistsenders`.
    ///   - folder: Its folder; an `$include` cannot leave it.
    ///   - errors: What is wrong is added to it.
    /// - Returns: The entries in their order; `nil` if there is no such file.
    package static func lines(
        _ name: String,
        in folder: String,
        _ errors: inout [ConfigurationError]
    ) -> [FileLine]? {
        let reader = ControlFileReader(name, directories: [folder])
        errors += reader.errors
        return reader.isPresent ? reader.lines : nil
    }

    /// The version of `name` for a session that started then; `nil` if there was no such file.
    func version(_ name: String, startedMS: Int64) -> ControlFileVersion? {
        self.look(name, startedMS: startedMS).version
    }

    /// The version for a session, and the range of starts of all sessions that get this version.
    private func look(
        _ name: String,
        startedMS: Int64
    ) -> (version: ControlFileVersion?, isFor: Range<Int64>) {
        let (found, errors) = self.histories.withLock { histories in
            if let history = histories[name], history.isKnown(startedMS: startedMS) {
                return (history.version(startedMS: startedMS), [] as [ConfigurationError])
            }
            let now = self.nowMS()
            var history = histories[name] ?? ControlFileHistory()
            let errors = history.refresh(
                name,
                directories: self.directories,
                startedMS: min(startedMS, now),
                nowMS: now
            )
            histories[name] = history
            return (history.version(startedMS: startedMS), errors)
        }
        errors.forEach(self.onError)
        return found
    }

    /// The value that `definition` makes of the file; the last good one if the version cannot be
    /// parsed.
    func value<Value>(_ definition: ControlValue<Value>, startedMS: Int64) -> Value? {
        if let known = definition.cache.value(in: self, startedMS: startedMS) { return known }
        let (version, isFor) = self.look(definition.name, startedMS: startedMS)
        let value = self.value(definition, newest: version)
        definition.cache.remember(value, in: self, startedMS: isFor)
        return value
    }

    private func value<Value>(
        _ definition: ControlValue<Value>,
        newest: ControlFileVersion?
    ) -> Value? {
        var next = newest
        while let version = next {
            guard version.lines != nil else { return nil }
            if let parsed = self.parsed(definition, in: version) { return parsed }
            next = version.previous
        }
        return self.lastGood.withLock { $0[definition.cache.id] } as? Value
    }

    private func parsed<Value>(
        _ definition: ControlValue<Value>,
        in version: ControlFileVersion
    ) -> Value? {
        if let known = version.parsed(definition) { return known }
        do throws(ConfigurationErrors) {
            let value = try definition.parse(version.lines ?? [])
            version.remember(value, of: definition.cache.id)
            self.lastGood.withLock { $0[definition.cache.id] = value }
            return value
        } catch {
            version.remember(nil, of: definition.cache.id)
            error.errors.forEach(self.onError)
            return nil
        }
    }
}

/// The versions of one control file, newest first, and when it was last checked.
private struct ControlFileHistory {
    private var newest: ControlFileVersion?
    private var stamps: [(path: String, stamp: FileStamp?)] = []
    private var checkedMS = Int64.min
    /// Whether the file changed so shortly before it was read that a second change could have the
    /// same stamp: the kernel's clock for files ticks every few milliseconds.
    private var isDoubtful = false
    /// More than one tick of the kernel's clock for files.
    private static let clockTickMS: Int64 = 20
    /// The failures that still hold and were reported.
    private var failures: [ConfigurationError] = []

    /// Whether the file was checked after such a session began, so it need not be checked again.
    func isKnown(startedMS: Int64) -> Bool { startedMS < self.checkedMS }

    /// Checks the file if a session began since the last check, and reads it if it changed.
    ///
    /// - Returns: The failures that have not been reported yet.
    mutating func refresh(
        _ name: String,
        directories: [String],
        startedMS: Int64,
        nowMS: Int64
    ) -> [ConfigurationError] {
        guard !self.isKnown(startedMS: startedMS) else { return [] }
        let isFirst = self.checkedMS == .min
        self.checkedMS = nowMS
        guard
            isFirst || self.isDoubtful || !self.failures.isEmpty
                || !self.stamps.allSatisfy({ $0.stamp == FileStamp(path: $0.path) })
        else { return [] }

        let reader = ControlFileReader(name, directories: directories)
        var errors = reader.errors
        if !reader.isPresent, self.newest?.lines != nil,
            !directories.contains(where: { FileStamp(path: $0) != nil })
        {
            errors = [
                ConfigurationError(
                    file: name,
                    line: nil,
                    key: nil,
                    problem: "the configuration folder is gone",
                    remedy: "bring it back; until then the last content counts"
                )
            ]
        }
        let unreported = errors.filter { !self.failures.contains($0) }
        self.failures = errors
        guard errors.isEmpty else { return unreported }
        self.stamps = reader.stamps
        let changedMS = reader.stamps.compactMap { $0.stamp?.changedMS }.max()
        self.isDoubtful = (changedMS ?? .min) >= nowMS - Self.clockTickMS
        let lines = reader.isPresent ? reader.lines : nil
        guard isFirst || lines != self.newest?.lines else { return [] }
        // A removed file has no time of change, but its folder changed when it was removed.
        let sinceMS =
            reader.isPresent
            ? changedMS : directories.compactMap { FileStamp(path: $0)?.changedMS }.max()
        self.newest = ControlFileVersion(
            lines: lines,
            validFromMS: isFirst ? .min : min(sinceMS ?? nowMS, nowMS),
            previous: self.newest
        )
        return []
    }

    /// The newest version that is not younger than the session, or else the oldest that is kept;
    /// and the range of starts of all sessions that get it.
    func version(startedMS: Int64) -> (version: ControlFileVersion?, isFor: Range<Int64>) {
        var version = self.newest
        var endMS = self.checkedMS
        while let current = version, current.validFromMS > startedMS,
            let previous = current.previous
        {
            endMS = current.validFromMS
            version = previous
        }
        let beginMS = version?.validFromMS ?? .min
        return (version, min(beginMS, endMS)..<endMS)
    }
}

/// One content of a control file, and its parsed values.
final class ControlFileVersion: Sendable {
    /// How many versions are kept for sessions that began under them.
    static let maximumVersions = 8

    /// `nil`: the file was not there.
    let lines: [FileLine]?
    let validFromMS: Int64
    private let state: Mutex<State>

    private struct State {
        var previous: ControlFileVersion?
        /// By ``ControlValueCache/id``; an inner `nil` if the content cannot be parsed.
        var parsed: [ObjectIdentifier: (any Sendable)?] = [:]
    }

    init(lines: [FileLine]?, validFromMS: Int64, previous: ControlFileVersion?) {
        self.lines = lines
        self.validFromMS = validFromMS
        self.state = Mutex(State(previous: previous))
        previous?.forget(after: Self.maximumVersions - 1)
    }

    var previous: ControlFileVersion? { self.state.withLock { $0.previous } }

    /// Keeps this version and the `count - 1` before it.
    private func forget(after count: Int) {
        guard count > 1 else {
            self.state.withLock { $0.previous = nil }
            return
        }
        self.previous?.forget(after: count - 1)
    }

    /// The value that ``remember(_:of:)`` kept; `nil` if there is none, `.some(nil)` if the content
    /// cannot be parsed.
    func parsed<Value>(_ definition: ControlValue<Value>) -> Value?? {
        self.state.withLock { $0.parsed[definition.cache.id] }.map { $0 as? Value }
    }

    /// Keeps the value that a parser made of this content; `nil` if it could not parse it.
    func remember(_ value: (any Sendable)?, of id: ObjectIdentifier) {
        self.state.withLock { $0.parsed[id] = .some(value) }
    }
}

/// The control files as one session sees them.
package struct ControlSnapshot: Sendable {
    let files: ControlFiles
    let startedMS: Int64

    /// The entries of a file, includes in place.
    ///
    /// - Parameter name: As `badmailfrom`.
    /// - Returns: `nil` if there is no such file; empty if it holds no entry.
    package func lines(_ name: String) -> [FileLine]? {
        self.files.version(name, startedMS: self.startedMS)?.lines
    }

    /// The first entry, for files of one value (`me`, `databytes`).
    ///
    /// - Parameter name: As `me`.
    /// - Returns: `nil` if there is no such file or no entry in it.
    package func first(_ name: String) -> String? {
        self.lines(name)?.first?.text
    }

    /// The file's value; each version is parsed once.
    ///
    /// - Parameter definition: Name and parser.
    /// - Returns: `nil` if there is no such file, or no version of it could be parsed.
    package func value<Value>(_ definition: ControlValue<Value>) -> Value? {
        self.files.value(definition, startedMS: self.startedMS)
    }
}
