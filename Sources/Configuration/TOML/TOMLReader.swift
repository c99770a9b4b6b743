import TOMLKit

/// Collects the mistakes of a configuration while the rest of it is read.
final class ConfigurationProblems {
    private(set) var errors: [ConfigurationError] = []

    func report(_ error: ConfigurationError) {
        if !self.errors.contains(error) { self.errors.append(error) }
    }

    func report(contentsOf errors: [ConfigurationError]) {
        for error in errors { self.report(error) }
    }

    /// Everything reported, in the order of files and lines.
    var sorted: [ConfigurationError] {
        self.errors.sorted { ($0.file, $0.line ?? 0) < ($1.file, $1.line ?? 0) }
    }

    /// Ends a reading.
    ///
    /// - Throws: Everything reported, if there is anything.
    func throwIfAny() throws(ConfigurationErrors) {
        guard self.errors.isEmpty else { throw ConfigurationErrors(self.sorted) }
    }
}

/// One table of a TOML file: typed reads with defaults, every mistake reported with its line.
///
/// A read that fails reports the mistake and returns the default, so that further mistakes are
/// found as well. ``finish()`` reports the keys that were not read.
final class TOMLReader {
    let file: String
    let path: String
    let problems: ConfigurationProblems
    private let table: TOMLTable
    private let locator: TOMLLocator
    private var known: [String] = []

    private init(
        file: String,
        path: String,
        table: TOMLTable,
        locator: TOMLLocator,
        problems: ConfigurationProblems
    ) {
        self.file = file
        self.path = path
        self.table = table
        self.locator = locator
        self.problems = problems
    }

    /// Parses a whole file.
    ///
    /// - Returns: `nil` after reporting that it cannot be parsed.
    convenience init?(file: String, octets: [UInt8], problems: ConfigurationProblems) {
        guard let source = String(validating: octets, as: UTF8.self) else {
            let error = ConfigurationError(
                file: file,
                line: nil,
                key: nil,
                problem: "is not UTF-8",
                remedy: "save it as UTF-8"
            )
            problems.report(error)
            return nil
        }
        do {
            let table = try TOMLTable(string: source)
            let locator = TOMLLocator(octets)
            self.init(file: file, path: "", table: table, locator: locator, problems: problems)
        } catch {
            let parseError = error as? TOMLParseError
            let error = ConfigurationError(
                file: file,
                line: parseError?.source.begin.line,
                key: nil,
                problem: "is not TOML: \(parseError?.description ?? "\(error)")",
                remedy: "nothing after this line was checked"
            )
            problems.report(error)
            return nil
        }
    }

    /// A file that is not there.
    convenience init(emptyFile file: String, problems: ConfigurationProblems) {
        self.init(
            file: file,
            path: "",
            table: TOMLTable(),
            locator: TOMLLocator([]),
            problems: problems
        )
    }

    /// Whether the file has `key`; it counts as read then.
    func has(_ key: String) -> Bool { self.value(key) != nil }

    func report(_ key: String, _ problem: String, remedy: String) {
        let path = self.pathOf(key)
        let line = self.locator.line(of: path)
        self.problems.report(
            ConfigurationError(
                file: self.file,
                line: line,
                key: path,
                problem: problem,
                remedy: remedy
            )
        )
    }

    /// Reports a key that has no effect in this version.
    func reportLater(_ key: String) {
        self.report(key, "is not in this version", remedy: "remove the line")
    }

    func pathOf(_ key: String) -> String {
        self.path.isEmpty ? key : key.isEmpty ? self.path : "\(self.path).\(key)"
    }

    private func value(_ key: String) -> (any TOMLValueConvertible)? {
        if !self.known.contains(key) { self.known.append(key) }
        return self.table[key]
    }

    private func value(_ key: String, _ type: TOMLType) -> (any TOMLValueConvertible)? {
        guard let value = self.value(key) else { return nil }
        guard value.type == type else {
            self.report(
                key,
                "is \(Self.article(value.type))",
                remedy: "write \(Self.article(type))\(type == .string ? ", in quotes" : "")"
            )
            return nil
        }
        return value
    }

    private static func article(_ type: TOMLType) -> String {
        let words = [TOMLType.array: "an array", .int: "an integer", .bool: "true or false"]
        return words[type] ?? "a \(type)"
    }

    func string(_ key: String) -> String? { self.value(key, .string)?.string }

    func string(_ key: String, default fallback: String) -> String {
        self.string(key) ?? fallback
    }

    func bool(_ key: String, default fallback: Bool) -> Bool {
        self.value(key, .bool)?.bool ?? fallback
    }

    /// An integer in `range`, whose unit the message names.
    func integer<Integer: FixedWidthInteger>(
        _ key: String,
        default fallback: Integer,
        in range: ClosedRange<Integer>,
        unit: String = ""
    ) -> Integer {
        guard let found = self.value(key, .int)?.int else { return fallback }
        guard let value = Integer(exactly: found), range.contains(value) else {
            let unit = unit.isEmpty ? "" : " \(unit)"
            self.report(
                key,
                "\(found) is out of range",
                remedy: "write \(range.lowerBound) to \(range.upperBound)\(unit)"
            )
            return fallback
        }
        return value
    }

    /// One of the words of an enum.
    func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ key: String,
        default fallback: Choice
    ) -> Choice {
        guard let word = self.string(key) else { return fallback }
        guard let choice = Choice(rawValue: word) else {
            let words = Choice.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
            self.report(key, "\"\(word)\" is not one of its words", remedy: "write \(words)")
            return fallback
        }
        return choice
    }

    /// An array of strings; `nil` if the key is missing.
    func strings(_ key: String) -> [String]? {
        guard let array = self.value(key, .array)?.array else { return nil }
        var strings: [String] = []
        for index in 0..<array.count {
            if array[index].type == .string, let string = array[index].string {
                strings.append(string)
            } else {
                self.report(
                    key,
                    "element \(index + 1) is \(Self.article(array[index].type))",
                    remedy: "write an array of strings"
                )
            }
        }
        return strings
    }

    /// A table inside this one; an empty one if the file has none.
    func subtable(_ key: String) -> TOMLReader {
        let table = self.value(key, .table)?.table ?? TOMLTable()
        return self.reader(table, path: self.pathOf(key))
    }

    /// The tables of an array of tables (`[[key]]`).
    func tables(_ key: String) -> [TOMLReader] {
        guard let array = self.value(key, .array)?.array else { return [] }
        var readers: [TOMLReader] = []
        for index in 0..<array.count {
            if array[index].type == .table, let table = array[index].table {
                readers.append(self.reader(table, path: "\(self.pathOf(key))[\(index)]"))
            } else {
                self.report(
                    key,
                    "element \(index + 1) is \(Self.article(array[index].type))",
                    remedy: "write [[\(key)]]"
                )
            }
        }
        return readers
    }

    private func reader(_ table: TOMLTable, path: String) -> TOMLReader {
        TOMLReader(
            file: self.file,
            path: path,
            table: table,
            locator: self.locator,
            problems: self.problems
        )
    }

    /// The names of everything in this table.
    var keys: [String] { self.table.keys }

    /// Reports every key that was not read.
    func finish() {
        for key in self.table.keys where !self.known.contains(key) {
            self.report(
                key,
                "is not a key",
                remedy: NearestWord.suggestion(for: key, among: self.known)
            )
        }
    }
}
