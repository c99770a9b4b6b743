import Foundation
import PolicyKit
import Synchronization
import Testing

/// A worker against a frontend that the test plays, message by message.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct WorkerTests {
    private func rcpt(_ id: Int, _ address: String, deadline: Int = 10_000) -> [String: Any] {
        FakeFrontend.event(
            id,
            "rcpt",
            ["recipient": FakeFrontend.recipient(address)],
            deadline: deadline
        )
    }

    @Test func `hello names plugins, hooks and needs, and the first welcome makes it ready`()
        async throws
    {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        let hello = try await frontend.welcome()
        #expect(hello["type"] as? String == "hello")
        #expect(hello["protocol"] as? [Int] == [1, 1])
        #expect(hello["pool"] as? String == "policy")
        #expect(hello["plugins"] as? [String] == ["first", "second", "watcher"])
        let hooks = try #require(hello["hooks"] as? [String: [String: Any]])
        #expect(Set(hooks.keys) == ["connect", "rcpt", "data", "data_post", "disconnect"])
        #expect(hooks["data_post"]?["needs"] as? [String] == ["headers"])
        #expect(hooks["data"]?["observe"] as? Bool == true)
        #expect(hooks["rcpt"]?["observe"] as? Bool != true)
        try frontend.send(["type": "ping", "n": 7])
        #expect(try await frontend.next()["n"] as? Int == 7)
        #expect(worker.ready == 1)
    }

    @Test func `plugins are asked in order and the second sees what the first did`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(FakeFrontend.event(1, "connect"))
        let answer = try await frontend.next()
        #expect(answer["verdict"] as? String == "deny")
        #expect(answer["plugin"] as? String == "second")
        let reply = try #require(answer["reply"] as? [String: Any])
        #expect(reply["text"] as? [String] == ["true client.example.net 2"])
        let trace = try #require(answer["trace"] as? [[String: Any]])
        #expect(trace.map { $0["plugin"] as? String } == ["first", "second"])
        #expect(trace.map { $0["verdict"] as? String } == ["declined", "deny"])
        let notes = try #require(answer["notes"] as? [String: [String: Any]])
        #expect(notes["session"]?["karma"] as? Int == 2)
        #expect(notes["transaction"] == nil)
        let actions = try #require(answer["actions"] as? [[String: Any]])
        #expect(actions.map { $0["op"] as? String } == ["session.relay", "session.client_name"])
    }

    @Test func `header edits of one plugin are seen, and can be taken back, by the next`()
        async throws
    {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        var transaction = FakeFrontend.transaction
        transaction["headers"] = [
            ["id": 1, "name": "From", "value": " a@b"],
            ["id": 2, "name": "X-Forged", "value": " y"],
        ]
        try frontend.send(FakeFrontend.event(1, "data_post", transaction: transaction))
        let answer = try await frontend.next()
        let reply = try #require(answer["reply"] as? [String: Any])
        #expect(reply["text"] as? [String] == ["X-First,From"])
        let actions = try #require(answer["actions"] as? [[String: Any]])
        #expect(actions.map { $0["op"] as? String } == ["header.add", "header.delete_all"])
        #expect(actions.first?["value"] as? String == " one")
    }

    @Test func `a part that was not sent is an error, not a verdict`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(FakeFrontend.event(1, "data_post", transaction: FakeFrontend.transaction))
        let answer = try await frontend.next()
        #expect(answer["type"] as? String == "error")
        #expect(answer["plugin"] as? String == "second")
        #expect(answer["started"] as? Bool == true)
        try frontend.send(FakeFrontend.event(2, "rcpt"))
        #expect(try await frontend.next()["type"] as? String == "error")
    }

    @Test func `events that come together, split or octet by octet are answered once each`()
        async throws
    {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send((1...50).map { self.rcpt($0, "a@example.com") })
        #expect(try await frontend.answers(50).count == 50)
        for octet in try FakeFrontend.line(self.rcpt(51, "a@example.com")) {
            try frontend.send(octets: [octet])
        }
        #expect(try await frontend.next()["verdict"] as? String == "ok")
        #expect(await frontend.isSilent())
    }

    @Test func `a write that fails while its lines are read ends the connection and no more`()
        async throws
    {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        frontend.stopReading()
        // Answers are sent before the end of the read, and more than one read is left by then.
        try frontend.send((1...150).map { self.rcpt($0, "a@example.com") })
        try await frontend.welcome()
        try frontend.send(self.rcpt(1, "a@example.com"))
        #expect(try await frontend.next()["verdict"] as? String == "ok")
    }

    @Test func `a quick event overtakes a slow one`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send([self.rcpt(1, "short@example.com"), self.rcpt(2, "a@example.com")])
        #expect(try await frontend.next()["id"] as? Int == 2)
        #expect(try await frontend.next()["id"] as? Int == 1)
    }

    @Test func `a plugin that throws is an error that names it`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(self.rcpt(1, "throw@example.com"))
        let answer = try await frontend.next()
        #expect(answer["type"] as? String == "error")
        #expect(answer["code"] as? String == "exception")
        #expect(answer["plugin"] as? String == "second")
        #expect(answer["message"] as? String == "I give up")
        try frontend.send(self.rcpt(2, "a@example.com"))
        #expect(try await frontend.next()["verdict"] as? String == "ok")
    }

    @Test func `a deadline cancels the plugin, and the error comes before the frontend gives up`()
        async throws
    {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        // The plugin sleeps for much longer, and its own end would be a verdict.
        try frontend.send(self.rcpt(1, "sleep@example.com", deadline: 200))
        let answer = try await frontend.next()
        #expect(answer["code"] as? String == "deadline")
        #expect(answer["plugin"] as? String == "second")
        #expect(await frontend.isSilent())
    }

    @Test func `cancel ends the plugin and is still answered`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send([
            self.rcpt(1, "sleep@example.com"),
            ["type": "cancel", "id": 1, "reason": "client_gone"],
            ["type": "cancel", "id": 99, "reason": "client_gone"],
        ])
        #expect(try await frontend.next()["code"] as? String == "cancelled")
        #expect(await frontend.isSilent())
    }

    @Test func `a plugin deaf to cancellation keeps its credit until it ends, and answers once`()
        async throws
    {
        let worker = try WorkerUnderTest(concurrency: 1)
        let frontend = try worker.frontend()
        try await frontend.welcome(concurrency: 1)
        let before = Witness.cancelled.withLock { $0 }
        try frontend.send([
            self.rcpt(1, "deaf@example.com", deadline: 100), self.rcpt(2, "a@example.com"),
        ])
        let second = try await frontend.next()
        #expect(second["id"] as? Int == 2)
        #expect(second["started"] as? Bool == false)
        #expect(try await frontend.next()["id"] as? Int == 1)
        #expect(Witness.cancelled.withLock { $0 } == before + 1)
        #expect(await frontend.isSilent())
    }

    @Test func `notifications reach who subscribed and are not answered`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        Witness.sessions.withLock { $0 = [] }
        for (hook, arguments) in [("data", [:]), ("disconnect", ["reason": "quit"])] {
            var event = FakeFrontend.event(1, hook, arguments)
            event["type"] = "notify"
            event["id"] = nil
            event["key"] = nil
            event["deadline_ms"] = nil
            try frontend.send(event)
        }
        try frontend.send(["type": "ping", "n": 1])
        #expect(try await frontend.next()["type"] as? String == "pong")
        #expect(Witness.sessions.withLock { $0 } == ["01JD9X2T5QK7 data", "01JD9X2T5QK7 quit"])
    }

    @Test func `a hook that nobody subscribed is refused without having begun`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(FakeFrontend.event(1, "quit"))
        let answer = try await frontend.next()
        #expect(answer["type"] as? String == "error")
        #expect(answer["started"] as? Bool == false)
    }

    @Test(arguments: ["nonsense", #"{"type":"event"}"#, #"{"type":"novelty"}"#, "", "[1]"])
    func `a line that is no message ends the connection with bye, and the worker dials again`(
        line: String
    ) async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(octets: Array((line + "\n").utf8))
        #expect(try await frontend.next()["type"] as? String == "bye")
        #expect(try await frontend.nextOrEnd() == nil)
        try await frontend.welcome()
    }
}
