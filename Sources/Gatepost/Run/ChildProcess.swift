import CLinux
import Glibc

/// One running program: its process and the pipe from its standard output.
struct ChildProcess {
    let processID: pid_t
    /// The read end; `-1` once it was closed.
    private(set) var output: Int32
    /// Output that has no line end yet.
    private var pending: [UInt8] = []

    /// Longer lines are cut here; programs print a line or two.
    private static let maximumLineOctets = 65_536

    struct Failure: Error {
        let reason: String

        init(_ code: Int32) {
            self.reason = String(cString: strerror(code))
        }
    }

    private init(processID: pid_t, output: Int32) {
        self.processID = processID
        self.output = output
    }

    /// Starts `program` by way of ``LaunchCommand``, so that it cannot outlive this process.
    ///
    /// It gets a process group of its own: a Ctrl-C reaches this process alone, which then stops
    /// the others in order. Standard error is shared.
    static func start(_ program: Program, arguments: [String]) throws(Failure) -> Self {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Failure(errno) }
        let (readEnd, writeEnd) = (ends[0], ends[1])
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(writeEnd) }

        var files = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&files)
        defer { posix_spawn_file_actions_destroy(&files) }
        posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&files, writeEnd, 1)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var mask = sigset_t()
        sigemptyset(&mask)
        posix_spawnattr_setsigmask(&attributes, &mask)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP
        posix_spawnattr_setflags(&attributes, Int16(flags))

        let own = Program.ownPath
        let words = [own, "launch", "--parent", "\(getpid())", "--", program.path] + arguments
        var processID = pid_t()
        let code = CStrings.withPointers(words) { argv in
            posix_spawn(&processID, own, &files, &attributes, argv, environ)
        }
        guard code == 0 else {
            close(readEnd)
            throw Failure(code)
        }
        _ = fcntl(readEnd, F_SETFL, O_NONBLOCK)
        return Self(processID: processID, output: readEnd)
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

    mutating func closeOutput() {
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
