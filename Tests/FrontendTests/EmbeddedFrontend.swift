import Configuration
import Glibc
import JSON
import NIOCore
import NIOEmbedded
import NIOPosix
import PolicyCore
import PolicyProtocol
import SMTPCore
import Testing

@testable import Frontend

/// A frontend on a loop that the test drives, one client's connection, and workers.
final class EmbeddedFrontend {
    let channel = EmbeddedChannel()
    /// Never started: what is to be done on the disk fails at once.
    let threads = NIOThreadPool(numberOfThreads: 1)
    private var workers: [EmbeddedWorker] = []
    let server: ServerLoop
    let handler: SMTPSessionHandler
    private let folder: String

    init(
        _ pools: [String] = [],
        isServing: Bool = true,
        _ change: (inout FrontendConfiguration, inout FrontendConfiguration.Listener) -> Void =
            {
                _,
                _ in
            }
    ) throws {
        self.folder = "/tmp/gatepost-handler-\(getpid())-\(UInt32.random(in: .min ... .max))"
        mkdir(self.folder, 0o700)
        var configuration = FrontendConfiguration(
            directory: self.folder,
            hostname: "mx",
            runtimeDirectory: self.folder + "/run",
            spoolDirectory: self.folder + "/spool",
            listeners: [],
            pools: pools.map { name in
                var pool = FrontendConfiguration.Pool(name: name, defaultsFor: .tempfail)
                // No process is at the other end of an embedded channel.
                pool.allowedUserIDs = [PeerCredentials.unknown.userID]
                return pool
            }
        )
        var listener = FrontendConfiguration.Listener(
            name: "mx",
            address: try #require(ListenAddress(parsing: "127.0.0.1:2525"))
        )
        change(&configuration, &listener)
        let shared = SharedState(
            configuration,
            maximums: ConnectionLimits.Maximums(
                configuration.limits,
                sessions: configuration.limits.maximumSessions
            ),
            spool: try SpoolDirectory(
                base: configuration.spoolDirectory,
                frontendID: configuration.id,
                pools: configuration.pools
            ),
            controlFiles: ControlFiles(directories: configuration.controlDirectories) { _ in },
            loops: [self.channel.embeddedEventLoop],
            threads: self.threads
        )
        self.server = ServerLoop(
            configuration: configuration,
            tls: TLSInForce(configuration.tls, nil),
            shared: shared,
            index: 0,
            loop: self.channel.embeddedEventLoop
        )
        shared.loops.add(self.server)
        if isServing { self.server.workersChanged() } else { self.server.shutDown() }
        let smtp = SMTPConfiguration(
            configuration,
            listener: listener,
            control: self.server.controlFiles.snapshot()
        )
        self.handler = SMTPSessionHandler(
            server: self.server,
            listener: SMTPListener(
                place: 0,
                configuration: listener,
                smtp: smtp,
                passes: SharedGreetingPasses(lifetimeMilliseconds: listener.greetingPassTTLMS)
            ),
            client: try SocketAddress(ipAddress: "192.0.2.1", port: 1),
            local: nil
        )
        try self.channel.pipeline.syncOperations.addHandler(self.handler)
    }

    var loop: EmbeddedEventLoop { self.channel.embeddedEventLoop }

    func pool(_ name: String = "default") throws -> WorkerPool {
        try #require(self.server.pools.first { $0.name == name })
    }

    /// A worker that has connected and said nothing.
    func connection(_ pool: String = "default") throws -> EmbeddedWorker {
        let worker = try EmbeddedWorker(self.pool(pool).newConnection(), self.loop)
        self.workers.append(worker)
        return worker
    }

    /// A worker that is ready; `hooks` are the members of that object in its hello, `more` further
    /// members of the hello.
    func worker(
        _ hooks: String,
        of pool: String = "default",
        concurrency: Int = 4,
        more: String = ""
    ) throws -> EmbeddedWorker {
        let worker = try self.connection(pool)
        try worker.send(
            #"{"type":"hello","protocol":[1,1],"pool":"\#(pool)","worker":{"name":"w"},"#
                + #""concurrency":\#(concurrency),"hooks":{\#(hooks)}\#(more)}"#
        )
        let welcome = try #require(try worker.lines().first)
        #expect(welcome["type"] == .string("welcome"))
        return worker
    }

    deinit {
        _ = try? self.channel.finish()
        for worker in self.workers { _ = try? worker.channel.finish() }
        OutFolder.sweep(self.folder, changedBefore: nil)
        rmdir(self.folder)
    }

    func connect() throws {
        try self.channel.connect(to: SocketAddress(ipAddress: "192.0.2.1", port: 1)).wait()
    }

    func send(_ text: String) throws {
        try self.channel.writeInbound(self.channel.allocator.buffer(string: text))
    }

    /// The code of each reply line that was written since it was last read, and the writes.
    func replies() throws -> (codes: [String], writes: Int) {
        var (text, writes) = ("", 0)
        while let buffer = try self.channel.readOutbound(as: ByteBuffer.self) {
            text += String(buffer: buffer)
            writes += 1
        }
        return (text.split(separator: "\r\n").map { String($0.prefix(3)) }, writes)
    }
}

/// A worker's connection to a pool.
final class EmbeddedWorker {
    let channel: EmbeddedChannel
    let handler: WorkerConnectionHandler

    init(_ handler: WorkerConnectionHandler, _ loop: EmbeddedEventLoop) throws {
        self.handler = handler
        self.channel = EmbeddedChannel(handler: handler, loop: loop)
        try self.channel.connect(to: SocketAddress(unixDomainSocketPath: "/none")).wait()
    }

    func send(_ line: String) throws {
        try self.channel.writeInbound(self.channel.allocator.buffer(string: line + "\n"))
    }

    /// What the frontend has sent since this was last called, at the end of the loop's turn.
    func lines() throws -> [JSONValue] { try self.writes().flatMap(\.self) }

    /// The lines of each write.
    func writes() throws -> [[JSONValue]] {
        self.channel.embeddedEventLoop.run()
        var writes: [[JSONValue]] = []
        while let buffer = try self.channel.readOutbound(as: ByteBuffer.self) {
            let lines = String(buffer: buffer).split(separator: "\n")
            writes.append(try lines.map { try JSONValue(parsing: Array($0.utf8)) })
        }
        return writes
    }

    /// The `type` of each line.
    func types() throws -> [String] { try self.lines().map { $0["type"].text } }

    /// The id of the next event, which must be of `hook`.
    func event(_ hook: String) throws -> Int64 {
        let event = try #require(try self.lines().last)
        #expect(event["hook"] == .string(hook))
        return event["id"].number
    }

    func answer(_ id: Int64, _ members: String) throws {
        try self.send(#"{"type":"verdict","id":\#(id),\#(members)}"#)
    }

    /// Answers the next event, which must be of `hook`.
    func answer(_ hook: String, _ verdict: Verdict) throws {
        try self.answer(self.event(hook), #""verdict":"\#(verdict)""#)
    }
}

extension JSONValue? {
    /// The string; empty if this is none.
    var text: String { if case .string(let text)? = self { text } else { "" } }

    /// The integer; -1 if this is none.
    var number: Int64 { if case .int(let number)? = self { number } else { -1 } }
}
