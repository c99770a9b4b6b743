import Foundation

/// The other end of a worker's socket: listens, reads and writes lines, and waits no longer than
/// some seconds for anything, on a thread that may wait.
final class FakeFrontend: @unchecked Sendable {  // each test uses it from one task at a time
    struct Failure: Error {
        let what: String
    }

    private let path: String
    private var listener: Int32
    private var connection: Int32 = -1
    private var received: [UInt8] = []

    init(socket path: String) throws {
        self.path = path
        self.listener = socket(
            AF_UNIX,
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            0
        )
        unlink(path)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(self.listener, pointer, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0, listen(self.listener, 8) == 0 else {
            throw Failure(what: "listen \(path)")
        }
        Self.limitWaiting(self.listener, seconds: 10)
    }

    deinit {
        self.hangUp()
        self.closeListener()
    }

    /// Waits for a worker and reads its hello.
    func accept() async throws -> [String: Any] {
        self.hangUp()
        self.received = []
        let listener = self.listener
        self.connection = await Self.wait { Glibc.accept(listener, nil, nil) }
        guard self.connection >= 0 else { throw Failure(what: "nobody dialled") }
        Self.limitWaiting(self.connection, seconds: 10)
        return try await self.next()
    }

    /// Waits for a worker, and takes it.
    @discardableResult
    func welcome(concurrency: Int = 64) async throws -> [String: Any] {
        let hello = try await self.accept()
        try self.send([
            "type": "welcome", "protocol": 1, "connection": "w1", "max_frame": 1_048_576,
            "frontend": ["id": "mx1", "version": "0.1.0", "hostname": "mx1.example.org"],
            "concurrency": concurrency, "spool": "/nowhere",
            "limits": ["notes_octets": 65_536, "actions": 256, "reply_lines": 20],
        ])
        try self.send(["type": "ping", "n": 0])
        guard try await self.next()["n"] as? Int == 0 else { throw Failure(what: "no pong") }
        return hello
    }

    func send(_ message: [String: Any]) throws {
        try self.send(octets: try Self.line(message))
    }

    /// Sends several messages in one write.
    func send(_ messages: [[String: Any]]) throws {
        try self.send(octets: try messages.flatMap { try Self.line($0) })
    }

    func send(octets: [UInt8]) throws {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(self.connection, $0.baseAddress, $0.count) }
            guard count > 0 else { throw Failure(what: "write") }
            rest = rest.dropFirst(count)
        }
    }

    static func line(_ message: [String: Any]) throws -> [UInt8] {
        Array(try JSONSerialization.data(withJSONObject: message)) + [0x0A]
    }

    /// The next message.
    func next() async throws -> [String: Any] {
        guard let message = try await self.nextOrEnd() else { throw Failure(what: "end of stream") }
        return message
    }

    /// The next message; `nil` at the end of the stream.
    func nextOrEnd() async throws -> [String: Any]? {
        while true {
            if let end = self.received.firstIndex(of: 0x0A) {
                let line = Data(self.received[..<end])
                self.received.removeSubrange(...end)
                let message = try JSONSerialization.jsonObject(with: line)
                guard let message = message as? [String: Any] else {
                    throw Failure(what: "no object")
                }
                return message
            }
            let connection = self.connection
            let (count, octets) = await Self.wait {
                var buffer = [UInt8](repeating: 0, count: 65_536)
                let count = read(connection, &buffer, buffer.count)
                let isEnd = count == 0 || count < 0 && errno == ECONNRESET
                return (isEnd ? 0 : count, Array(buffer.prefix(max(0, count))))
            }
            if count == 0 { return nil }
            guard count > 0 else { throw Failure(what: "nothing came") }
            self.received += octets
        }
    }

    /// The answers to so many events, by id; each id once.
    func answers(_ count: Int) async throws -> [Int: [String: Any]] {
        var answers: [Int: [String: Any]] = [:]
        for _ in 0..<count {
            let answer = try await self.next()
            guard let id = answer["id"] as? Int, answers[id] == nil else {
                throw Failure(what: "second answer or none: \(answer)")
            }
            answers[id] = answer
        }
        return answers
    }

    /// Whether nothing comes for a while.
    func isSilent() async -> Bool {
        guard self.received.isEmpty else { return false }
        let connection = self.connection
        return await Self.wait {
            var poll = pollfd(fd: connection, events: Int16(POLLIN), revents: 0)
            return Glibc.poll(&poll, 1, 100) == 0
        }
    }

    /// Does what waits on another thread than those of the tests' tasks.
    private static func wait<Value: Sendable>(
        _ body: @escaping @Sendable () -> Value
    ) async -> Value {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(returning: body()) }
        }
    }

    /// Reads no more: what the worker writes from now on fails.
    func stopReading() { shutdown(self.connection, Int32(SHUT_RD)) }

    func hangUp() {
        guard self.connection >= 0 else { return }
        close(self.connection)
        self.connection = -1
    }

    func closeListener() {
        guard self.listener >= 0 else { return }
        close(self.listener)
        unlink(self.path)
        self.listener = -1
    }

    private static func limitWaiting(_ descriptor: Int32, seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(
            descriptor,
            SOL_SOCKET,
            SO_RCVTIMEO,
            &time,
            socklen_t(MemoryLayout<timeval>.size)
        )
    }
}

extension FakeFrontend {
    /// An event as a frontend sends it.
    static func event(
        _ id: Int,
        _ hook: String,
        _ arguments: [String: Any] = [:],
        deadline: Int = 10_000,
        session: [String: Any] = [:],
        notes: [String: Any] = ["session": [String: Any]()],
        transaction: [String: Any]? = nil
    ) -> [String: Any] {
        var event: [String: Any] = [
            "type": "event", "id": id, "key": "01JD9X2T5QK7.\(id)", "hook": hook, "attempt": 1,
            "deadline_ms": deadline, "args": arguments, "notes": notes,
            "session": Self.session.merging(session) { $1 },
        ]
        event["transaction"] = transaction
        return event
    }

    static func recipient(_ address: String) -> [String: Any] {
        let parts = address.split(separator: "@")
        return [
            "id": 1, "address": address, "local": "\(parts[0])", "domain": "\(parts[1])",
            "params": [Any](),
        ]
    }

    static var transaction: [String: Any] {
        [
            "id": "01JD9X2T5QK7.1",
            "sender": [
                "address": "bob@example.net", "local": "bob", "domain": "example.net",
                "params": [["SIZE", "4312"]],
            ],
            "recipient_count": 0,
        ]
    }

    private static var session: [String: Any] {
        [
            "id": "01JD9X2T5QK7", "listener": "mx", "started_ms": 1_732_322_669_123,
            "client": ["ip": "203.0.113.9", "port": 51_512, "name": NSNull()],
            "server": ["ip": "198.51.100.25", "port": 25], "proxy": NSNull(),
            "hello": ["verb": "EHLO", "name": "mail.example.net"], "tls": NSNull(),
            "auth": NSNull(),
            "relay": false, "early_talker": false,
            "counters": [
                "commands": 4, "errors": 0, "unrecognized": 0, "transactions": 1, "rcpt_ok": 2,
                "rcpt_denied": 0,
            ],
        ]
    }
}
