import CLinux
import Glibc
import Logging
import ServiceLog
import System

/// Performs the actions of ``Supervision``, on one thread: poll(2) waits for signals and for the
/// children's output.
struct Supervisor {
    private var supervision: Supervision
    private var children: [Supervision.ChildID: ChildProcess] = [:]
    private let frontendArguments: [String]
    private let workerArguments: [String]
    private let logger = Logger(label: "gatepost")
    private let signals: Int32
    private var exitCode: Int32?

    /// - Parameters:
    ///   - settings: How many workers there are, and how long draining may take.
    ///   - frontendArguments: The arguments of `gatepost-frontend`.
    ///   - workerArguments: The arguments of each `gatepost-worker`.
    init(
        settings: Supervision.Settings,
        frontendArguments: [String],
        workerArguments: [String]
    ) {
        self.supervision = Supervision(settings: settings)
        self.frontendArguments = frontendArguments
        self.workerArguments = workerArguments
        var mask = sigset_t()
        sigemptyset(&mask)
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGCHLD] { sigaddset(&mask, signal) }
        sigprocmask(SIG_BLOCK, &mask, nil)
        self.signals = gatepost_signal_descriptor(&mask)
    }

    /// Runs until all children have ended.
    ///
    /// - Returns: The exit code.
    mutating func run() -> Int32 {
        self.perform(self.supervision.started(nowMS: Self.nowMS))
        while true {
            if let exitCode = self.exitCode { return exitCode }
            self.wait()
            self.takeSignals()
            self.takeOutput()
            self.takeBeats()
            self.reapChildren()
            self.perform(self.supervision.timePassed(nowMS: Self.nowMS))
        }
    }

    private static var nowMS: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    private func wait() {
        var descriptors = [pollfd(fd: self.signals, events: Int16(POLLIN), revents: 0)]
        for descriptor in self.children.values.flatMap({ [$0.output, $0.heartbeat] })
        where descriptor >= 0 {
            descriptors.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
        }
        var timeout: Int32 = -1
        if let deadline = self.supervision.nextDeadlineMS {
            timeout = Int32(clamping: max(0, deadline - Self.nowMS))
        }
        _ = poll(&descriptors, nfds_t(descriptors.count), timeout)
    }

    private mutating func takeSignals() {
        while true {
            switch gatepost_next_signal(self.signals) {
            case 0: return
            case SIGTERM, SIGINT:
                self.perform(self.supervision.terminationRequested(nowMS: Self.nowMS))
            case SIGHUP:
                self.perform(self.supervision.reloadRequested(nowMS: Self.nowMS))
            default:
                break  // SIGCHLD only wakes
            }
        }
    }

    private mutating func takeOutput() {
        for id in self.children.keys.sorted() {
            for line in self.children[id]?.readLines() ?? [] {
                if line.utf8.starts(with: "ready".utf8) {
                    self.perform(self.supervision.readyReceived(id, line: line))
                } else {
                    ProgramLog.say(line)
                }
            }
        }
    }

    private mutating func takeBeats() {
        for id in self.children.keys.sorted() where self.children[id]?.readBeats() ?? false {
            self.supervision.heartbeatReceived(id, nowMS: Self.nowMS)
        }
    }

    private mutating func reapChildren() {
        while true {
            var status: Int32 = 0
            let processID = waitpid(-1, &status, WNOHANG)
            guard processID > 0 else { return }
            guard let id = self.children.first(where: { $0.value.processID == processID })?.key
            else { continue }
            self.takeOutput()
            self.children[id]?.closeAll()
            self.children[id] = nil
            let signal = status & 0x7f
            let ending =
                signal == 0
                ? Supervision.Ending.exited((status >> 8) & 0xff) : .killed(signal: signal)
            self.perform(self.supervision.childEnded(id, ending, nowMS: Self.nowMS))
        }
    }

    private mutating func perform(_ actions: [Supervision.Action]) {
        for action in actions {
            switch action {
            case .spawn(let id, let role):
                self.spawn(id, role)
            case .signal(let id, let signal):
                self.children[id]?.send(Self.number(signal))
            case .announce(let line):
                ProgramLog.say(line)
                Systemd.notify("READY=1")
            case .log(let message):
                self.logger.warning("gatepost run: \(message)")
            case .exit(let code):
                self.exitCode = code
            }
        }
    }

    private mutating func spawn(_ id: Supervision.ChildID, _ role: Supervision.Role) {
        let (program, arguments) =
            role == .frontend
            ? (Program.frontend, self.frontendArguments) : (Program.worker, self.workerArguments)
        do throws(SystemError) {
            self.children[id] = try ChildProcess.start(program, arguments: arguments)
        } catch {
            let ending = Supervision.Ending.notStarted(reason: error.reason)
            self.perform(self.supervision.childEnded(id, ending, nowMS: Self.nowMS))
        }
    }

    private static func number(_ signal: Supervision.Signal) -> Int32 {
        switch signal {
        case .terminate: SIGTERM
        case .hangup: SIGHUP
        case .kill: SIGKILL
        }
    }
}
