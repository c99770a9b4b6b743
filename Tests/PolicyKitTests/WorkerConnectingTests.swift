import Foundation
import PolicyKit
import Testing

/// When a worker dials, comes back and leaves.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct WorkerConnectingTests {
    private func rcpt(_ id: Int, _ address: String) -> [String: Any] {
        FakeFrontend.event(id, "rcpt", ["recipient": FakeFrontend.recipient(address)])
    }

    @Test func `a worker under test is gone with its test`() throws {
        weak var kept: WorkerUnderTest?
        var folder = ""
        do {
            let worker = try WorkerUnderTest()
            folder = worker.folder
            kept = worker
            #expect(kept != nil)
        }
        #expect(kept == nil)
        #expect(!FileManager.default.fileExists(atPath: folder))
    }

    @Test func `frontends that come later, leave and come back are dialled`() async throws {
        let worker = try WorkerUnderTest()
        let first = try worker.frontend("mx1")
        try await first.welcome()
        let second = try worker.frontend("mx2")
        try await second.welcome()
        first.hangUp()
        try await first.welcome()
        try second.send(self.rcpt(1, "a@example.com"))
        #expect(try await second.next()["verdict"] as? String == "ok")
        #expect(worker.ready == 1)
    }

    @Test func `a socket without a listener is dialled until there is one`() async throws {
        let worker = try WorkerUnderTest()
        let path = "\(worker.folder)/run/pools/policy/mx1.sock"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        try await Task.sleep(for: .milliseconds(300))
        try await worker.frontend("mx1").welcome()
    }

    @Test func `a refused worker waits as long as it was told`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        _ = try await frontend.accept()
        let start = ContinuousClock.now
        try frontend.send([
            "type": "reject", "code": "quarantined", "message": "later", "retry_ms": 400,
        ])
        try await frontend.welcome()
        #expect(start.duration(to: .now) >= .milliseconds(400))
        #expect(worker.ready == 1)
    }

    @Test func `draining answers what crossed on the wire and what is under way`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(self.rcpt(1, "short@example.com"))
        try await worker.drain()
        let messages = [try await frontend.next(), try await frontend.next()]
        #expect(Set(messages.map { $0["type"] as? String }) == ["drain", "verdict"])
        try frontend.send([self.rcpt(2, "a@example.com"), ["type": "drain", "reason": "agreed"]])
        #expect(try await frontend.next()["id"] as? Int == 2)
        #expect(try await frontend.next()["type"] as? String == "bye")
        #expect(try await frontend.nextOrEnd() == nil)
        await worker.end()
        #expect(worker.ended == 1)
    }

    @Test func `a frontend that drains gets its answers, and is dialled again`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send([self.rcpt(1, "short@example.com"), ["type": "drain", "reason": "stop"]])
        #expect(try await frontend.next()["type"] as? String == "drain")
        #expect(try await frontend.next()["id"] as? Int == 1)
        #expect(try await frontend.next()["type"] as? String == "bye")
        #expect(try await frontend.nextOrEnd() == nil)
        try await frontend.welcome()
    }

    @Test func `draining cancels what is still at work at the end of its time`() async throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try await frontend.welcome()
        try frontend.send(self.rcpt(1, "sleep@example.com"))
        try await worker.drain(within: .milliseconds(50))
        #expect(try await frontend.next()["type"] as? String == "drain")
        try frontend.send(["type": "drain", "reason": "agreed"])
        #expect(try await frontend.next()["code"] as? String == "cancelled")
        #expect(try await frontend.next()["type"] as? String == "bye")
    }

    @Test func `a worker without a frontend ends at once`() async throws {
        let worker = try WorkerUnderTest()
        try await Task.sleep(for: .milliseconds(50))
        try await worker.drain()
        await worker.end()
        #expect(worker.ended == 1)
    }
}
