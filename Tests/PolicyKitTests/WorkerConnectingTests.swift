import Foundation
import PolicyKit
import Testing

/// When a worker dials, comes back and leaves.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct WorkerConnectingTests {
    private func rcpt(_ id: Int, _ address: String) -> [String: Any] {
        FakeFrontend.event(id, "rcpt", ["recipient": FakeFrontend.recipient(address)])
    }

    @Test func `frontends that come later, leave and come back are dialled`() throws {
        let worker = try WorkerUnderTest()
        let first = try worker.frontend("mx1")
        try first.welcome()
        let second = try worker.frontend("mx2")
        try second.welcome()
        first.hangUp()
        try first.welcome()
        try second.send(self.rcpt(1, "a@example.com"))
        #expect(try second.next()["verdict"] as? String == "ok")
        #expect(worker.ready == 1)
    }

    @Test func `a socket without a listener is dialled until there is one`() throws {
        let worker = try WorkerUnderTest()
        let path = "\(worker.folder)/run/pools/policy/mx1.sock"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        Thread.sleep(forTimeInterval: 0.3)
        try worker.frontend("mx1").welcome()
    }

    @Test func `a refused worker waits as long as it was told`() throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        _ = try frontend.accept()
        let start = ContinuousClock.now
        try frontend.send([
            "type": "reject", "code": "quarantined", "message": "later", "retry_ms": 400,
        ])
        try frontend.welcome()
        #expect(start.duration(to: .now) >= .milliseconds(400))
        #expect(worker.ready == 1)
    }

    @Test func `draining answers what crossed on the wire and what is under way`() throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try frontend.welcome()
        try frontend.send(self.rcpt(1, "short@example.com"))
        worker.drain()
        let messages = [try frontend.next(), try frontend.next()]
        #expect(Set(messages.map { $0["type"] as? String }) == ["drain", "verdict"])
        try frontend.send([self.rcpt(2, "a@example.com"), ["type": "drain", "reason": "agreed"]])
        #expect(try frontend.next()["id"] as? Int == 2)
        #expect(try frontend.next()["type"] as? String == "bye")
        #expect(try frontend.nextOrEnd() == nil)
        Thread.sleep(forTimeInterval: 0.05)
        #expect(worker.ended == 1)
    }

    @Test func `a frontend that drains gets its answers, and is dialled again`() throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try frontend.welcome()
        try frontend.send([self.rcpt(1, "short@example.com"), ["type": "drain", "reason": "stop"]])
        #expect(try frontend.next()["type"] as? String == "drain")
        #expect(try frontend.next()["id"] as? Int == 1)
        #expect(try frontend.next()["type"] as? String == "bye")
        #expect(try frontend.nextOrEnd() == nil)
        try frontend.welcome()
    }

    @Test func `draining cancels what is still at work at the end of its time`() throws {
        let worker = try WorkerUnderTest()
        let frontend = try worker.frontend()
        try frontend.welcome()
        try frontend.send(self.rcpt(1, "sleep@example.com"))
        worker.drain(within: .milliseconds(50))
        #expect(try frontend.next()["type"] as? String == "drain")
        try frontend.send(["type": "drain", "reason": "agreed"])
        #expect(try frontend.next()["code"] as? String == "cancelled")
        #expect(try frontend.next()["type"] as? String == "bye")
    }

    @Test func `a worker without a frontend ends at once`() throws {
        let worker = try WorkerUnderTest()
        Thread.sleep(forTimeInterval: 0.05)
        worker.drain()
        Thread.sleep(forTimeInterval: 0.1)
        #expect(worker.ended == 1)
    }
}
