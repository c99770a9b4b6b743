/// The control files that the frontend reads itself.
package enum FrontendControls {
    /// `databytes`: the longest message in octets; 0 is the frontend's default.
    package static let databytes = ControlValue<Int>("databytes", parse: Self.number)
    /// `timeout` in seconds; qpsmtpd's command timeout.
    package static let timeout = ControlValue<Int>("timeout", parse: Self.number)
    /// `timeoutsmtpd` in seconds; wins over `timeout`.
    package static let timeoutsmtpd = ControlValue<Int>("timeoutsmtpd", parse: Self.number)

    /// All of them, for a check at start.
    package static let names = ["me", "smtpgreeting", "databytes", "timeout", "timeoutsmtpd"]

    /// The first entry as a number that is not negative; an empty file is 0.
    @Sendable
    private static func number(_ lines: [FileLine]) throws(ConfigurationErrors) -> Int {
        guard let line = lines.first else { return 0 }
        guard let number = Int(line.text), number >= 0 else {
            throw ConfigurationErrors([
                line.error("\"\(line.text)\" is not a number", remedy: "write 0 or more")
            ])
        }
        return number
    }

    /// Reads the numbers as well, which ``ControlFiles/problems(in:)`` cannot.
    ///
    /// - Returns: What is wrong in them.
    package static func problems(in files: ControlFiles) -> [ConfigurationError] {
        var errors = files.problems(in: Self.names)
        for name in [Self.databytes, Self.timeout, Self.timeoutsmtpd].map(\.name) {
            let reader = ControlFileReader(name, directories: files.directories)
            do throws(ConfigurationErrors) {
                _ = try Self.number(reader.lines)
            } catch {
                errors += error.errors
            }
        }
        return errors
    }
}
