import ArgumentParser
import Configuration
import System

/// `gatepost poison`: lists and shows the poisoned questions, and lets one be asked again.
struct PoisonCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "poison",
        abstract: "Shows the events that killed or hung two workers, and lets them be asked again.",
        discussion: """
            An event that two workers died or hung with is refused for an hour, and a copy of it \
            and of its message is kept in <spool_directory>/poison for the plugin's author. The \
            copies are personal data: remove them with `forget`.
            """,
        subcommands: [List.self, Show.self, Forget.self]
    )

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One line an event, newest first.",
            discussion: """
                Exit code 0: all are listed; 69: some cannot be read or are no event, and are named.
                """
        )

        @OptionGroup var place: PoisonPlace

        func run() throws {
            let (files, unreadable) = try self.place.files()
            if files.isEmpty, unreadable.isEmpty { StandardOutput.write("no poison is kept") }
            if !files.isEmpty {
                let header = ["ID", "KEPT", "HOOK", "CLIENT", "SENDER", "OCTETS"]
                let rows = files.map(\.row)
                for line in TextTable.lines([header] + rows) { StandardOutput.write(line) }
            }
            var exit: ExitCode?
            for failure in unreadable { exit = PoisonPlace.failed(failure) }
            if let exit { throw exit }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One event: what is known of it, and the event itself."
        )

        @OptionGroup var place: PoisonPlace

        @Flag(help: "Print the event alone, as one line of JSON.")
        var json = false

        @Argument(help: "What `list` calls it.")
        var id: String

        func run() throws {
            let file = try self.place.file(self.id)
            if !self.json {
                for line in file.description { StandardOutput.write(line) }
                StandardOutput.write("")
            }
            StandardOutput.write(PrintableText.json(file.event))
        }
    }

    struct Forget: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes the copies; the frontend asks workers again at once."
        )

        @OptionGroup var place: PoisonPlace

        @Argument(help: "What `list` calls it.")
        var id: String

        func run() throws {
            let file = try self.place.file(self.id)
            do throws(PoisonFolder.Failure) {
                try file.remove()
            } catch {
                throw PoisonPlace.failed(error)
            }
            StandardOutput.write("forgotten: \(self.id)")
        }
    }
}

/// Finds the folder of poisoned questions by the configuration.
struct PoisonPlace: ParsableArguments {
    @Option(help: "The configuration folder.")
    var config = "config"

    /// The folder `<spool_directory>/poison`.
    ///
    /// - Throws: `ExitCode` after printing all mistakes of the configuration.
    private func folder() throws -> PoisonFolder {
        do throws(ConfigurationErrors) {
            let configuration = try FrontendConfiguration.load(directory: self.config)
            return PoisonFolder(path: configuration.spoolDirectory + "/poison")
        } catch {
            for problem in error.errors {
                StandardError.write(FilePath.relativized(problem.description))
            }
            throw ExitCode(ExitStatus.configuration)
        }
    }

    func files() throws -> (files: [PoisonFile], unreadable: [PoisonFolder.Failure]) {
        let folder = try self.folder()
        do throws(PoisonFolder.Failure) {
            return try folder.files()
        } catch {
            throw Self.failed(error)
        }
    }

    func file(_ id: String) throws -> PoisonFile {
        let folder = try self.folder()
        do throws(PoisonFolder.Failure) {
            return try folder.file(id)
        } catch {
            throw Self.failed(error)
        }
    }

    static func failed(_ error: PoisonFolder.Failure) -> ExitCode {
        StandardError.write("gatepost poison: \(error)")
        return ExitCode(ExitStatus.unavailable)
    }
}
