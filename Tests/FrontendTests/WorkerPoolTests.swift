import Configuration
import JSON
import NIOCore
import NIOEmbedded
import PolicyCore
import PolicyProtocol
import Testing

@testable import Frontend

/// A pool between one client and its workers: lines in, lines out, and what the client is answered.
@Suite struct WorkerPoolTests {
    /// A frontend whose client has connected and said HELO.
    private func talking(_ frontend: EmbeddedFrontend, _ lines: String...) throws {
        if try frontend.replies().codes.isEmpty { try frontend.connect() }
        try frontend.send((["HELO c"] + lines).map { $0 + "\r\n" }.joined())
        _ = try frontend.replies()
    }

    private func last(_ frontend: EmbeddedFrontend) throws -> String? {
        frontend.loop.run()
        return try frontend.replies().codes.last
    }

    // MARK: - The handshake

    @Test(arguments: [
        ("GET / HTTP/1.1", "bad_hello"), ("{}", "bad_hello"),
        (#"{"type":"verdict","id":1,"verdict":"ok"}"#, "bad_hello"),
        (Self.hello(protocol: "[2,3]"), "protocol_unsupported"),
        (Self.hello(pool: "other"), "pool_unknown"),
        (Self.hello(hooks: #""rctp":{}"#), "bad_hello"),
    ])
    func `a first line that is no hello of this pool is rejected, and the connection closed`(
        line: String,
        code: String
    ) throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.connection()
        try worker.send(line)
        let answer = try #require(try worker.lines().first)
        #expect(answer["type"] == .string("reject") && answer["code"] == .string(code))
        #expect(!worker.channel.isActive)
        #expect(try frontend.pool().connections.isEmpty)
    }

    private static func hello(
        protocol range: String = "[1,1]",
        pool: String = "default",
        hooks: String = ""
    ) -> String {
        #"{"type":"hello","protocol":\#(range),"pool":"\#(pool)","worker":{"name":"w"},"#
            + #""hooks":{\#(hooks)}}"#
    }

    @Test func `a user that the pool does not allow is rejected before it says anything`() throws {
        let frontend = try EmbeddedFrontend(["default"]) { configuration, _ in
            configuration.pools[0].allowedUserIDs = [4_711]
        }
        let worker = try frontend.connection()
        #expect(try worker.lines().first?["code"] == .string("user_denied"))
        #expect(!worker.channel.isActive)
    }

    @Test func `a pool takes no more connections than it may have`() throws {
        let frontend = try EmbeddedFrontend(["default"]) { configuration, _ in
            configuration.pools[0].maximumConnections = 1
        }
        let first = try frontend.worker(#""rcpt":{}"#)
        let second = try frontend.connection()
        #expect(try second.lines().first?["code"] == .string("pool_full"))
        #expect(first.channel.isActive && !second.channel.isActive)
    }

    @Test func `a hello may come in pieces, and a line that never ends is too long`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.connection()
        let line = Self.hello() + "\n"
        for octet in line {
            try worker.channel.writeInbound(ByteBuffer(string: String(octet)))
        }
        #expect(try worker.types() == ["welcome"])
        let other = try frontend.connection()
        let octets = ByteBuffer(repeating: 0x20, count: 70_000)
        for _ in 0..<16 where other.channel.isActive { try other.channel.writeInbound(octets) }
        #expect(try other.lines().first?["type"] == .string("reject"))
    }

    // MARK: - Questions and answers

    @Test func `a question goes to a worker, and its answer to the client`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{}"#)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        let event = try #require(try worker.lines().first)
        #expect(event["hook"] == .string("rcpt") && event["attempt"].number == 1)
        #expect((1...20_000).contains(event["deadline_ms"].number))
        try worker.answer(event["id"].number, #""verdict":"ok""#)
        #expect(try self.last(frontend) == "250")
        try frontend.send("RCPT TO:<e@f>\r\n")
        let next = try worker.event("rcpt")
        #expect(next > event["id"].number)
        try worker.answer(next, #""verdict":"deny""#)
        #expect(try self.last(frontend) == "550")
    }

    @Test(arguments: [
        (#""verdict":"perhaps""#, "451"), (#""verdict":"done""#, "451"),
        (#""verdict":"ok","actions":[{"op":"recipient.remove","id":9}]"#, "451"),
        (#""verdict":"ok","unknown":[1]"#, "250"),
    ])
    func `an invalid verdict costs its question, not its worker`(
        members: String,
        code: String
    ) throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{}"#)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        try worker.answer(worker.event("rcpt"), members)
        #expect(try self.last(frontend) == code)
        try frontend.send("RCPT TO:<e@f>\r\n")
        try worker.answer("rcpt", .ok)
        #expect(try self.last(frontend) == "250")
    }

    @Test(arguments: [true, false])
    func `a worker that asks for it is told what is wrong with its verdict`(isTold: Bool) throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(
            #""rcpt":{}"#,
            more: isTold ? #","violations":true"# : ""
        )
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        let id = try worker.event("rcpt")
        try worker.answer(id, #""verdict":"deny","plugin":"p","reply":{"text":["a","é"]}"#)
        #expect(try self.last(frontend) == "451")
        let lines = try worker.lines()
        #expect(lines.count == (isTold ? 1 : 0))
        guard let line = lines.first else { return }
        #expect(line["type"] == .string("violation") && line["id"].number == id)
        #expect(line["hook"] == .string("rcpt") && line["plugin"] == .string("p"))
        #expect(line["violation"] == .string("reply_text"))
        #expect(
            line["message"]
                == .string("reply.text[1]: not ASCII, and the transaction has no SMTPUTF8")
        )
    }

    @Test func `an answer that no question waits for changes nothing`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{}"#)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        let id = try worker.event("rcpt")
        try worker.answer(id + 1, #""verdict":"deny""#)
        #expect(try self.last(frontend) == nil)
        try worker.answer(id, #""verdict":"ok""#)
        try worker.answer(id, #""verdict":"deny""#)
        #expect(try self.last(frontend) == "250")
        try worker.send(#"{"type":"pong","n":1}"#)
        #expect(try worker.lines().isEmpty && worker.channel.isActive)
    }

    @Test func `an error ends the question, and one that was not begun goes elsewhere`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let workers = try [frontend.worker(#""rcpt":{}"#), frontend.worker(#""rcpt":{}"#)]
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        var lines = try workers.map { try $0.lines() }
        let first = try #require(lines.firstIndex { !$0.isEmpty })
        let event = lines[first][0]
        let error = #"{"type":"error","id":\#(event["id"].number),"code":"overloaded","#
        try workers[first].send(error + #""started":false}"#)
        lines = try workers.map { try $0.lines() }
        let second = try #require(lines.firstIndex { !$0.isEmpty })
        let retried = lines[second][0]
        #expect(second != first && retried["key"] == event["key"])
        let exception = #"{"type":"error","id":\#(retried["id"].number),"code":"exception"}"#
        try workers[second].send(exception)
        #expect(try self.last(frontend) == "451")
        #expect(workers.allSatisfy { $0.channel.isActive })
    }

    @Test(arguments: [
        ("{", "bad_frame"), (#"{"type":"hello"}"#, "unexpected_message"),
        (#"{"type":"event","id":1}"#, "unexpected_message"), (#"{"type":"nod"}"#, "unknown_type"),
        (#"{"type":"verdict","id":0,"verdict":"ok"}"#, "bad_message"),
        (#"{"type":"ping"}"#, "bad_message"),
    ])
    func `a broken line ends the connection, and its question goes to another worker`(
        line: String,
        code: String
    ) throws {
        let frontend = try EmbeddedFrontend(["default"])
        let broken = try frontend.worker(#""rcpt":{}"#)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        let event = try #require(try broken.lines().first)
        let other = try frontend.worker(#""rcpt":{}"#)
        // What stands behind the line in the same read is not looked at.
        try broken.send(line + "\n" + #"{"type":"verdict","id":1,"verdict":"deny"}"#)
        let bye = try #require(try broken.lines().first)
        #expect(bye["type"] == .string("bye") && bye["code"] == .string(code))
        #expect(!broken.channel.isActive)
        let retried = try #require(try other.lines().first)
        #expect(retried["attempt"].number == 2 && retried["key"] == event["key"])
        try other.answer(retried["id"].number, #""verdict":"ok""#)
        #expect(try self.last(frontend) == "250")
    }

    @Test(arguments: [(false, "451"), (true, "250")])
    func `queue is asked a second time only if the worker that was lost is idempotent`(
        isIdempotent: Bool,
        code: String
    ) throws {
        let hooks = #""rcpt":{},"queue":{"idempotent":\#(isIdempotent)}"#
        let frontend = try EmbeddedFrontend(["default"])
        let lost = try frontend.worker(hooks)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        try lost.answer("rcpt", .ok)
        try frontend.send("DATA\r\n")
        try frontend.send("A: b\r\n\r\nx\r\n.\r\n")
        _ = try lost.event("queue")
        let other = try frontend.worker(hooks)
        _ = try lost.channel.finish(acceptAlreadyClosed: true)
        if isIdempotent { try other.answer("queue", .ok) }
        #expect(try other.lines().isEmpty)
        #expect(try self.last(frontend) == code)
    }

    @Test func `a client that leaves takes its question back`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{}"#)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        let id = try worker.event("rcpt")
        _ = try frontend.channel.finish(acceptAlreadyClosed: true)
        let cancel = try #require(try worker.lines().first)
        #expect(cancel["type"] == .string("cancel") && cancel["id"].number == id)
        #expect(cancel["reason"] == .string("client_gone"))
    }

    @Test func `a reply is held back for as long as a worker wants`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{}"#)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        let delay = #""actions":[{"op":"reply.delay","ms":2500}]"#
        try worker.answer(worker.event("rcpt"), #""verdict":"ok",\#(delay)"#)
        frontend.loop.advanceTime(by: .milliseconds(2_499))
        #expect(try frontend.replies().codes == [])
        frontend.loop.advanceTime(by: .milliseconds(1))
        #expect(try frontend.replies().codes == ["250"])
    }

    // MARK: - The disk

    @Test func `a message whose file cannot be written is refused, and no worker is asked`() throws
    {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{},"data_post":{"needs":["message"]}"#)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        try worker.answer("rcpt", .ok)
        try frontend.send("DATA\r\n")
        try frontend.send("A: b\r\n\r\nx\r\n.\r\n")
        #expect(try self.last(frontend) == "451")
        #expect(try worker.lines().isEmpty)
    }

    @Test func `a replacement message that cannot be copied refuses the message`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{},"data_post":{},"queue":{}"#)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        try worker.answer("rcpt", .ok)
        try frontend.send("DATA\r\n")
        try frontend.send("A: b\r\n\r\nx\r\n.\r\n")
        let replace = #""actions":[{"op":"message.replace","path":"m"}]"#
        try worker.answer(worker.event("data_post"), #""verdict":"declined",\#(replace)"#)
        #expect(try self.last(frontend) == "451")
        #expect(try worker.lines().isEmpty)
    }

    // MARK: - Notifications

    @Test func `an observer is told, and one that does not read misses it`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{},"deny":{}"#)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        try worker.answer("rcpt", .deny)
        let told = try #require(try worker.lines().first)
        #expect(told["type"] == .string("notify") && told["hook"] == .string("deny"))
        try frontend.send("RCPT TO:<c@d>\r\n")
        let id = try worker.event("rcpt")
        worker.channel.isWritable = false
        worker.channel.pipeline.fireChannelWritabilityChanged()
        try worker.answer(id, #""verdict":"deny""#)
        #expect(try self.last(frontend) == "550")
        #expect(try worker.lines().isEmpty)
    }

    @Test func `what a worker is sent in one turn of the loop is one write`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{},"deny":{},"mail":{"observe":true}"#)
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        let writes = try worker.writes()
        #expect(writes.map { $0.map { $0["hook"].text } } == [["mail", "rcpt"]])
    }

    // MARK: - Draining

    @Test func `a worker that drains is answered once, and gets no further question`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{}"#)
        let other = try frontend.worker(#""rcpt":{}"#)
        try worker.send(#"{"type":"ping","n":7}"#)
        #expect(try worker.lines().first?["n"].number == 7)
        try worker.send(#"{"type":"drain"}"#)
        #expect(try worker.types() == ["drain"])
        try self.talking(frontend, "MAIL FROM:<a@b>")
        for _ in 0..<3 {
            try frontend.send("RCPT TO:<c@d>\r\n")
            try other.answer("rcpt", .ok)
            #expect(try self.last(frontend) == "250")
        }
        #expect(try worker.lines().isEmpty)
        // A frontend that stops does not say it again to a worker that has heard it.
        try frontend.pool().drain()
        #expect(try worker.lines().isEmpty)
        #expect(try other.types() == ["drain"])
        try worker.send(#"{"type":"bye","code":"drained"}"#)
        #expect(!worker.channel.isActive)
        #expect(try frontend.pool().connections.count == 1)
    }

    @Test func `a frontend that stops says 421 to an idle client, and then drain to its workers`()
        throws
    {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(#""rcpt":{},"disconnect":{}"#)
        try self.talking(frontend)
        frontend.server.shutDown()
        #expect(try self.last(frontend) == "421")
        #expect(frontend.handler.end == .shutdown)
        let lines = try worker.lines()
        #expect(lines.map { $0["type"].text } == ["notify", "drain"])
        #expect(lines.first?["args"]?["reason"] == .string("shutdown"))
        #expect(lines.last?["reason"] == .string("shutdown"))
    }

    // MARK: - Shadows

    /// A frontend with a shadow; both workers have the question of RCPT.
    private func shadowed() throws -> (EmbeddedFrontend, EmbeddedWorker, EmbeddedWorker, WorkerPool)
    {
        let frontend = try EmbeddedFrontend(["default", "shadow"]) { configuration, _ in
            configuration.pools[1].shadowOf = "default"
        }
        let worker = try frontend.worker(#""rcpt":{}"#)
        let shadow = try frontend.worker(#""rcpt":{},"queue":{}"#, of: "shadow")
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        return (frontend, worker, shadow, try frontend.pool("shadow"))
    }

    @Test func `a shadow is shown the question, and its answer is compared and thrown away`() throws
    {
        let (frontend, worker, shadow, pool) = try self.shadowed()
        let shown = try #require(try shadow.lines().first)
        let asked = try #require(try worker.lines().first)
        for member in ["key", "hook", "session", "transaction", "args", "notes"] {
            #expect(shown[member] == asked[member])
        }
        try shadow.answer(
            shown["id"].number,
            #""verdict":"deny","notes":{"session":{"seen":true}}"#
        )
        #expect(try self.last(frontend) == nil)
        try worker.answer(asked["id"].number, #""verdict":"ok""#)
        #expect(try self.last(frontend) == "250")
        #expect((pool.shadowCounts.agreed, pool.shadowCounts.differed) == (0, 1))
        try frontend.send("RCPT TO:<e@f>\r\n")
        let next = try #require(try worker.lines().first)
        #expect(next["notes"] == .object(["session": .object([:]), "transaction": .object([:])]))
        try worker.answer(next["id"].number, #""verdict":"ok""#)
        try shadow.answer("rcpt", .ok)
        #expect((pool.shadowCounts.agreed, pool.shadowCounts.differed) == (1, 1))
        #expect(pool.shadowBudget.octets == 0)
    }

    @Test func `a shadow that fails, or whose pool does, is counted and holds nothing`() throws {
        let (frontend, worker, shadow, pool) = try self.shadowed()
        try shadow.answer(shadow.event("rcpt"), #""verdict":"done""#)
        try worker.answer("rcpt", .ok)
        #expect((pool.shadowCounts.failed, pool.shadowCounts.unpaired) == (1, 0))
        try frontend.send("RCPT TO:<e@f>\r\n")
        #expect(pool.shadowBudget.octets > 0)
        try shadow.answer("rcpt", .ok)
        try worker.answer(worker.event("rcpt"), #""verdict":"done""#)
        #expect((pool.shadowCounts.failed, pool.shadowCounts.unpaired) == (1, 1))
        #expect(pool.shadowBudget.octets == 0)
    }

    @Test func `a shadow for which too much is kept is not shown more`() throws {
        let frontend = try EmbeddedFrontend(["default", "shadow"]) { configuration, _ in
            configuration.pools[1].shadowOf = "default"
            configuration.pools[1].shadowOctets = 1
        }
        let worker = try frontend.worker(#""rcpt":{}"#)
        let shadow = try frontend.worker(#""rcpt":{}"#, of: "shadow")
        try self.talking(frontend, "MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        try worker.answer("rcpt", .ok)
        #expect(try self.last(frontend) == "250")
        #expect(try shadow.lines().isEmpty)
        #expect(try frontend.pool("shadow").shadowCounts.dropped == 1)
    }
}

/// The notification `status` (protocol/events.md).
@Suite struct StatusNoticeTests {
    private func status(_ frontend: EmbeddedFrontend) throws -> JSONValue? {
        let notice = StatusNotice(
            frontendID: "mx1",
            nowMS: 5,
            uptimeMS: 4,
            spool: SpoolDirectory.Usage(files: 2, octets: 9),
            loops: LoopStatus(
                openSessions: 3,
                openedSessions: 7,
                counters: frontend.server.limitCounters,
                pools: frontend.server.status.pools
            )
        )
        let octets = notice.line
        #expect(octets.last == 0x0A)
        let line = try JSONValue(parsing: Array(octets.dropLast()))
        #expect(line["type"] == .string("notify") && line["hook"] == .string("status"))
        return line["args"]
    }

    private func pool(_ args: JSONValue?, _ place: Int = 0) -> JSONValue? {
        guard case .array(let pools)? = args?["pools"], place < pools.count else { return nil }
        return pools[place]
    }

    @Test func `it names the frontend, its sessions and its spool`() throws {
        let args = try self.status(EmbeddedFrontend(["default"]))
        let expected =
            #"{"frontend":"mx1","now_ms":5,"uptime_ms":4,"sessions":{"open":3,"opened":7},"#
            + #""spool":{"files":2,"octets":9},"refused":{"max_sessions":0,"max_sessions_per_ip":0,"#
            + #""max_sessions_per_network":0,"max_new_sessions_per_ip":0,"#
            + #""max_new_sessions_per_network":0,"memory_octets":0},"ended":{"command_budget_ms":0,"#
            + #""envelope_budget_ms":0,"data_budget_ms":0,"data_minimum_rate":0,"#
            + #""max_commands_per_second":0,"timeout":0,"max_errors":0,"max_unrecognized":0,"#
            + #""max_noop":0,"max_commands_without_message":0,"max_refused_recipients":0,"#
            + #""max_commands_per_session":0,"max_transactions":0,"max_auth_failures":0,"#
            + #""other_protocol":0,"smuggling":0},"handshakes":{"done":0,"failed":0},"#
            + #""logins":{"failed":0},"pools":[{"name":"default","state":"grace","#
            + #""queued":0,"outstanding":0,"served":0,"failed":0,"unserved":[],"workers":[]}]}"#
        #expect(try args == JSONValue(parsing: Array(expected.utf8)))
    }

    @Test func `it names each worker with what it holds and what it answered`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let worker = try frontend.worker(
            #""rcpt":{}"#,
            concurrency: 1,
            more: #","plugins":["p","q"]"#
        )
        try frontend.connect()
        try frontend.send("HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
        var pool = try self.pool(self.status(frontend))
        #expect(pool?["state"] == .string("ready") && pool?["outstanding"].number == 1)
        guard case .array(let busy)? = pool?["workers"] else { return #expect(Bool(false)) }
        #expect(busy.count == 1 && busy[0]["state"] == .string("busy"))
        #expect(busy[0]["connection"] == .string("w1") && busy[0]["name"] == .string("w"))
        for member in ["instance", "version", "pid", "p50_us", "p99_us"] {
            #expect(busy[0][member] == .null)
        }
        #expect(busy[0]["plugins"] == .array([.string("p"), .string("q")]))
        try worker.answer("rcpt", .ok)
        pool = try self.pool(self.status(frontend))
        guard case .array(let idle)? = pool?["workers"] else { return #expect(Bool(false)) }
        #expect(idle[0]["state"] == .string("ready") && idle[0]["served"].number == 1)
        #expect(idle[0]["outstanding"].number == 0 && idle[0]["p99_us"].number > 0)
    }

    @Test func `it names hooks that are asked and that no worker serves`() throws {
        let frontend = try EmbeddedFrontend(["default"])
        let other = try frontend.worker(#""noop":{}"#)
        let left = try frontend.connection()
        try left.send(
            #"{"type":"hello","protocol":[1,1],"pool":"default","worker":{"name":"x"},"#
                + #""hooks":{"rcpt":{}}}"#
        )
        #expect(try self.pool(self.status(frontend))?["unserved"] == .array([]))
        _ = try left.channel.finish(acceptAlreadyClosed: true)
        let unserved = try self.pool(self.status(frontend))?["unserved"]
        #expect(unserved == .array([.string("rcpt")]) && other.channel.isActive)
    }

    @Test func `it says whose shadow or canary a pool is`() throws {
        let frontend = try EmbeddedFrontend(["default", "shadow", "canary"]) { configuration, _ in
            configuration.pools[1].shadowOf = "default"
            configuration.pools[2].canaryOf = "default"
            configuration.pools[2].canaryPercent = 5
        }
        let args = try self.status(frontend)
        let shadow =
            #"{"of":"default","agreed":0,"differed":0,"failed":0,"unpaired":0,"dropped":0}"#
        #expect(
            try self.pool(args, 1)?["shadow"] == JSONValue(parsing: Array(shadow.utf8))
        )
        let canary = #"{"of":"default","percent":5,"sessions":0}"#
        #expect(
            try self.pool(args, 2)?["canary"] == JSONValue(parsing: Array(canary.utf8))
        )
        #expect(self.pool(args)?["shadow"] == nil && self.pool(args)?["canary"] == nil)
    }
}
