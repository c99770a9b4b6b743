import Configuration

/// A line of a control file, as of `badmailfrom` or `rcpthosts`.
public struct ControlLine: Sendable, Equatable {
    /// The line, without the white space around it; comments and empty lines are gone already.
    public let text: String
    /// The file it stands in, which an `$include` may have named.
    public let file: String
    /// The number of the line, from 1.
    public let number: Int

    package init(text: String, file: String, number: Int) {
        self.text = text
        self.file = file
        self.number = number
    }

    /// The line's words, separated by white space.
    public var words: [String] {
        self.text.split { $0 == " " || $0 == "\t" }.map { String($0) }
    }

    /// The line's words, of which the last of at most `count` is the rest of the line.
    public func columns(_ count: Int) -> [String] {
        var columns: [String] = []
        var rest = self.text[...]
        while columns.count < count - 1, !rest.isEmpty {
            let word = rest.prefix { $0 != " " && $0 != "\t" }
            columns.append(String(word))
            rest = rest.dropFirst(word.count).drop { $0 == " " || $0 == "\t" }
        }
        return rest.isEmpty ? columns : columns + [String(rest)]
    }

    /// An error that names this line.
    public func problem(_ message: String) -> PluginError {
        PluginError("\(self.file):\(self.number): \(message)")
    }
}

/// A control file as a value, read live: an edit counts for the sessions that start after it, so
/// that one session is judged by one set of lists, whichever worker is asked.
///
/// A file that cannot be read or parsed any more keeps its last good content, and the log says so
/// once for each edit. A file that is not there has no lines.
///
/// Made by ``PluginConfiguration/controlFile(_:parse:)`` and read by ``HookEvent/value(of:)``.
public struct ControlFile<Value: Sendable>: Sendable {
    private let files: ControlFiles
    private let definition: ControlValue<Value>
    private let empty: Value
    private let recipientDirectory: RecipientDirectory?
    private let parse: @Sendable ([ControlLine]) throws -> Value

    init(
        _ name: String,
        in files: ControlFiles,
        ofEach recipientDirectory: RecipientDirectory?,
        parse: @escaping @Sendable ([ControlLine]) throws -> Value
    ) throws {
        self.files = files
        self.recipientDirectory = recipientDirectory
        self.parse = parse
        self.empty = try parse([])
        self.definition = ControlValue(name) { lines throws(ConfigurationErrors) in
            do {
                return try parse(lines.map { ControlLine($0) })
            } catch {
                throw ConfigurationErrors([
                    ConfigurationError(
                        file: name,
                        line: nil,
                        key: nil,
                        problem: "\(error)",
                        remedy: ""
                    )
                ])
            }
        }
        // Of a file with a broken `$include`, which was reported, the rest is looked at as well.
        let lines = files.snapshot().lines(name) ?? files.readableLines(name)
        _ = try parse(lines.map { ControlLine($0) })
    }

    /// What the file said when the session began.
    package func value(startedMilliseconds: Int64) -> Value {
        self.files.snapshot(startedMS: startedMilliseconds).value(self.definition) ?? self.empty
    }

    /// What the file of this name in a recipient's own folder says now.
    ///
    /// - Returns: `nil` if the recipient has no such file.
    /// - Throws: What is wrong in it.
    func value(of recipient: Recipient) throws -> Value? {
        guard
            let folder = self.recipientDirectory?.path(
                local: recipient.local.octets,
                domain: recipient.domain.octets
            )
        else { return nil }
        var errors: [ConfigurationError] = []
        guard let lines = ControlFiles.lines(self.definition.name, in: folder, &errors) else {
            return nil
        }
        if let error = errors.first { throw PluginError("\(error)") }
        return try self.parse(lines.map { ControlLine($0) })
    }
}

extension ControlLine {
    init(_ line: FileLine) {
        self.init(text: line.text, file: line.file, number: line.line)
    }
}

extension PluginConfiguration {
    /// A control file, parsed as a whole whenever it changes.
    ///
    /// - Parameters:
    ///   - name: The file's name.
    ///   - parse: Makes the value of the file's lines; no lines, if there is no file.
    /// - Returns: What ``HookEvent/value(of:)`` reads.
    /// - Throws: What `parse` throws about the file as it now is.
    public func controlFile<Value>(
        _ name: String,
        parse: @escaping @Sendable ([ControlLine]) throws -> Value
    ) throws -> ControlFile<Value> {
        try ControlFile(
            name,
            in: self.shared.controlFiles,
            ofEach: self.shared.configuration.recipientDirectory,
            parse: parse
        )
    }

    /// A control file, one value a line.
    ///
    /// - Throws: The problem of the first line that is wrong as the file now is.
    public func controlFile<Element>(
        _ name: String,
        line: @escaping @Sendable (ControlLine) throws -> Element
    ) throws -> ControlFile<[Element]> {
        try self.controlFile(name, parse: { try $0.map(line) })
    }

    /// A control file, the text of its lines.
    ///
    /// - Throws: Never, for any line will do.
    public func controlFile(_ name: String) throws -> ControlFile<[String]> {
        try self.controlFile(name, line: { $0.text })
    }
}

extension HookEvent {
    /// What a control file said when this session began.
    public func value<Value>(of file: ControlFile<Value>) -> Value {
        file.value(startedMilliseconds: self.session.startedMilliseconds)
    }

    /// What the file of the same name in the recipient's own folder says: `recipient_directory` in `worker.toml`.
    ///
    /// Read anew each time. A file that is wrong is logged as an error.
    ///
    /// - Returns: `nil` if the recipient has no such file, or it is wrong: then what ``value(of:)`` says counts.
    public func value<Value>(of file: ControlFile<Value>, for recipient: Recipient) -> Value? {
        do {
            return try file.value(of: recipient)
        } catch {
            self.error("file of \(recipient.address): \(error)")
            return nil
        }
    }
}
