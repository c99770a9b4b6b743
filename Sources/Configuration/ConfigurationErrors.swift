/// One mistake in a configuration file, and what to do about it.
package struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file's path, which can be opened from the program's working directory.
    package let file: String
    /// The line, counted from 1; `nil` if the mistake is in no single line.
    package let line: Int?
    /// The key with its tables (`pool[2].hooks.connect.deadline_ms`); `nil` outside a key.
    package let key: String?
    /// What is wrong, with the value that was found.
    package let problem: String
    /// What to write instead; empty only when `problem` says it all.
    package let remedy: String

    package init(file: String, line: Int?, key: String?, problem: String, remedy: String) {
        self.file = file
        self.line = line
        self.key = key
        self.problem = problem
        self.remedy = remedy
    }

    /// One line: `config/frontend.toml:12: limits.max_errors: …; write …`.
    package var description: String {
        var text = self.file
        if let line = self.line { text += ":\(line)" }
        if let key = self.key { text += ": \(key)" }
        text += ": \(self.problem)"
        if !self.remedy.isEmpty { text += "; \(self.remedy)" }
        return text
    }
}

/// All mistakes in a configuration; never empty when thrown.
package struct ConfigurationErrors: Error, Sendable, Equatable, CustomStringConvertible {
    /// In the order of files and lines.
    package let errors: [ConfigurationError]

    package init(_ errors: [ConfigurationError]) {
        self.errors = errors
    }

    /// One line an error.
    package var description: String {
        self.errors.map(\.description).joined(separator: "\n")
    }
}
