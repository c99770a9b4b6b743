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
}

/// A control file's name and how its lines become a value, for example a list of networks.
///
/// Make one and keep it (a `static let`): each is a cache of its own.
package struct ControlValue<Value: Sendable>: Sendable {
    package let name: String
    let id: ControlValueID
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
        self.id = ControlValueID()
        self.parse = parse
    }
}

/// Identity of a ``ControlValue``.
final class ControlValueID: Sendable {}

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
    let onError: @Sendable (ConfigurationError) -> Void

    /// - Parameters:
    ///   - directories: Best first; a folder that is not there is skipped.
    ///   - onError: Told once about each failure of each version of a file: log it, count it. Called
    ///     on the thread that asked, never under a lock.
    package init(
        directories: [String],
        onError: @escaping @Sendable (ConfigurationError) -> Void
    ) {
        self.directories = directories
        self.onError = onError
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
}

/// The control files as one session sees them: a value of two words, made and dropped at will.
package struct ControlSnapshot: Sendable {
    let files: ControlFiles
    let startedMS: Int64

    /// The entries of a file, includes in place.
    ///
    /// - Returns: `nil` if there is no such file and never was; empty if it holds no entry.
    package func lines(_ name: String) -> [ControlLine]? { nil }

    /// The first entry, for files of one value (`me`, `databytes`).
    package func first(_ name: String) -> String? { nil }

    /// The file's parsed value, parsed once a version.
    ///
    /// - Returns: `nil` if there is no such file and never was, or none that could ever be parsed.
    package func value<Value>(_ definition: ControlValue<Value>) -> Value? { nil }
}
