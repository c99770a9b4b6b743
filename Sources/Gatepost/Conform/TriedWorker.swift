import CLinux
import Glibc
import System

/// The process of a worker that is tried.
struct TriedWorker {
    /// How a process ended.
    enum Ending: Equatable, CustomStringConvertible {
        case exited(Int32)
        case signal(Int32)

        var description: String {
            switch self {
            case .exited(let code): "its process ended with exit code \(code)"
            case .signal(let number): "its process was ended by signal \(number)"
            }
        }
    }

    let process: Int32
    private let ended: Int32

    /// Starts `words`, with the folder of sockets in its environment.
    init(_ words: [String], runtimeDirectory: String) throws(SystemError) {
        var words = words
        if let name = words.first, let path = Self.path(of: name) { words[0] = path }
        self.process = try Spawn.start(
            words,
            files: [(0, .nothing)],
            isApart: true,
            environment: ["GATEPOST_RUNTIME_DIRECTORY": runtimeDirectory]
        )
        self.ended = gatepost_pidfd(self.process)
    }

    /// A name without a slash is looked for in PATH.
    private static func path(of name: String) -> String? {
        guard !name.contains("/") else { return name }
        let folders = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        return folders.split(separator: ":").map { "\($0)/\(name)" }.first(where: Spawn.canStart)
    }

    /// Sends SIGTERM.
    func terminate() { kill(self.process, SIGTERM) }

    /// Whether it ends within so many milliseconds.
    func ends(within milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: self.ended, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }

    /// Kills it and what it has started, if that still runs.
    ///
    /// - Returns: How it ended.
    func reap() -> Ending {
        if !self.ends(within: 0) { kill(self.process, SIGKILL) }
        let code = Spawn.wait(for: self.process)
        kill(-self.process, SIGKILL)
        close(self.ended)
        return code < 0 ? .signal(-code) : .exited(code)
    }
}
