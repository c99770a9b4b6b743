import ArgumentParser
import Glibc
import System

/// `gatepost conform`: plays a frontend against a worker, and says where it breaks the protocol.
struct ConformCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conform",
        abstract: "Plays a frontend against a worker, and says where it breaks the protocol.",
        discussion: """
            The command is started with GATEPOST_RUNTIME_DIRECTORY, dials the pool's socket there, and is asked
            at every hook that its hello names. What it decides does not matter, only whether the protocol
            is kept. It is ended by SIGTERM. Exit code 0: all checks passed; 1: one did not, or several.
            """
    )

    enum Level: String, ExpressibleByArgument {
        case must
        case strict
    }

    @Option(help: "The pool that the worker dials.")
    var pool = "policy"

    @Option(
        help: "`strict` also checks what many JSON parsers hide: a key twice, 1.0 for an integer."
    )
    var level = Level.must

    @Option(help: "How many events one of the checks sends, 1 to 1,000,000.")
    var events = 2_000

    @Option(help: "An empty folder for the sockets, for a worker that reads it from a file.")
    var runtimeDirectory: String?

    @Argument(parsing: .postTerminator, help: "The worker's program and its arguments.")
    var command: [String]

    func run() throws {
        guard !self.command.isEmpty else {
            throw ValidationError("name the worker's command after --")
        }
        guard (1...1_000_000).contains(self.events) else {
            throw ValidationError("--events is 1 to 1000000")
        }
        let folder = try self.runtimeDirectory ?? Self.temporaryFolder()
        let checks: ConformChecks
        do throws(SystemError) {
            checks = ConformChecks(
                try TrialFrontend(self.command, pool: self.pool, folder: folder),
                isStrict: self.level == .strict,
                events: self.events
            )
        } catch {
            StandardError.write("gatepost conform: \(error)")
            throw ExitCode(ExitStatus.unavailable)
        }
        let failures = checks.run()
        checks.frontend.end()
        StandardOutput.write(
            failures == 0
                ? "\(checks.count) checks passed"
                : "\(failures) of \(checks.count) checks failed"
        )
        if failures > 0 { throw ExitCode(1) }
    }

    private static func temporaryFolder() throws -> String {
        var template = Array("/tmp/gatepost-conform.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            StandardError.write("gatepost conform: cannot make a folder in /tmp")
            throw ExitCode(ExitStatus.unavailable)
        }
        return String(
            decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
    }
}
