import CLinux
import Glibc
import System

/// One running program: its process, and the pipes from its standard output and its event loop.
struct ChildProcess {
    let processID: pid_t
    /// The read end; `-1` once it was closed.
    private(set) var output: Int32
    /// The read end of what ``Heartbeat`` writes to; `-1` once it was closed.
    private(set) var heartbeat: Int32
    /// The start of a line whose end has not come yet.
    private var pending: [UInt8] = []

    /// Longer lines are cut.
    private static let maximumLineOctets = 65_536

    struct Failure: Error {
        let reason: String

        init(_ code: Int32) {
            self.reason = String(cString: strerror(code))
        }
    }

    private init(processID: pid_t, output: Int32, heartbeat: Int32) {
        self.processID = processID
        self.output = output
        self.heartbeat = heartbeat
    }

    /// The child's descriptor for its heartbeat, and the highest that it gets.
    static let heartbeatDescriptor: Int32 = 3

    /// Starts `program` by way of ``LaunchCommand``, so that it cannot outlive this process.
    ///
    /// The child gets a process group of its own: Ctrl-C reaches only this process, which then
    /// stops the children in order. The child shares standard error, and gets pipes for its output
    /// and its heartbeat; it inherits no other descriptor.
    static func start(_ program: Program, arguments: [String]) throws(Failure) -> Self {
        let output = try Self.makePipe()
        defer { close(output.write) }
        let heartbeat: (read: Int32, write: Int32)
        do throws(Failure) {
            heartbeat = try Self.makePipe()
        } catch {
            close(output.read)
            throw error
        }
        defer { close(heartbeat.write) }

        var files = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&files)
        defer { posix_spawn_file_actions_destroy(&files) }
        posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&files, output.write, 1)
        posix_spawn_file_actions_adddup2(&files, heartbeat.write, Self.heartbeatDescriptor)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var mask = sigset_t()
        sigemptyset(&mask)
        posix_spawnattr_setsigmask(&attributes, &mask)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP
        posix_spawnattr_setflags(&attributes, Int16(flags))

        setenv(Heartbeat.variable, "\(Self.heartbeatDescriptor)", 1)
        let own = Program.ownPath
        let words = [own, "launch", "--parent", "\(getpid())", "--", program.path] + arguments
        var processID = pid_t()
        let code = CStrings.withPointers(words) { argv in
            posix_spawn(&processID, own, &files, &attributes, argv, environ)
        }
        guard code == 0 else {
            close(output.read)
            close(heartbeat.read)
            throw Failure(code)
        }
        return Self(processID: processID, output: output.read, heartbeat: heartbeat.read)
    }

    /// A pipe whose ends no other child inherits; reading from it never blocks.
    private static func makePipe() throws(Failure) -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Failure(errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        return (ends[0], ends[1])
    }

    func send(_ signal: Int32) {
        _ = kill(self.processID, signal)
    }

    /// Reads what the program printed.
    ///
    /// - Returns: The complete lines, without their ends.
    mutating func readLines() -> [String] {
        guard self.output >= 0 else { return [] }
        var lines: [String] = []
        while true {
            var count = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: 4_096) { buffer, initialized in
                count = read(self.output, buffer.baseAddress, 4_096)
                initialized = max(0, count)
            }
            guard count > 0 else {
                if count == 0 || (errno != EAGAIN && errno != EINTR) { self.closeOutput() }
                return lines
            }
            self.pending += chunk
            while let end = self.pending.firstIndex(of: UInt8(ascii: "\n")) {
                lines.append(String(decoding: self.pending[..<end], as: UTF8.self))
                self.pending.removeSubrange(...end)
            }
            if self.pending.count > Self.maximumLineOctets { self.pending = [] }
        }
    }

    /// Reads the heartbeats of the child's event loop.
    ///
    /// - Returns: Whether there was one since the last call.
    mutating func readBeats() -> Bool {
        guard self.heartbeat >= 0 else { return false }
        var octets = [UInt8](repeating: 0, count: 256)
        let count = read(self.heartbeat, &octets, octets.count)
        if count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) {
            close(self.heartbeat)
            self.heartbeat = -1
        }
        return count > 0
    }

    mutating func closeAll() {
        self.closeOutput()
        guard self.heartbeat >= 0 else { return }
        close(self.heartbeat)
        self.heartbeat = -1
    }

    private mutating func closeOutput() {
        guard self.output >= 0 else { return }
        close(self.output)
        self.output = -1
    }
}

/// Strings for C functions that take an array of them.
enum CStrings {
    typealias Pointers = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

    static func withPointers<Result>(_ words: [String], _ body: (Pointers) -> Result) -> Result {
        let copies = words.map { strdup($0) }
        defer {
            for copy in copies { free(copy) }
        }
        var pointers = copies + [nil]
        return pointers.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return body(Pointers.allocate(capacity: 0)) }
            return body(base)
        }
    }
}
