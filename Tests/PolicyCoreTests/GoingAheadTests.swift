import JSON
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

@Suite struct GoingAheadTests {
    /// What keeps hooks from being sent ahead, and the hooks ahead of `data_post_headers` then.
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let ahead: [String]
        let prepare: @Sendable (PlayedPools) -> Void

        var testDescription: String { self.name }
    }

    private static let all: [Hook] = [.rcpt, .data_post_headers, .data_post, .queue_pre, .queue]

    static let rows = [
        Row(name: "nothing", ahead: ["data_post", "queue_pre", "queue"]) { _ in },
        Row(name: "workers do not say ahead", ahead: []) { $0.register(0, asked: Self.all) },
        Row(name: "another pool is asked at the first", ahead: []) {
            $0.register(1, asked: [.data_post_headers])
        },
        Row(name: "another pool is asked at the second", ahead: []) {
            $0.register(1, asked: [.data_post])
        },
        Row(name: "another pool is asked at the last", ahead: ["data_post", "queue_pre"]) {
            $0.register(1, asked: [.queue])
        },
        Row(name: "an observer", ahead: ["data_post"]) {
            $0.register(1, asked: [], observed: [.queue_pre])
        },
        Row(name: "an observer of ok", ahead: []) { $0.register(1, asked: [], observed: [.ok]) },
        Row(name: "the trace is wanted", ahead: []) {
            $0.register(1, asked: [.mail], needs: [.mail: .trace])
        },
        Row(name: "a shadow", ahead: []) { $0.profiles[0].shadows = [$0.profiles[1]] },
        Row(name: "another failure policy", ahead: ["data_post"]) {
            $0.profiles[0].failurePolicies[Int(Hook.queue_pre.index)] = .skip
        },
        Row(name: "another failure policy of queue", ahead: ["data_post", "queue_pre", "queue"]) {
            $0.profiles[0].failurePolicies[Int(Hook.queue.index)] = .reject
        },
        Row(name: "one is not asked", ahead: ["data_post", "queue"]) {
            $0.register(0, asked: Self.all.filter { $0 != .queue_pre }, goesAhead: true)
        },
    ]

    private func play(_ pools: PlayedPools) -> PlayedSession {
        let play = pools.session(SMTPConfiguration(hostname: Array("mx".utf8)), route: [0, 1])
        play.connect()
        play.send("EHLO c", "MAIL FROM:<a@b>")
        while case .pool = play.wait { play.answer(.declined) }
        play.send("RCPT TO:<c@d>")
        while case .pool = play.wait { play.answer(.ok) }
        play.send("DATA", "A: b\r\n", ".")
        return play
    }

    private func ahead(_ line: [UInt8]?) throws -> [String] {
        let event = try JSONValue(parsing: Array(try #require(line).dropLast()))
        guard case .object(let ahead)? = event["ahead"] else { return [] }
        let order = ["data_post", "queue_pre", "queue"]
        return order.filter { ahead[$0] != nil }
    }

    private func pools() -> PlayedPools {
        let pools = PlayedPools(["one", "two"])
        pools.register(0, asked: Self.all, goesAhead: true)
        return pools
    }

    @Test(arguments: Self.rows) func `hooks go ahead unless`(row: Row) throws {
        let pools = self.pools()
        row.prepare(pools)
        let play = self.play(pools)
        #expect(play.openHook == .data_post_headers)
        #expect(try self.ahead(play.event()) == row.ahead)
    }

    @Test func `workers that changed while the question waited are asked by the new rules`() throws
    {
        let pools = self.pools()
        let play = self.play(pools)
        pools.register(0, asked: Self.all, goesAhead: false)
        #expect(try self.ahead(play.event()) == [])
    }

    @Test func `a hook at which a worker died with this message is asked by itself`() throws {
        let play = self.play(self.pools())
        var asked = 0
        let line = play.event(isSuspect: { _ in
            asked += 1
            return asked == 2
        })
        #expect(try self.ahead(line) == ["data_post"])
    }

    @Test func `a question that was asked alone stays alone when another pool's workers leave`()
        throws
    {
        let pools = self.pools()
        pools.register(1, asked: [.data_post])
        let play = self.play(pools)
        pools.register(1, asked: [])
        // The message may not be where a worker needs it at the hooks ahead.
        #expect(try self.ahead(play.event()) == [])
    }

    @Test func `what does not fit with what comes ahead is sent alone`() throws {
        func line(_ maximumOctets: Int, isAlone: Bool = false) -> [UInt8]? {
            self.play(self.pools()).event(
                maximumOctets: maximumOctets,
                isSuspect: isAlone ? { _ in true } : nil
            )
        }
        let whole = try #require(line(.max)).count
        let alone = try #require(line(.max, isAlone: true)).count
        #expect(alone < whole)
        #expect(try self.ahead(line(whole)) != [])
        #expect(try self.ahead(line(whole - 1)) == [])
        #expect(line(alone - 1) == nil)
    }

    @Test func `queue begins by progress alone, and nothing behind it is taken`() {
        let play = self.play(self.pools())
        #expect(play.event() != nil)
        var verdict = PolicyVerdict(id: 1, verdict: .ok)
        verdict.hook = .queue
        #expect(play.answer(verdict)?.code == .hook_not_reached)
        #expect(play.goAhead(to: .queue))
        #expect(!play.goAhead(to: .data_post))
        #expect(play.openHook == .queue)
        #expect(play.answer(verdict) == nil)
        #expect(play.replies.last?.code.rawValue == 250)
    }
}
