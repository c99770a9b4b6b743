import ArgumentParser
import Configuration
import Glibc
import PolicyProtocol
import System

/// `gatepost check`: prints all mistakes of a configuration; if there are none, which plugins are
/// asked at which hook, in which order.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Validates a configuration and prints who is asked what, in which order.",
        discussion: "Exit code 0: it can run; 78: it cannot, and every reason was printed."
    )

    @Option(help: "The configuration folder.")
    var config = "config"

    func run() throws {
        var (report, problems) = ConfigurationReport.load(directory: self.config)
        var lines = problems.map(\.description)
        let plugins = WorkerCheck.run(config: self.config)
        lines += plugins.problems.filter { !lines.contains($0) }
        if let report { lines += CheckUser.problems(report) }
        if !lines.isEmpty || report == nil {
            for line in lines { StandardError.write(FilePath.relativized(line)) }
            let count = lines.count == 1 ? "1 problem" : "\(lines.count) problems"
            StandardError.write("gatepost check: \(count)")
            throw ExitCode(ExitStatus.configuration)
        }
        guard let found = report.take() else { return }
        for line in CheckListing(report: found, served: plugins.served).lines {
            StandardOutput.write(FilePath.relativized(line))
        }
        let served = CheckServed(report: found, served: plugins.served)
        let machine = CheckMachine(frontend: found.frontend)
        let warnings =
            found.warnings + served.warnings + machine.warnings + plugins.warnings
        for warning in warnings {
            StandardError.write("warning: \(FilePath.relativized(warning))")
        }
    }
}

/// Runs `gatepost-worker --check`: only the worker knows its plugins.
struct WorkerCheck {
    /// One line a hook: its name, then the plugins in their order.
    var served: [[String]] = []
    var warnings: [String] = []
    var problems: [String] = []

    static func run(config: String) -> Self {
        var check = Self()
        guard Program.worker.isInstalled else {
            check.problems.append("\(Program.worker.path) is not there; build or install it")
            return check
        }
        let (output, errors, status) = Self.capture(
            [Program.worker.path, "--config", config, "--check"])
        check.served = output.map(Self.labels).filter { !$0.isEmpty }
        let prefix = "warning: "
        check.warnings = errors.filter { $0.hasPrefix(prefix) }
            .map { String($0.dropFirst(prefix.count)) }
        let problems = errors.filter { !$0.hasPrefix(prefix) }
        if status != 0 {
            check.problems =
                problems.isEmpty ? ["gatepost-worker --check ended with \(status)"] : problems
        } else {
            check.warnings += problems
        }
        return check
    }

    /// The words of a line; what stands in parentheses belongs to the word before it.
    static func labels(_ line: String) -> [String] {
        var labels: [String] = []
        var depth = 0
        for word in line.split(separator: " ") {
            if depth > 0 {
                labels[labels.count - 1] += " \(word)"
            } else {
                labels.append(String(word))
            }
            depth += word.count { $0 == "(" } - word.count { $0 == ")" }
        }
        return labels
    }

    /// Runs a program to its end.
    ///
    /// Its output goes to files, because a pipe could become full.
    private static func capture(_ words: [String]) -> (out: [String], err: [String], status: Int32)
    {
        guard let out = tmpfile(), let err = tmpfile() else {
            return ([], [String(cString: strerror(errno))], -1)
        }
        defer {
            fclose(out)
            fclose(err)
        }
        let exit: Int32
        do throws(SystemError) {
            let files: [(number: Int32, file: Spawn.File)] = [
                (1, .copy(of: fileno(out))), (2, .copy(of: fileno(err))),
            ]
            exit = Spawn.wait(for: try Spawn.start(words, files: files))
        } catch {
            return ([], [error.reason], -1)
        }
        return (Self.lines(out), Self.lines(err), exit)
    }

    private static func lines(_ stream: UnsafeMutablePointer<FILE>) -> [String] {
        rewind(stream)
        var octets: [UInt8] = []
        while true {
            let octet = getc(stream)
            guard octet != EOF else { break }
            octets.append(UInt8(truncatingIfNeeded: octet))
        }
        return String(decoding: octets, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
