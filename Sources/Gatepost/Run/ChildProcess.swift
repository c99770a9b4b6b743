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
    static func start(_ program: Program, arguments: [String]) throws(SystemError) -> Self {
        let output = try Self.makePipe()
        defer { close(output.write) }
        let heartbeat: (read: Int32, write: Int32)
        do throws(SystemError) {
            heartbeat = try Self.makePipe()
        } catch {
            close(output.read)
            throw error
        }
        defer { close(heartbeat.write) }
        setenv(Heartbeat.variable, "\(Self.heartbeatDescriptor)", 1)
        let own = Machine.programPath
        let words = [own, "launch", "--parent", "\(getpid())", "--", program.path] + arguments
        let files: [(number: Int32, file: Spawn.File)] = [
            (0, .nothing), (1, .copy(of: output.write)),
            (Self.heartbeatDescriptor, .copy(of: heartbeat.write)),
        ]
        do throws(SystemError) {
            let processID = try Spawn.start(words, files: files, isApart: true)
            return Self(processID: processID, output: output.read, heartbeat: heartbeat.read)
        } catch {
            close(output.read)
            close(heartbeat.read)
            throw error
        }
    }

    /// A pipe whose ends no other child inherits; reading from it never blocks.
    private static func makePipe() throws(SystemError) -> (read: Int32, write: Int32) {
        let ends = try Spawn.makePipe()
        _ = fcntl(ends.read, F_SETFL, O_NONBLOCK)
        return ends
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
