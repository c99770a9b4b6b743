import Glibc
import PolicyKit

/// A program whose standard output is wanted.
struct FortuneProgram: Sendable {
    /// The most octets that are read.
    static let maximumOctets = 65_536

    let path: String
    let arguments: [String]

    static func isExecutable(_ path: String) -> Bool {
        access(path, X_OK) == 0
    }

    /// Runs the program and reads what it says, on a thread that may wait.
    ///
    /// - Throws: ``PluginError`` if it cannot be run, takes longer than `deadline` (it is killed) or
    ///   ends with an error.
    func output(within deadline: Duration) throws -> [UInt8] {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw self.failure("pipe", errno) }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        defer { close(ends[0]) }
        let process: pid_t
        do {
            process = try self.start(output: ends[1])
            close(ends[1])
        } catch {
            close(ends[1])
            throw error
        }
        var output: [UInt8] = []
        let isComplete = self.read(from: ends[0], until: .now + deadline, into: &output)
        if !isComplete {
            kill(process, SIGKILL)
        }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        guard isComplete else { throw PluginError("\(self.path) took too long or said too much") }
        guard status == 0 else { throw PluginError("\(self.path) ended with status \(status)") }
        return output
    }

    private func start(output: Int32) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        var words = ([self.path] + self.arguments).map { strdup($0) } + [nil]
        defer {
            for word in words {
                free(word)
            }
        }
        var process: pid_t = 0
        let result = posix_spawn(&process, self.path, &actions, nil, &words, environ)
        guard result == 0 else { throw self.failure("spawn", result) }
        return process
    }

    /// Reads to the end.
    ///
    /// - Returns: Whether the end came in time, and before the limit.
    private func read(
        from descriptor: Int32,
        until deadline: ContinuousClock.Instant,
        into output: inout [UInt8]
    ) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while output.count <= Self.maximumOctets {
            let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
            guard left > 0 else { return false }
            var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard Glibc.poll(&poll, 1, Int32(left.rounded(.up))) >= 0 || errno == EINTR else {
                return false
            }
            guard poll.revents != 0 else { continue }
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count == 0 { return true }
            guard count > 0 else { return false }
            output += buffer.prefix(count)
        }
        return false
    }

    private func failure(_ call: String, _ code: Int32) -> PluginError {
        PluginError("\(self.path): \(call): \(String(cString: strerror(code)))")
    }
}
