import ArgumentParser
import Configuration
import Glibc
import NIOCore
import NIOPosix
import Stores
import System

/// Finds the store by the configuration, and uses it as the worker's user.
struct StorePlace: ParsableArguments {
    @Option(help: "The configuration folder.")
    var config = "config"

    /// Does something with the store.
    ///
    /// - Parameters:
    ///   - command: The command, for what is printed.
    ///   - body: Makes calls of the store.
    /// - Returns: `nil` if nothing was ever stored: there is no file.
    /// - Throws: `ExitCode` after printing why not.
    func perform<Value: Sendable>(
        for command: String = "store",
        _ body: @escaping @Sendable (any Store) async throws -> Value
    ) throws -> Value? {
        let configuration = try self.load()
        if let user = configuration.user { try self.become(user, command) }
        switch configuration.store.place {
        case .memory:
            throw Self.failed(
                command,
                "the store is in the memory of each worker (memory: in worker.toml), where nothing else can see it; "
                    + "it goes when the worker ends"
            )

        case .sqlite(let path):
            guard try Self.isThere(path, command) else { return nil }

        case .redis: break
        }
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let store = configuration.store.driver(on: loop, isMade: false)
        let done = loop.makeFutureWithTask { () async throws -> Value in
            do {
                let value = try await body(store)
                await store.close()
                return value
            } catch {
                await store.close()
                throw error
            }
        }
        do {
            return try done.wait()
        } catch {
            throw Self.failed(command, "\(error)")
        }
    }

    /// The name of this mail server: the first line of `me`, else the machine's.
    func hostname() throws -> String {
        let files = ControlFiles(directories: try self.load().controlDirectories) { _ in }
        return files.snapshot().first("me") ?? Machine.hostname
    }

    private func load() throws -> WorkerConfiguration {
        do throws(ConfigurationErrors) {
            return try WorkerConfiguration.load(directory: self.config)
        } catch {
            for problem in error.errors {
                StandardError.write(FilePath.relativized(problem.description))
            }
            throw ExitCode(ExitStatus.configuration)
        }
    }

    private func become(_ user: ProcessUser, _ command: String) throws {
        do throws(SystemError) {
            try user.become()
        } catch {
            throw Self.failed(command, "it works as the worker's user: \(error)")
        }
    }

    /// Whether there is a file, which this user may change.
    ///
    /// - Throws: `ExitCode` if it is another user's: what root makes beside it would keep the worker out.
    private static func isThere(_ path: String, _ command: String) throws -> Bool {
        if let obstacle = FilePath.obstacle(to: path, R_OK | W_OK) {
            throw self.failed(
                command,
                "\(obstacle.path): \(obstacle.reason); run this as the worker's user"
            )
        }
        var facts = stat()
        guard stat(path, &facts) == 0 else { return false }
        guard facts.st_uid == geteuid() || !ProcessUser.isRoot else {
            let name = getpwuid(facts.st_uid).map { String(cString: $0.pointee.pw_name) }
            throw self.failed(
                command,
                "\(path) belongs to user \(name ?? "\(facts.st_uid)"); run this as that user (sudo -u)"
            )
        }
        return true
    }

    private static func failed(_ command: String, _ reason: String) -> ExitCode {
        StandardError.write("gatepost \(command): \(FilePath.relativized(reason))")
        return ExitCode(ExitStatus.unavailable)
    }
}
