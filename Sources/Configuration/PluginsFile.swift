/// One line of `config/plugins`: a plugin, its instance and its arguments.
package struct PluginLine: Sendable, Equatable {
    /// As written, without `:N`: `check_earlytalker`, `queue/maildir`.
    package let name: String
    /// The digits after the colon in `relay:0`; `nil` if there are none.
    package let instance: String?
    /// Quotes removed.
    package let arguments: [String]
    /// Where it stands, which may be a file that was included.
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
    /// - Throws: All that is wrong in it; also that there is no such file.
    package static func load(directories: [String]) throws(ConfigurationErrors) -> Self {
        PluginsFile(lines: [])
    }
}
