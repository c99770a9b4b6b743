import ArgumentParser
import Configuration
import StandardPlugins
import System

/// Finds the folder of the quarantine by the configuration.
struct QuarantinePlace: ParsableArguments {
    @Option(help: "The configuration folder.")
    var config = "config"

    @Option(help: "The folder, if config/plugins names none or several.")
    var folder: String?

    /// - Throws: `ExitCode` after printing why there is none.
    func quarantine() throws -> QuarantineFolder {
        if let folder { return QuarantineFolder(path: folder) }
        var found: [String] = []
        do throws(ConfigurationErrors) {
            let configuration = try WorkerConfiguration.load(directory: self.config)
            let file = try PluginsFile.load(directories: configuration.controlDirectories)
            for line in file.lines where line.name == QueueQuarantine.name {
                guard let path = line.arguments.first else { continue }
                let base = configuration.baseDirectory
                found.append(path.hasPrefix("/") ? path : "\(base)/\(path)")
            }
        } catch {
            for problem in error.errors {
                StandardError.write(FilePath.relativized(problem.description))
            }
            throw ExitCode(ExitStatus.configuration)
        }
        guard found.count == 1, let path = found.first else {
            StandardError.write(
                "gatepost quarantine: \(self.config)/plugins has \(found.count) lines of queue/quarantine; "
                    + "name the --folder"
            )
            throw ExitCode(ExitStatus.configuration)
        }
        return QuarantineFolder(path: path)
    }

    static func entry(_ id: String, in folder: QuarantineFolder) throws -> QuarantineEntry {
        do throws(QuarantineFolder.Failure) {
            return try folder.entry(id)
        } catch {
            throw Self.failed(error)
        }
    }

    /// A message that no other command hands on as long as the lock is there.
    static func hold(_ id: String, in folder: QuarantineFolder) throws -> Lock {
        do throws(QuarantineFolder.Failure) {
            return Lock(try folder.hold(id))
        } catch {
            throw Self.failed(error)
        }
    }

    /// Ends with its last reference.
    final class Lock {
        private let file: Descriptor

        init(_ file: consuming Descriptor) { self.file = file }
    }

    static func failed(_ error: QuarantineFolder.Failure) -> ExitCode {
        let code = Self.failed("\(error)")
        if case .unknown = error { return QuarantineCommand.notThere }
        return code
    }

    static func failed(_ error: SystemError) -> ExitCode { self.failed("\(error)") }

    static func failed(_ reason: String) -> ExitCode {
        StandardError.write("gatepost quarantine: \(PrintableText.text(reason))")
        return ExitCode(ExitStatus.unavailable)
    }
}
