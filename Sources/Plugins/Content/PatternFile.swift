import Patterns
import PolicyKit

extension PluginConfiguration {
    /// A control file with a regular expression of PCRE2 in each line, matched without regard to case.
    ///
    /// - Throws: The problem of the first line that is none.
    func patternFile(_ name: String) throws -> ControlFile<[Pattern]> {
        try self.controlFile(name) { line in
            do throws(PatternError) {
                return try Pattern(line.text)
            } catch {
                throw line.problem("\(error)")
            }
        }
    }
}
