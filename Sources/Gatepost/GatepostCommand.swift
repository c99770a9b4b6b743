import ArgumentParser
import Configuration
import System

/// `gatepost`: the command for operators.
@main
struct GatepostCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gatepost",
        abstract:
            "Runs Gatepost, an SMTP server that people program, and checks its configuration.",
        version: GatepostVersion.text,
        subcommands: [
            RunCommand.self, CheckCommand.self, WorkersCommand.self, StoreCommand.self,
            DKIMCommand.self, DMARCCommand.self, KarmaCommand.self, QuarantineCommand.self,
            ConformCommand.self,
            PoisonCommand.self, LaunchCommand.self,
        ]
    )

    /// Ends with exit codes from sysexits.h, also when arguments are wrong.
    static func main() {
        ProcessSignals.prepare()
        do {
            var command = try Self.parseAsRoot()
            try command.run()
        } catch {
            Self.exit(withError: error)
        }
    }
}
