import ArgumentParser
import Configuration
import Glibc
import JSON

/// `gatepost workers`: who is in each pool of the frontends that run, and how they do.
///
/// It is an observer like any other: it dials a pool's socket and reads the notification `status`.
struct WorkersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workers",
        abstract: "Shows the workers of each pool: version, state, counts, latency.",
        discussion: "Exit code 0: shown; 69: no frontend answers; 78: a mistake in frontend.toml."
    )

    @Option(help: "The configuration folder.")
    var config: String

    @Flag(help: "Prints what the frontends say, one JSON object a line.")
    var json = false

    @Flag(help: "Goes on, once a second, until it is ended.")
    var watch = false

    func run() throws {
        let configuration = try self.load()
        guard let pool = configuration.pools.first else { return }
        let folder = "\(configuration.runtimeDirectory)/pools/\(pool.name)"
        var observers: [StatusObserver] = []
        for path in Self.sockets(in: folder) {
            do {
                observers.append(try StatusObserver(path: path, pool: pool.name))
            } catch {
                StandardError.write("\(path): \(error)")
            }
        }
        guard !observers.isEmpty else {
            StandardError.write(
                "gatepost workers: no frontend answers in \(folder); is it running?"
            )
            throw ExitCode(SystemExit.unavailable)
        }
        repeat {
            for index in observers.indices {
                do throws(StatusObserver.Failure) {
                    try self.show(observers[index].next(), own: observers[index].connection)
                } catch {
                    StandardError.write("\(observers[index].path): \(error)")
                    throw ExitCode(SystemExit.unavailable)
                }
            }
        } while self.watch
    }

    private func load() throws -> FrontendConfiguration {
        do throws(ConfigurationErrors) {
            return try FrontendConfiguration.load(directory: self.config)
        } catch {
            for problem in error.errors { StandardError.write(problem.description) }
            throw ExitCode(SystemExit.configuration)
        }
    }

    /// The sockets of the pool, one a frontend, by name.
    private static func sockets(in folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { raw in
                String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(".sock") { names.append(name) }
        }
        return names.sorted().map { "\(folder)/\($0)" }
    }

    private func show(_ status: JSONValue, own connection: String) {
        if self.json {
            var writer = JSONWriter()
            status.encode(into: &writer)
            StandardOutput.write(PrintableText.json(writer.octets))
        } else {
            for line in WorkersTable(status, leavingOut: connection).lines {
                StandardOutput.write(line)
            }
        }
    }
}
