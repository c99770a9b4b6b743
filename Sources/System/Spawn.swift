import CLinux
import Glibc

/// Starts other programs and waits for them.
package enum Spawn {
    /// What a descriptor of the new program is.
    package enum File {
        /// `/dev/null`: to read for descriptor 0, to write for the others.
        case nothing
        case copy(of: Int32)
    }

    package enum Failure: Error, Equatable {
        case system(SystemError)
        /// It took too long, or printed more than the limit; it was killed.
        case killed
        /// It ended by itself, not with exit code 0; the number is that of ``wait(for:)``.
        case ended(Int32)
    }

    /// Starts a program; it inherits the environment.
    ///
    /// - Parameters:
    ///   - words: The path of the program, then its arguments.
    ///   - files: Its descriptors by their numbers; the others are as this process has them, without
    ///     those that are close-on-exec.
    ///   - closesFrom: It gets no descriptor from this number on; `nil`: as above.
    ///   - isApart: Whether it leads a process group of its own and has no signal blocked.
    ///   - environment: Variables that it gets beside those of this process, or instead of them.
    /// - Returns: The id of its process.
    /// - Throws: Why it cannot be started.
    package static func start(
        _ words: [String],
        files: [(number: Int32, file: File)],
        closesFrom: Int32? = nil,
        isApart: Bool = false,
        environment: [String: String] = [:]
    ) throws(SystemError) -> Int32 {
        guard let path = words.first else { throw SystemError("start", "no program", EINVAL) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, file) in files {
            switch file {
            case .nothing:
                let flags = number == 0 ? O_RDONLY : O_WRONLY
                posix_spawn_file_actions_addopen(&actions, number, "/dev/null", flags, 0)
            case .copy(let other):
                posix_spawn_file_actions_adddup2(&actions, other, number)
            }
        }
        if let closesFrom { gatepost_close_from(&actions, closesFrom) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        if isApart {
            var none = sigset_t()
            sigemptyset(&none)
            posix_spawnattr_setsigmask(&attributes, &none)
            posix_spawnattr_setpgroup(&attributes, 0)
            let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP
            posix_spawnattr_setflags(&attributes, Int16(flags))
        }
        var process = pid_t()
        let code = Self.withArguments(words) { arguments in
            guard !environment.isEmpty else {
                return posix_spawn(&process, path, &actions, &attributes, arguments, environ)
            }
            return Self.withArguments(Self.variables(with: environment)) { variables in
                posix_spawn(&process, path, &actions, &attributes, arguments, variables)
            }
        }
        guard code == 0 else { throw SystemError("start", path, code) }
        return process
    }

    /// Waits until a child has ended.
    ///
    /// - Returns: Its exit code, or the number of the signal that ended it, below 0.
    package static func wait(for process: Int32) -> Int32 {
        var status: Int32 = 0
        _ = retrying { waitpid(process, &status, 0) }
        return status & 0x7f == 0 ? (status >> 8) & 0xff : -(status & 0x7f)
    }

    /// Runs a program to its end, without input and without its messages on standard error.
    ///
    /// - Parameters:
    ///   - words: The path of the program, then its arguments.
    ///   - time: How long it may take.
    ///   - limit: How many octets it may print.
    /// - Returns: What it printed.
    /// - Throws: Why there is no output.
    package static func output(
        of words: [String],
        within time: Duration,
        limit: Int
    ) throws(Failure) -> [UInt8] {
        let deadline = ContinuousClock.now + time
        let process: Int32
        let ends: (read: Int32, write: Int32)
        do throws(SystemError) {
            ends = try self.makePipe()
        } catch {
            throw .system(error)
        }
        defer { close(ends.read) }
        do throws(SystemError) {
            defer { close(ends.write) }
            let files: [(number: Int32, file: File)] = [
                (0, .nothing), (1, .copy(of: ends.write)), (2, .nothing),
            ]
            process = try self.start(words, files: files)
        } catch {
            throw .system(error)
        }
        let output = self.readAll(from: ends.read, until: deadline, limit: limit)
        // It may have closed its output and go on.
        let hasEnded = output != nil && self.hasEnded(process, before: deadline)
        if !hasEnded { kill(process, SIGKILL) }
        let ending = self.wait(for: process)
        guard let output, hasEnded else { throw .killed }
        guard ending == 0 else { throw .ended(ending) }
        return output
    }

    /// Runs a program to its end that reads its descriptor 3, and has no other one that leads anywhere.
    ///
    /// - Parameters:
    ///   - words: The path of the program, then its arguments.
    ///   - octets: What it reads there, at most 4,096: so many fit into any pipe.
    ///   - time: How long it may take. Then its process group, which is its own, is killed.
    /// - Returns: How it ended, as ``wait(for:)`` says.
    /// - Throws: Why it did not end by itself.
    package static func ending(
        of words: [String],
        descriptor3 octets: [UInt8],
        within time: Duration
    ) throws(Failure) -> Int32 {
        let deadline = ContinuousClock.now + time
        let process: Int32
        do throws(SystemError) {
            let ends = try self.makePipe()
            defer { close(ends.read) }
            // Before there is a reader that could be gone: no signal, and no wait.
            let code = DescriptorCalls.write(octets, to: ends.write)
            close(ends.write)
            guard code == 0 else { throw SystemError("write", "a pipe", code) }
            process = try self.start(
                words,
                files: [(0, .nothing), (1, .nothing), (2, .nothing), (3, .copy(of: ends.read))],
                closesFrom: 4,
                isApart: true
            )
        } catch {
            throw .system(error)
        }
        let hasEnded = self.hasEnded(process, before: deadline)
        // Also what it has started and left behind.
        kill(-process, SIGKILL)
        let ending = self.wait(for: process)
        guard hasEnded else { throw .killed }
        return ending
    }

    /// Runs a program to its end that says something on standard output and by its exit code.
    ///
    /// It has no input and no descriptor beside the standard ones; what it says on standard error is dropped.
    ///
    /// - Parameters:
    ///   - words: The path of the program, then its arguments.
    ///   - time: How long it may take. Then its process group, which is its own, is killed.
    ///   - limit: How many octets it may print.
    /// - Returns: What it printed, and how it ended, as ``wait(for:)`` says.
    /// - Throws: Why it did not end by itself.
    package static func result(
        of words: [String],
        within time: Duration,
        limit: Int
    ) throws(Failure) -> (output: [UInt8], ending: Int32) {
        let deadline = ContinuousClock.now + time
        let process: Int32
        let ends: (read: Int32, write: Int32)
        do throws(SystemError) {
            ends = try self.makePipe()
        } catch {
            throw .system(error)
        }
        defer { close(ends.read) }
        do throws(SystemError) {
            defer { close(ends.write) }
            process = try self.start(
                words,
                files: [(0, .nothing), (1, .copy(of: ends.write)), (2, .nothing)],
                closesFrom: 3,
                isApart: true
            )
        } catch {
            throw .system(error)
        }
        let output = self.readAll(from: ends.read, until: deadline, limit: limit)
        let hasEnded = output != nil && self.hasEnded(process, before: deadline)
        // Also what it has started and left behind.
        kill(-process, SIGKILL)
        let ending = self.wait(for: process)
        guard let output, hasEnded else { throw .killed }
        return (output, ending)
    }

    /// Waits for the end of a child, and leaves it to be waited for.
    private static func hasEnded(
        _ process: Int32,
        before deadline: ContinuousClock.Instant
    ) -> Bool {
        let descriptor = gatepost_pidfd(process)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        while true {
            let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
            guard left > 0 else { return false }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let count = poll(&entry, 1, Int32(clamping: Int64(left.rounded(.up))))
            guard count >= 0 || errno == EINTR else { return false }
            if count > 0 { return true }
        }
    }

    /// Whether this process may start the program at `path`.
    package static func canStart(_ path: String) -> Bool { access(path, X_OK) == 0 }

    /// Becomes another program, with the process's id and descriptors.
    ///
    /// - Parameters:
    ///   - words: The path of the program, then its arguments.
    ///   - program: The path of the program if it is another one.
    /// - Returns: Why that failed.
    package static func become(_ words: [String], program: String? = nil) -> SystemError {
        guard let path = program ?? words.first else {
            return SystemError("start", "no program", EINVAL)
        }
        Self.withArguments(words) { arguments in _ = execv(path, arguments) }
        return SystemError("start", path, errno)
    }

    /// A pipe whose ends are close-on-exec.
    package static func makePipe() throws(SystemError) -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        // In one call: a program that another thread starts meanwhile must not inherit them.
        guard gatepost_pipe(&ends) == 0 else { throw SystemError("make", "a pipe", errno) }
        return (ends[0], ends[1])
    }

    /// - Returns: `nil` if the end did not come in time, or after more than `limit` octets.
    private static func readAll(
        from descriptor: Int32,
        until deadline: ContinuousClock.Instant,
        limit: Int
    ) -> [UInt8]? {
        var octets: [UInt8] = []
        while octets.count <= limit {
            let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
            guard left > 0 else { return nil }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let count = poll(&entry, 1, Int32(clamping: Int64(left.rounded(.up))))
            guard count >= 0 || errno == EINTR else { return nil }
            guard count > 0 else { continue }
            guard let chunk = DescriptorCalls.read(descriptor) else { return nil }
            guard !chunk.isEmpty else { return octets }
            octets += chunk
        }
        return nil
    }

    /// The environment of this process with other variables, each as `NAME=VALUE`.
    private static func variables(with others: [String: String]) -> [String] {
        var variables: [String] = []
        var entry = environ
        while let variable = entry.pointee {
            let text = String(cString: variable)
            let name = text.prefix { $0 != "=" }
            if others[String(name)] == nil { variables.append(text) }
            entry = entry.successor()
        }
        return variables + others.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    }

    private static func withArguments<Result>(
        _ words: [String],
        _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        let copies = words.map { strdup($0) }
        defer {
            for copy in copies { free(copy) }
        }
        var pointers = copies + [nil]
        return body(&pointers)
    }
}
