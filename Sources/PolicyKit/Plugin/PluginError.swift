/// Why a plugin does not work.
public struct PluginError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What is wrong, for the operator.
    public let description: String

    /// An error to show to the operator.
    public init(_ description: String) {
        self.description = description
    }
}

/// Something wrong in a line of `config/plugins`, or that kept the plugin of that line from working.
public struct PluginProblem: Sendable, Equatable, CustomStringConvertible {
    /// The file, as it was named on the command line.
    public let file: String
    /// The line, from 1.
    public let line: Int
    /// The plugin as it is written there.
    public let plugin: String
    /// What is wrong, and what would be right.
    public let message: String

    /// One line, as in `config/plugins:3: relay: unknown argument x; allowed: only`.
    public var description: String {
        "\(self.file):\(self.line): \(self.plugin): \(self.message)"
    }
}
