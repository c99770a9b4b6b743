import Glibc
import Octets
import TOMLKit

/// The folder that `--config` names.
struct ConfigurationFolder {
    /// Absolute, links resolved.
    let directory: String
    /// The folder that holds the configuration folder; relative paths start here.
    let baseDirectory: String
    private let problems: ConfigurationProblems

    /// Reports if there is no such folder.
    init(_ given: String, problems: ConfigurationProblems) {
        let absolute = FilePath.absolute(given, in: FilePath.workingDirectory)
        var directory = absolute
        if let resolved = realpath(absolute, nil) {
            directory = String(cString: resolved)
            free(resolved)
        }
        self.directory = directory
        self.baseDirectory = FilePath.parent(of: directory)
        self.problems = problems
        if FileStamp(path: directory)?.isDirectory != true {
            problems.report(
                ConfigurationError(
                    file: given,
                    line: nil,
                    key: nil,
                    problem: "there is no such folder",
                    remedy: "name the folder that holds frontend.toml with --config"
                )
            )
        }
    }

    /// Opens a TOML file of the folder.
    ///
    /// - Returns: `nil` if there is none, or after reporting that it cannot be read or parsed.
    func reader(_ name: String) -> TOMLReader? {
        let path = "\(self.directory)/\(name)"
        do throws(FileOctets.Failure) {
            let octets = try FileOctets.read(path).octets
            return TOMLReader(
                file: "\(self.directory)/\(name)",
                octets: octets,
                problems: self.problems
            )
        } catch {
            guard !error.isNoSuchFile else { return nil }
            self.problems.report(
                ConfigurationError(
                    file: "\(self.directory)/\(name)",
                    line: nil,
                    key: nil,
                    problem: error.reason,
                    remedy: "make it readable"
                )
            )
            return nil
        }
    }

    /// A reader for an empty file of this name.
    func emptyReader(_ name: String) -> TOMLReader {
        TOMLReader(emptyFile: "\(self.directory)/\(name)", problems: self.problems)
    }

    /// A path, made absolute.
    func path(_ reader: TOMLReader, _ key: String, default fallback: String) -> String {
        let text = reader.string(key, default: fallback)
        if text.isEmpty {
            reader.report(key, "is empty", remedy: "write a path, or remove the line")
        }
        return FilePath.absolute(text, in: self.baseDirectory)
    }

    /// The folder itself, then `control_directories`.
    func controlDirectories(_ reader: TOMLReader) -> [String] {
        let more = reader.strings("control_directories") ?? []
        return [self.directory] + more.map { FilePath.absolute($0, in: self.baseDirectory) }
    }
}

extension TOMLReader {
    /// A name that stands in paths, logs and metrics.
    func name(_ key: String, default fallback: String, isChecked: Bool = true) -> String {
        let name = self.string(key, default: fallback)
        let isName =
            (1...64).contains(name.utf8.count) && !name.hasPrefix(".")
            && name.utf8.allSatisfy {
                $0.isLetterOrDigit || [0x2d, 0x2e, 0x5f].contains($0)
            }
        if isChecked, !isName {
            self.report(
                key,
                "\"\(name)\" is not a name",
                remedy: "write 1 to 64 letters, digits, hyphens, dots or underscores"
            )
        }
        return name
    }

    /// A pool's name, as the protocol has it in `hello`.
    func poolName(_ key: String, default fallback: String) -> String {
        let name = self.string(key, default: fallback)
        let isName =
            (1...64).contains(name.utf8.count)
            && name.utf8.first != 0x2D && name.utf8.first != 0x5F
            && name.utf8.allSatisfy { octet in
                switch octet {
                case 0x61...0x7A, 0x30...0x39, 0x2D, 0x5F: true
                default: false
                }
            }
        if !isName {
            self.report(
                key,
                "\"\(name)\" is not a pool's name, and each of its workers would be refused",
                remedy: "write 1 to 64 of a-z, 0-9, - and _, the first of a-z or 0-9"
            )
        }
        return name
    }

    /// A time of at most a day.
    func milliseconds(_ key: String, default fallback: Int64, from low: Int64 = 0) -> Int64 {
        self.integer(key, default: fallback, in: low...86_400_000, unit: "milliseconds")
    }

    /// A number of things, of which 0 is no limit.
    func count(_ key: String, default fallback: Int) -> Int {
        self.integer(key, default: fallback, in: 0...1_000_000)
    }
}
