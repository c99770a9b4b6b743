import Glibc
import JSON
import PolicyProtocol
import System

/// What a worker did that the protocol does not allow, in its author's terms.
struct Nonconformity: Error {
    let what: String
}

/// A worker's connection, as its frontend sees it; over a blocking socket.
final class WorkerLink {
    /// What the frontend's `welcome` says it accepts.
    static let maximumFrameOctets = 1_048_576

    /// What the worker said; set by ``readHello(pool:)``.
    private(set) var hello: WorkerHello?
    private let socket: Int32
    private var decoder = FrameDecoder(maximumFrameOctets: WorkerLink.maximumFrameOctets)
    private var lines: [[UInt8]] = []
    private var hasEnded = false
    private var lastID: Int64 = 0

    init(_ socket: Int32) {
        self.socket = socket
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(self.socket) }

    /// The next id of an event.
    func nextID() -> Int64 {
        self.lastID += 1
        return self.lastID
    }

    func send(_ octets: [UInt8]) throws(Nonconformity) {
        let code = DescriptorCalls.send(octets, to: self.socket)
        guard code == 0 else {
            throw Nonconformity(
                what: code == EAGAIN
                    ? "it does not read: its socket was full for 10 s"
                    : "it closed the connection, where nothing asked for that"
            )
        }
    }

    func send(_ write: (inout JSONWriter) -> Void) throws(Nonconformity) {
        var writer = JSONWriter()
        write(&writer)
        try self.send(writer.octets)
    }

    /// The next line, without its LF; `nil` when the worker has closed the connection.
    func line(within milliseconds: Int32, for what: String) throws(Nonconformity) -> [UInt8]? {
        let deadline = ContinuousClock.now + .milliseconds(milliseconds)
        while self.lines.isEmpty {
            guard !self.hasEnded else {
                guard !self.decoder.isMidFrame else {
                    throw Nonconformity(what: "its last line has no LF")
                }
                return nil
            }
            let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
            var entry = pollfd(fd: self.socket, events: Int16(POLLIN), revents: 0)
            guard left > 0, poll(&entry, 1, Int32(clamping: Int64(left.rounded(.up)))) > 0 else {
                throw Nonconformity(what: "\(what): nothing came within \(milliseconds) ms")
            }
            guard let chunk = DescriptorCalls.read(self.socket), !chunk.isEmpty else {
                self.hasEnded = true
                continue
            }
            guard self.take(chunk) else {
                throw Nonconformity(
                    what: "it sent a line of more than \(Self.maximumFrameOctets) octets"
                )
            }
        }
        return self.lines.removeFirst()
    }

    /// The next message.
    ///
    /// Its own pings are answered, and are no message here.
    func message(
        within milliseconds: Int32 = 5_000,
        for what: String
    ) throws(Nonconformity) -> WorkerMessage {
        while true {
            guard let line = try self.line(within: milliseconds, for: what) else {
                throw Nonconformity(what: "\(what): it closed the connection instead")
            }
            let message: WorkerMessage
            do throws(ProtocolViolation) {
                message = try WorkerMessage.decode(line)
            } catch {
                let text = String(decoding: line.prefix(160), as: UTF8.self)
                throw Nonconformity(
                    what: "it sent a line that breaks the protocol: \(error): \(text)"
                )
            }
            guard case .ping(let number) = message else { return message }
            try self.send { FrontendLine.pong(number, into: &$0) }
        }
    }

    /// Reads the hello.
    func readHello(pool: String) throws(Nonconformity) -> WorkerHello {
        guard case .hello(let result) = try self.message(within: 5_000, for: "hello") else {
            throw Nonconformity(what: "its first line is no hello")
        }
        switch result {
        case .failure(let refusal):
            throw Nonconformity(what: "its hello is refused: \(refusal.message)")
        case .success(let hello):
            guard hello.pool == pool else {
                throw Nonconformity(
                    what: "its hello names the pool \(hello.pool) on the socket of pool \(pool)"
                )
            }
            self.hello = hello
            return hello
        }
    }

    /// Welcomes the worker.
    func welcome(spool: String) throws(Nonconformity) {
        let concurrency = self.hello?.concurrency ?? 1
        try self.send {
            FrontendLine.welcome(
                frontendID: "conform",
                version: "0",
                hostname: "conform.example",
                connection: "w1",
                maximumFrameOctets: Self.maximumFrameOctets,
                concurrency: concurrency,
                spool: spool,
                into: &$0
            )
        }
    }

    /// Cuts octets into lines.
    ///
    /// - Returns: False if a line is too long.
    private func take(_ chunk: [UInt8]) -> Bool {
        var taken: [[UInt8]] = []
        defer { self.lines += taken }
        do {
            try chunk.withUnsafeBytes { octets in
                try self.decoder.receive(octets) { line in
                    taken.append(line)
                    return true
                }
            }
            return true
        } catch {
            return false
        }
    }

    /// Waits until the worker has closed the connection.
    ///
    /// - Returns: The code of its bye; `nil` if it said none.
    @discardableResult
    func end(within milliseconds: Int32 = 5_000) throws(Nonconformity) -> String? {
        var said: String?
        while let line = try self.line(within: milliseconds, for: "the end of the connection") {
            let message = try? WorkerMessage.decode(line)
            if case .bye(let code, _)? = message { said = code }
        }
        return said
    }
}
