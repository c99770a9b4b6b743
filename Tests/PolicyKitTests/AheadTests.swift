import Foundation
import PolicyKit
import Synchronization
import Testing

/// A worker goes on to the hooks that an event names as ahead (protocol/README.md §6).
@Suite(.serialized, .timeLimit(.minutes(1)))
struct AheadTests {
    private static let all = ["data_post": 60_000, "queue_pre": 20_000, "queue": 50_000]

    /// An event at `hook` whose notes say what the plugin does at each hook.
    private func event(
        _ id: Int,
        _ hook: String = "data_post_headers",
        ahead: [String: Int] = AheadTests.all,
        doing: [String: String] = [:]
    ) -> [String: Any] {
        var event = FakeFrontend.event(
            id,
            hook,
            ["queue_id": "Q\(id)"],
            notes: ["session": doing, "transaction": [String: Any]()],
            transaction: FakeFrontend.transaction
        )
        event["ahead"] = ahead
        return event
    }

    private func worker() throws -> WorkerUnderTest { try WorkerUnderTest(plugins: "stager\n") }

    private func said(_ message: [String: Any]) -> String {
        ["type", "hook", "verdict"].compactMap { message[$0] as? String }.joined(separator: " ")
    }

    @Test func `hello says that it goes ahead`() async throws {
        let worker = try self.worker()
        let hello = try await worker.frontend().welcome()
        #expect(hello["ahead"] as? Bool == true)
    }

    @Test func `it goes on while it declines, and says when queue begins`() async throws {
        let worker = try self.worker()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(self.event(1))
        #expect(self.said(try await frontend.next()) == "progress queue")
        let answer = try await frontend.next()
        #expect(self.said(answer) == "verdict queue ok")
        let reply = try #require(answer["reply"] as? [String: Any])
        #expect(reply["text"] as? [String] == ["Q1"])
        #expect(await frontend.isSilent())
    }

    @Test func `of many events at once each begins queue after all are announced`() async throws {
        let worker = try self.worker()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send((1...20).map { self.event($0) })
        var said: [Int: [String]] = [:]
        for _ in 1...40 {
            let message = try await frontend.next()
            said[try #require(message["id"] as? Int), default: []].append(self.said(message))
        }
        #expect(said.count == 20)
        #expect(said.values.allSatisfy { $0 == ["progress queue", "verdict queue ok"] })
    }

    @Test(arguments: [
        ("data_post_headers", "note", "verdict declined"),
        ("data_post", "note", "verdict data_post declined"),
        ("data_post", "header", "verdict data_post declined"),
        ("data_post", "deny", "verdict data_post deny"),
        ("queue_pre", "header", "verdict queue_pre declined"),
        ("data_post", "throw", "error"),
    ])
    func `an answer with anything in it ends the way`(
        hook: String,
        act: String,
        answer: String
    ) async throws {
        let worker = try self.worker()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(self.event(1, doing: [hook: act]))
        #expect(self.said(try await frontend.next()) == answer)
        #expect(await frontend.isSilent())
    }

    @Test func `a hook that takes its time is reported, and so is the one after it`() async throws {
        let worker = try self.worker()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(self.event(1, doing: ["data_post": "wait"]))
        var said: [String] = []
        while said.last?.hasPrefix("verdict") != true {
            said.append(self.said(try await frontend.next()))
        }
        #expect(
            said == [
                "progress data_post", "progress queue_pre", "progress queue", "verdict queue ok",
            ]
        )
    }

    @Test func `the time of a hook ahead is its own`() async throws {
        let worker = try self.worker()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(self.event(1, ahead: ["data_post": 100], doing: ["data_post": "hang"]))
        #expect(self.said(try await frontend.next()) == "progress data_post")
        #expect(try await frontend.next()["code"] as? String == "deadline")
    }

    @Test func `who asks for more time asks for it at the hook that it has reached`() async throws {
        let worker = try self.worker()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(self.event(1, doing: ["data_post": "extend"]))
        #expect(self.said(try await frontend.next()) == "progress data_post")
        #expect(try await frontend.next()["extend_ms"] as? Int == 5_000)
        #expect(self.said(try await frontend.next()) == "progress queue")
        #expect(self.said(try await frontend.next()) == "verdict queue ok")
    }

    @Test func `what is taken back before queue begins is not stored`() async throws {
        let worker = try self.worker()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send([self.event(1), ["type": "cancel", "id": 1, "reason": "client_gone"]])
        #expect(self.said(try await frontend.next()) == "progress queue")
        let answer = try await frontend.next()
        #expect(self.said(answer) == "error" && answer["code"] as? String == "cancelled")
        #expect(await frontend.isSilent())
    }

    @Test func `queue does not begin before the kernel has the word that it does`() async throws {
        let worker = try self.worker()
        let frontend = try worker.frontend("mx1")
        let other = try worker.frontend("mx2")
        try await frontend.welcome()
        try await other.welcome()
        // Nobody reads the answers: they fill the socket, and wait in the worker.
        try frontend.send(
            octets: Array(repeating: Array("{\"type\":\"ping\",\"n\":1}\n".utf8), count: 40_000)
                .flatMap(\.self)
        )
        try frontend.send(self.event(777))
        // By the third answer on another connection, the loop has long read that.
        for id in 1...3 {
            try other.send(self.event(id, "queue", ahead: [:]))
            #expect(self.said(try await other.next()) == "verdict ok")
        }
        #expect(!Witness.queued.withLock { $0.contains("Q777") })
        var said = ""
        while !said.hasPrefix("progress") { said = self.said(try await frontend.next()) }
        #expect(self.said(try await frontend.next()) == "verdict queue ok")
        #expect(Witness.queued.withLock { $0.filter { $0 == "Q777" } }.count == 1)
    }

    @Test func `hooks that nobody here serves, or that it does not know, are not gone on to`()
        async throws
    {
        let worker = try self.worker()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(self.event(1, ahead: ["quantum": 5]))
        #expect(self.said(try await frontend.next()) == "verdict declined")
        var broken = self.event(2)
        broken["ahead"] = ["data_post": "soon"]
        try frontend.send(broken)
        #expect(self.said(try await frontend.next()) == "verdict declined")
    }

    @Test func `it drains when what was announced is answered`() async throws {
        let worker = try self.worker()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send([self.event(1), ["type": "drain"]])
        var said: [String] = []
        while let message = try await frontend.nextOrEnd() { said.append(self.said(message)) }
        #expect(said == ["progress queue", "drain", "verdict queue ok", "bye"])
    }
}
