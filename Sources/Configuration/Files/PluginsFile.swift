/// One line of `config/plugins`: a plugin, its instance and its arguments.
package struct PluginLine: Sendable, Equatable {
    /// As written, without `:N`: `check_earlytalker`, `queue/maildir`.
    package let name: String
    /// The digits after the colon in `relay:0`; `nil` if there are none.
    package let instance: String?
    /// Quotes removed.
    package let arguments: [String]
    /// The file that the line is in; it may be an included one.
    package let file: String
    /// Counted from 1.
    package let line: Int

    /// `relay:0`, or `relay`: the name in logs, metrics and notes.
    package var label: String {
        self.instance.map { "\(self.name):\($0)" } ?? self.name
    }

    package init(name: String, instance: String?, arguments: [String], file: String, line: Int) {
        self.name = name
        self.instance = instance
        self.arguments = arguments
        self.file = file
        self.line = line
    }
}

/// `config/plugins`: which plugins run, in the order in which they are asked.
///
/// One plugin a line, arguments after it, split on white space; a double-quoted argument is one
/// argument, inside which `\"` and `\\` stand for themselves and UTF-8 is allowed; `#` lines and
/// empty lines are skipped; `$include` as in every control file.
package struct PluginsFile: Sendable, Equatable {
    package let lines: [PluginLine]

    /// Reads `plugins` from the first of `directories` that has it.
    ///
    /// - Throws: All mistakes in it; also if there is no such file.
    package static func load(directories: [String]) throws(ConfigurationErrors) -> Self {
        let (file, errors) = Self.loadAnyway(directories: directories)
        guard errors.isEmpty else { throw ConfigurationErrors(errors) }
        return file
    }

    /// Reads `plugins` as ``load(directories:)`` does.
    ///
    /// - Returns: The lines that could be read, so that they can be checked, and all mistakes.
    package static func loadAnyway(
        directories: [String]
    ) -> (file: Self, errors: [ConfigurationError]) {
        let reader = ControlFileReader("plugins", directories: directories)
        let problems = ConfigurationProblems()
        problems.report(contentsOf: reader.errors)
        if !reader.isPresent {
            problems.report(
                ConfigurationError(
                    file: "\(directories.first ?? ".")/plugins",
                    line: nil,
                    key: nil,
                    problem: "there is no such file",
                    remedy: "make it; one plugin a line, in the order in which they are asked"
                )
            )
        }
        var lines: [PluginLine] = []
        for line in reader.lines {
            do throws(ConfigurationErrors) {
                lines.append(try Self.pluginLine(line))
            } catch {
                problems.report(contentsOf: error.errors)
            }
        }
        Self.reportRepeated(lines, to: problems)
        return (PluginsFile(lines: lines), problems.sorted)
    }

    /// Reports two lines with one label: they would share notes, logs and metrics.
    private static func reportRepeated(_ lines: [PluginLine], to problems: ConfigurationProblems) {
        var seen: [String: PluginLine] = [:]
        for line in lines {
            guard let first = seen.updateValue(line, forKey: line.label) else { continue }
            problems.report(
                ConfigurationError(
                    file: line.file,
                    line: line.line,
                    key: nil,
                    problem: "\(line.label) is already in \(first.file):\(first.line)",
                    remedy: "number it (\(line.name):2), or remove one"
                )
            )
        }
    }

    private static func pluginLine(_ line: FileLine) throws(ConfigurationErrors) -> PluginLine {
        var words: [String]
        do throws(WordProblem) {
            words = try Self.words(line.text)
        } catch {
            throw ConfigurationErrors([line.error(error.problem, remedy: error.remedy)])
        }
        guard let first = words.first, !first.isEmpty else {
            throw ConfigurationErrors([
                line.error("no plugin is named", remedy: "begin the line with its name")
            ])
        }
        words.removeFirst()
        let (name, instance) = Self.splitInstance(first)
        return PluginLine(
            name: name,
            instance: instance,
            arguments: words,
            file: line.file,
            line: line.line
        )
    }

    /// `relay:0` is relay, instance 0; `My::Module` is a name.
    private static func splitInstance(_ word: String) -> (name: String, instance: String?) {
        guard let colon = word.lastIndex(of: ":"), colon > word.startIndex else {
            return (word, nil)
        }
        let digits = word[word.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ 0x30...0x39 ~= $0 }),
            !word[..<colon].hasSuffix(":")
        else { return (word, nil) }
        return (String(word[..<colon]), String(digits))
    }

    private struct WordProblem: Error {
        let problem: String
        let remedy: String
    }

    /// Splits on white space outside double quotes.
    private static func words(_ text: String) throws(WordProblem) -> [String] {
        var words: [String] = []
        var word: String?
        var isQuoted = false
        var isEscaped = false
        for scalar in text.unicodeScalars {
            if isEscaped {
                if scalar != "\"", scalar != "\\" { word?.unicodeScalars.append("\\") }
                word?.unicodeScalars.append(scalar)
                isEscaped = false
            } else if isQuoted {
                switch scalar {
                case "\\": isEscaped = true
                case "\"": isQuoted = false
                default: word?.unicodeScalars.append(scalar)
                }
            } else if scalar == "\"" {
                isQuoted = true
                word = word ?? ""
            } else if scalar == " " || scalar == "\t" {
                if let finished = word { words.append(finished) }
                word = nil
            } else if (0x21...0x7e).contains(scalar.value) {
                word = word ?? ""
                word?.unicodeScalars.append(scalar)
            } else {
                throw WordProblem(
                    problem: "U+\(String(scalar.value, radix: 16, uppercase: true)) is not ASCII",
                    remedy: "put the argument into double quotes, or write it in ASCII"
                )
            }
        }
        guard !isQuoted else {
            throw WordProblem(problem: "a quote is not closed", remedy: "close it with \"")
        }
        if let finished = word { words.append(finished) }
        return words
    }
}
