import ArgumentParser
import CLinux
import Glibc
import System

/// Becomes another program, which the kernel kills when the parent dies.
///
/// `gatepost run` starts its children through this command, because posix_spawn cannot ask the
/// kernel for that. The signal is SIGKILL, not SIGTERM: a child that hangs would not obey SIGTERM,
/// and SIGKILL loses no message. The program gets the descriptors that ``ChildProcess`` made for
/// it, and none that the supervisor inherited.
struct LaunchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "launch",
        abstract: "Starts a program that ends with its parent.",
        shouldDisplay: false
    )

    /// The process id of the supervisor.
    ///
    /// If it is no longer the parent, it died before the kernel was asked, and the command ends.
    @Option var parent: Int32

    @Argument(parsing: .captureForPassthrough) var command: [String]

    func run() throws {
        let words = self.command.first == "--" ? Array(self.command.dropFirst()) : self.command
        guard let program = words.first else { throw ExitCode(ExitStatus.usage) }
        guard gatepost_die_with_parent(SIGKILL) == 0, getppid() == self.parent else {
            throw ExitCode(ExitStatus.software)
        }
        _ = gatepost_close_on_exec(UInt32(ChildProcess.heartbeatDescriptor) + 1)
        let error = Spawn.become(words)
        StandardError.write("gatepost: \(program): \(error.reason)")
        throw ExitCode(ExitStatus.unavailable)
    }
}
