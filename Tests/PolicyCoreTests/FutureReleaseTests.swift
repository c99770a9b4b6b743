import JSON
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

/// FUTURERELEASE: offered while every worker that may get the message holds it, and looked at again at
/// MAIL and at `queue`.
@Suite struct FutureReleaseTests {
    private static let smtp = SMTPConfiguration(
        hostname: Array("mx".utf8),
        extensions: { _ in [.futureRelease] }
    )

    /// What the pools registered, and whether EHLO offers FUTURERELEASE then.
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let isOffered: Bool
        let prepare: @Sendable (PlayedPools) -> Void

        var testDescription: String { self.name }
    }

    static let rows = [
        Row(name: "no worker", isOffered: false) { _ in },
        Row(name: "a worker that is not asked at queue", isOffered: false) {
            $0.register(0, asked: [.rcpt], extensions: .all)
        },
        Row(name: "a worker that only observes queue", isOffered: false) {
            $0.register(0, asked: [], observed: [.queue], extensions: .all)
        },
        Row(name: "a worker that does not hold", isOffered: false) {
            $0.register(0, asked: [.queue])
        },
        Row(name: "a worker with another extension", isOffered: false) {
            $0.register(0, asked: [.queue], extensions: .priority)
        },
        Row(name: "a worker that holds", isOffered: true) {
            $0.register(0, asked: [.queue], extensions: .futureRelease)
        },
        Row(name: "the second pool alone is asked at queue", isOffered: true) {
            $0.register(0, asked: [.rcpt])
            $0.register(1, asked: [.queue], extensions: .futureRelease)
        },
        Row(name: "one pool holds, the other does not", isOffered: false) {
            $0.register(0, asked: [.queue])
            $0.register(1, asked: [.queue], extensions: .futureRelease)
        },
        Row(name: "both pools hold", isOffered: true) {
            $0.register(0, asked: [.queue], extensions: .all)
            $0.register(1, asked: [.queue], extensions: .futureRelease)
        },
        Row(name: "one worker of the pool does not hold", isOffered: false) {
            $0.profiles[0].update(Self.wants([.futureRelease, []]), hasReadyWorker: true)
        },
        Row(name: "all workers of the pool hold", isOffered: true) {
            $0.profiles[0].update(Self.wants([.futureRelease, .all]), hasReadyWorker: true)
        },
        Row(name: "the workers are not ready", isOffered: false) {
            $0.profiles[0].update(Self.wants([.futureRelease]), hasReadyWorker: false)
        },
        Row(name: "a shadow is shown queue and does not hold", isOffered: false) {
            $0.register(0, asked: [.queue], extensions: .futureRelease)
            $0.register(1, asked: [.queue])
            $0.profiles[1].isShownQueue = true
            $0.profiles[0].shadows = [$0.profiles[1]]
        },
        Row(name: "a shadow that is not shown queue does not hold", isOffered: true) {
            $0.register(0, asked: [.queue], extensions: .futureRelease)
            $0.register(1, asked: [.queue])
            $0.profiles[0].shadows = [$0.profiles[1]]
        },
    ]

    /// Of a pool whose workers are asked at `queue`, each keeping these extensions.
    private static func wants(_ workers: [QueueExtensions]) -> PoolWants {
        let hellos = workers.map { extensions in
            var hello = WorkerHello(
                pool: "p",
                name: "w",
                instance: "",
                version: "",
                pid: 1,
                concurrency: 1,
                maximumFrameOctets: 65_536
            )
            hello.extensions = extensions
            hello.hooks[.queue] = WorkerHello.HookRequest()
            return hello
        }
        return PoolWants(hellos, asked: HookSet(.queue))
    }

    private static func isOffered(_ play: PlayedSession) -> Bool {
        let reply = String(decoding: play.replies.last?.wire ?? [], as: UTF8.self)
        return reply.hasPrefix("250") && reply.contains("FUTURERELEASE 3600 ")
    }

    @Test(arguments: rows) func `EHLO offers it where all that are asked at queue hold`(row: Row) {
        let pools = PlayedPools(["first", "second"])
        row.prepare(pools)
        let isShadowed = pools.profiles.contains { !$0.shadows.isEmpty }
        let play = pools.session(Self.smtp, route: isShadowed ? [0] : [0, 1])
        play.connect()
        play.send("EHLO c")
        #expect(Self.isOffered(play) == row.isOffered)
    }

    /// A session that was offered it, and a pool that is asked at `rcpt` and `queue`.
    private func play(_ pools: PlayedPools, hooks: [Hook] = [.rcpt, .queue]) -> PlayedSession {
        pools.register(0, asked: hooks, goesAhead: true, extensions: .futureRelease)
        let play = pools.session(Self.smtp)
        play.unixMS = 1_000_000_000_500
        play.connect()
        play.send("EHLO c")
        #expect(Self.isOffered(play))
        return play
    }

    private static func event(_ play: PlayedSession) throws -> JSONValue {
        try JSONValue(parsing: Array(try #require(play.event()).dropLast()))
    }

    @Test(arguments: [
        ("HOLDFOR=60", 1_000_000_060_500), ("HOLDUNTIL=2001-09-09T02:00:00Z", 1_000_000_800_000),
    ])
    func `an event says until when`(parameter: String, time: Int64) throws {
        let play = self.play(PlayedPools())
        play.send("MAIL FROM:<a@b> \(parameter)", "RCPT TO:<c@d>")
        let transaction = try Self.event(play)["transaction"]
        #expect(transaction?["hold_until_ms"] == .int(time))
        play.send("RSET")
        play.answer(.ok)
        play.send("MAIL FROM:<a@b>", "RCPT TO:<c@d>")
        #expect(try Self.event(play)["transaction"]?["hold_until_ms"] == nil)
    }

    @Test func `a sender that a worker puts in its place keeps what the client asked for`() throws {
        let play = self.play(PlayedPools(), hooks: [.mail, .rcpt, .queue])
        play.send("MAIL FROM:<a@b> HOLDFOR=60")
        var verdict = PolicyVerdict(id: 1, verdict: .declined)
        verdict.actions = [.replaceSender(address: Array("x@y".utf8))]
        #expect(play.answer(verdict) == nil)
        play.send("RCPT TO:<c@d>")
        let sender = try Self.event(play)["transaction"]?["sender"]
        #expect(sender?["address"] == .string("x@y"))
        #expect(sender?["params"] == .array([.array([.string("HOLDFOR"), .string("60")])]))
    }

    @Test func `MAIL is put off once a worker has come that does not hold`() {
        let pools = PlayedPools()
        let play = self.play(pools)
        pools.register(0, asked: [.rcpt, .queue])
        play.send("MAIL FROM:<a@b> HOLDFOR=60")
        #expect(play.replies.last == StandardReplies.policyFailed)
        play.send("MAIL FROM:<a@b>")
        #expect(play.replies.last == StandardReplies.senderAccepted)
        play.send("RSET", "EHLO c")
        #expect(!Self.isOffered(play))
        play.send("MAIL FROM:<a@b> HOLDFOR=60")
        #expect(play.replies.last == StandardReplies.unknownParameter)
    }

    /// Up to the final dot; `change` comes before it.
    private func message(_ play: PlayedSession, _ parameter: String, _ change: () -> Void) {
        play.send("MAIL FROM:<a@b> \(parameter)", "RCPT TO:<c@d>")
        play.answer(.ok)
        play.send("DATA", "A: b", "")
        change()
        play.send(".")
        while case .store = play.wait { play.stored() }
    }

    @Test(arguments: [
        (FailurePolicy.tempfail, StandardReplies.policyFailed),
        (.reject, StandardReplies.policyFailedDenied), (.skip, StandardReplies.queueUndecided),
    ])
    func `queue is not asked once a worker has come that does not hold`(
        policy: FailurePolicy,
        reply: SMTPReply
    ) {
        let pools = PlayedPools()
        pools.profiles[0].failurePolicies[Int(Hook.queue.index)] = policy
        let play = self.play(pools)
        self.message(play, "HOLDFOR=60") { pools.register(0, asked: [.rcpt, .queue]) }
        #expect(!play.isAsking)
        #expect(play.replies.last == reply)
        // Other messages go on.
        self.message(play, "") {}
        #expect(play.isAsking)
        play.answer(.ok)
        #expect(play.replies.last?.code.rawValue == 250)
    }

    @Test func `workers that are away just now are waited for`() {
        let pools = PlayedPools()
        let play = self.play(pools)
        let isAsked = HookSet(.rcpt).union(HookSet(.queue))
        func update(_ wants: PoolWants, isReady: Bool) {
            pools.profiles[0].update(wants, hasReadyWorker: isReady)
            pools.demand.update(pools.profiles)
        }
        update(PoolWants([], asked: isAsked), isReady: false)
        self.message(play, "HOLDFOR=60") {}
        #expect(play.openHook == .queue && play.isAsking)
        play.answer(.ok)
        #expect(play.replies.last?.code.rawValue == 250)
        play.send("EHLO c")
        #expect(!Self.isOffered(play))
    }

    @Test func `queue is asked of workers that hold, on its own and never ahead`() throws {
        let hooks: [Hook] = [.rcpt, .data_post, .queue]
        let play = self.play(PlayedPools(), hooks: hooks)
        self.message(play, "") {}
        #expect(try Self.event(play)["ahead"]?["queue"] != nil)
        #expect(play.goAhead(to: .queue))
        var verdict = PolicyVerdict(id: 1, verdict: .ok)
        verdict.hook = .queue
        #expect(play.answer(verdict) == nil)
        self.message(play, "HOLDFOR=60") {}
        #expect(try Self.event(play)["ahead"] == nil)
        play.answer(.declined)
        while case .store = play.wait { play.stored() }
        #expect(play.openHook == .queue)
        play.answer(.ok)
        #expect(play.replies.last?.code.rawValue == 250)
    }
}
