import Configuration
import Glibc
import JSON
import PolicyProtocol
import System

/// A worker that observes only `status`, over a blocking socket.
struct StatusObserver {
    let path: String
    private let signals: StopSignals
    private let socket: Int32
    private var received: [UInt8] = []

    /// Why there is no status.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// How long the frontend may take for a line; it sends one a second.
    private static let timeoutSeconds = 5
    private static let maximumFrameOctets = 16 << 20

    /// Dials, says hello and reads the welcome.
    ///
    /// - Throws: ``Failure`` with the reason that the frontend or the kernel gave.
    init(path: String, pool: String, signals: StopSignals) throws(Failure) {
        self.path = path
        self.signals = signals
        self.socket = try Self.dial(path)
        do throws(Failure) {
            try self.greet(pool: pool)
        } catch {
            self.end()
            throw error
        }
    }

    private mutating func greet(pool: String) throws(Failure) {
        let pid = getpid()
        var hello = WorkerHello(
            pool: pool,
            // Of the workers with one name, only one gets a notification: so the name is unique.
            name: "\(Self.namePrefix)\(pid)",
            instance: "",
            version: GatepostVersion.text,
            pid: Int64(pid),
            concurrency: 1,
            maximumFrameOctets: Self.maximumFrameOctets
        )
        hello.hooks[.status] = WorkerHello.HookRequest(isObserver: true)
        try self.send { WorkerLine.hello(hello, into: &$0) }
        switch try self.message() {
        case .welcome: break
        case .reject(_, let message, _):
            throw Failure(description: "the frontend refuses us: \(message)")
        default: throw Failure(description: "the frontend does not welcome us")
        }
    }

    /// Says bye, so that the frontend does not log a lost worker, and closes the connection.
    func end() {
        // A frontend that is gone needs no bye.
        try? self.send { WorkerLine.bye(.stopping, message: "", into: &$0) }
        close(self.socket)
    }

    /// Waits for the next status, and returns its `args` without the workers that are runs of this
    /// command.
    mutating func next() throws(Failure) -> JSONValue {
        while true {
            switch try self.message() {
            case .notify(let line) where line.hook == .status:
                guard let args = try? line.text.value("args") else { continue }
                return Self.withoutObservers(args)
            case .ping(let number): try self.send { WorkerLine.pong(number, into: &$0) }
            case .bye, .drain: throw Failure(description: "the frontend stops")
            default: continue
            }
        }
    }

    private static func withoutObservers(_ status: JSONValue) -> JSONValue {
        guard case .object(var members) = status, case .array(let pools)? = status["pools"] else {
            return status
        }
        members["pools"] = .array(
            pools.map { pool in
                guard case .object(var about) = pool, case .array(let workers)? = pool["workers"]
                else { return pool }
                about["workers"] = .array(
                    workers.filter { !self.isObserver($0["name"]) }
                )
                return .object(about)
            }
        )
        return .object(members)
    }

    private static let namePrefix = "gatepost-workers-"

    /// Whether a worker's name is one that this command gives itself.
    private static func isObserver(_ name: JSONValue?) -> Bool {
        guard case .string(let name)? = name, name.hasPrefix(self.namePrefix) else { return false }
        return UInt32(name.dropFirst(self.namePrefix.count)) != nil
    }

    private static func dial(_ path: String) throws(Failure) -> Int32 {
        let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw self.failure("socket") }
        var limit = timeval(tv_sec: Self.timeoutSeconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
        guard let address = UnixSocketAddress(path) else {
            close(descriptor)
            throw self.failure("connect", ENAMETOOLONG)
        }
        guard address.connect(descriptor) == 0 else {
            let failure = self.failure("connect")
            close(descriptor)
            throw failure
        }
        return descriptor
    }

    private static func failure(_ call: String, _ code: Int32 = errno) -> Failure {
        Failure(description: "cannot \(call): \(String(cString: strerror(code)))")
    }

    private func send(_ write: (inout JSONWriter) -> Void) throws(Failure) {
        var line = JSONWriter()
        write(&line)
        let code = DescriptorCalls.send(line.octets, to: self.socket)
        guard code == 0 else { throw Self.failure("write", code) }
    }

    private mutating func message() throws(Failure) -> FrontendMessage {
        while true {
            if let end = self.received.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(self.received[..<end])
                self.received.removeSubrange(...end)
                do throws(ProtocolViolation) {
                    return try FrontendMessage.decode(line)
                } catch {
                    throw Failure(description: "the frontend broke the protocol: \(error)")
                }
            }
            guard !self.signals.hasCome(before: self.socket, seconds: Self.timeoutSeconds) else {
                throw Failure(description: "ended by a signal")
            }
            guard let chunk = DescriptorCalls.read(self.socket) else { throw Self.failure("read") }
            guard !chunk.isEmpty, self.received.count < Self.maximumFrameOctets else {
                throw Failure(description: "the frontend closed the connection")
            }
            self.received += chunk
        }
    }
}
