/// One thing that is wrong in a configuration file, and what to do about it.
package struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file as a path that opens from where the program runs.
    package let file: String
    /// The line, counted from 1; `nil` when the file as a whole is meant.
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

/// Everything that is wrong in a configuration, all of it at once; never empty when thrown.
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
