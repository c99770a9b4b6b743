import Glibc
import Synchronization

/// One entry of a control file: white space trimmed, comments and empty lines already gone.
package struct ControlLine: Sendable, Equatable {
    package let text: String
    /// Where it stands, which may be a file that was included.
    package let file: String
    /// Counted from 1.
    package let line: Int

    package init(text: String, file: String, line: Int) {
        self.text = text
        self.file = file
        self.line = line
    }

    /// This entry as the place of a mistake.
    ///
    /// - Returns: An error that names file and line.
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
/// Make one and keep it (a `static let`): each is a cache of its own.
package struct ControlValue<Value: Sendable>: Sendable {
    package let name: String
    let cache: ControlValueCache<Value>
    let parse: @Sendable ([ControlLine]) throws(ConfigurationErrors) -> Value

    /// - Parameters:
    ///   - name: The control file, as `relayclients`.
    ///   - parse: Called once for each version of the file. When it throws, the errors are reported
    ///     once and the value of the last version that could be parsed stays.
    package init(
        _ name: String,
        parse: @escaping @Sendable ([ControlLine]) throws(ConfigurationErrors) -> Value
    ) {
        self.name = name
        self.cache = ControlValueCache()
        self.parse = parse
    }
}

/// Identity of a ``ControlValue``, and its latest answer.
///
/// A worker asks for the same lists at each event of each session, nearly always for sessions that
/// began under the newest version and before the last look. For those this is the whole way: one
/// lock and three comparisons.
///
/// The answer is kept in a box and not as a `Value`: so the lock is not generic, which took 690 ns a
/// look-up where this takes 390 (Swift 6.3.1, two cores, busy).
final class ControlValueCache<Value: Sendable>: Sendable {
    private let answer = Mutex<ControlAnswer?>(nil)

    var id: ObjectIdentifier { ObjectIdentifier(self) }

    /// - Returns: `nil` if it is not known here.
    func value(in files: ControlFiles, startedMS: Int64) -> Value?? {
        guard let box = ControlAnswer.box(in: self.answer, files, startedMS) else { return nil }
        // Only remember(_:in:startedMS:) puts boxes there, with this Value.
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

/// What sessions that started in a range get from one ``ControlFiles``.
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

/// The control files of a configuration, read live: an edit counts for the next session.
///
/// A file is looked for in each directory in turn, at every check, so that one created later in a
/// better directory is seen. It is parsed into an immutable version; a file that becomes unreadable,
/// or whose `$include`s fail, keeps its last good version, and the error is reported once.
///
/// A session is judged by the versions that were there when it started: ``snapshot(startedMS:)``
/// takes that time, so every worker that is asked about one session gives the same answer without
/// remembering the session. A file is stat'ed only when somebody asks for it on behalf of a session
/// that started after the last look.
///
/// May be used from any thread.
package final class ControlFiles: Sendable {
    package let directories: [String]
    private let onError: @Sendable (ConfigurationError) -> Void
    private let nowMS: @Sendable () -> Int64
    private let histories = Mutex<[String: ControlFileHistory]>([:])
    /// By ``ControlValueCache/id``: for the case that every version that is kept is broken.
    private let lastGood = Mutex<[ObjectIdentifier: any Sendable]>([:])

    /// - Parameters:
    ///   - directories: Best first; a folder that is not there is skipped.
    ///   - onError: Told once about each failure of each version of a file: log it, count it. Called
    ///     on the thread that asked, never under a lock.
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

    private static let clockMS: @Sendable () -> Int64 = {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// The files as they were when the session began.
    ///
    /// - Parameter startedMS: `session.started_ms`, Unix milliseconds.
    /// - Returns: A view; nothing is read until somebody asks it.
    package func snapshot(startedMS: Int64) -> ControlSnapshot {
        ControlSnapshot(files: self, startedMS: startedMS)
    }

    /// The files as they are now, outside any session.
    package func snapshot() -> ControlSnapshot {
        self.snapshot(startedMS: .max)
    }

    /// Reads each file afresh, for the start and for `gatepost check`.
    ///
    /// - Returns: Everything that is wrong in those that exist.
    package func problems(in names: [String]) -> [ConfigurationError] {
        names.flatMap { ControlFileReader($0, directories: self.directories).errors }
    }

    /// The entries of a file that can be read, whatever is wrong with the rest; for the start, where all
    /// mistakes are told at once.
    ///
    /// - Parameter name: As `badmailfrom`.
    /// - Returns: The lines in their order; empty if there is no such file.
    package func readableLines(_ name: String) -> [ControlLine] {
        ControlFileReader(name, directories: self.directories).lines
    }

    /// The version of `name` for a session that started then; `nil` if there was no such file.
    func version(_ name: String, startedMS: Int64) -> ControlFileVersion? {
        self.look(name, startedMS: startedMS).version
    }

    /// The version, and for which other sessions it is the right one as well.
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

    /// What `definition` makes of the file; the value before it while the newest cannot be parsed.
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

/// What is known about one control file: its versions, newest first, and when it was last looked at.
private struct ControlFileHistory {
    private var newest: ControlFileVersion?
    private var stamps: [(path: String, stamp: FileStamp?)] = []
    private var checkedMS = Int64.min
    /// Whether a file was written so shortly before it was read that another change might have
    /// left the same stamp: the kernel's clock for files ticks every few milliseconds.
    private var isDoubtful = false
    /// More than the kernel's clock for files ticks.
    private static let clockTickMS: Int64 = 20
    /// The failures that stand, so that each is reported once.
    private var failures: [ConfigurationError] = []

    /// Whether the file was looked at after such a session started, so that nothing is to be done.
    func isKnown(startedMS: Int64) -> Bool { startedMS < self.checkedMS }

    /// Looks at the file if a session started since the last look, and reads it if it changed.
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
        // A file that is gone has no time of its own: its folder changed when it went.
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

    /// The newest version that is not younger than the session, else the oldest that is kept; and
    /// which sessions get the same.
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

/// One content of a control file, and what was made of it.
final class ControlFileVersion: Sendable {
    /// How many contents are kept for the sessions that began under them.
    static let maximumVersions = 8

    /// `nil`: the file was not there.
    let lines: [ControlLine]?
    let validFromMS: Int64
    private let state: Mutex<State>

    private struct State {
        var previous: ControlFileVersion?
        /// By ``ControlValueCache/id``; a failure is there without a value.
        var parsed: [ObjectIdentifier: (any Sendable)?] = [:]
    }

    init(lines: [ControlLine]?, validFromMS: Int64, previous: ControlFileVersion?) {
        self.lines = lines
        self.validFromMS = validFromMS
        self.state = Mutex(State(previous: previous))
        previous?.forget(after: Self.maximumVersions - 1)
    }

    var previous: ControlFileVersion? { self.state.withLock { $0.previous } }

    /// Keeps `count` versions, this one included.
    private func forget(after count: Int) {
        guard count > 1 else {
            self.state.withLock { $0.previous = nil }
            return
        }
        self.previous?.forget(after: count - 1)
    }

    /// What ``remember(_:of:)`` was told; `nil` if nothing, `.some(nil)` if it cannot be parsed.
    func parsed<Value>(_ definition: ControlValue<Value>) -> Value?? {
        self.state.withLock { $0.parsed[definition.cache.id] }.map { $0 as? Value }
    }

    /// Keeps the value that a parser made of this content; `nil` if it could not.
    func remember(_ value: (any Sendable)?, of id: ObjectIdentifier) {
        self.state.withLock { $0.parsed[id] = .some(value) }
    }
}

/// The control files as one session sees them: a value of two words, made and dropped at will.
package struct ControlSnapshot: Sendable {
    let files: ControlFiles
    let startedMS: Int64

    /// The entries of a file, includes in place.
    ///
    /// - Parameter name: As `badmailfrom`.
    /// - Returns: `nil` if there is no such file; empty if it holds no entry.
    package func lines(_ name: String) -> [ControlLine]? {
        self.files.version(name, startedMS: self.startedMS)?.lines
    }

    /// The first entry, for files of one value (`me`, `databytes`).
    ///
    /// - Parameter name: As `me`.
    /// - Returns: `nil` if there is no such file or no entry in it.
    package func first(_ name: String) -> String? {
        self.lines(name)?.first?.text
    }

    /// The file's parsed value, parsed once a version.
    ///
    /// - Parameter definition: Name and parser.
    /// - Returns: `nil` if there is no such file, or none that could ever be parsed.
    package func value<Value>(_ definition: ControlValue<Value>) -> Value? {
        self.files.value(definition, startedMS: self.startedMS)
    }
}
