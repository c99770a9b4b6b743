import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

struct EarlyTalkerTests {
    private func session(_ line: String, isEarly: Bool = true) async throws -> TestSession {
        let session = try await TestSession([EarlyTalker.self], plugins: line)
        session.isEarlyTalker = isEarly
        return session
    }

    @Test func `a client that waits is let in`() async throws {
        let session = try await self.session("earlytalker", isEarly: false)
        #expect(try await session.connect() == .declined)
        #expect(session.note(.earlytalker) == nil)
    }

    @Test(arguments: ["earlytalker", "check_earlytalker", "earlytalker wait 5 action deny"])
    func `a client that speaks first is refused for good`(line: String) async throws {
        let session = try await self.session(line)
        let text = "Connecting host started transmitting before SMTP greeting"
        #expect(try await session.connect() == .deny(text, status: "5.7.1"))
        #expect(session.note(.earlytalker) == true)
        #expect(session.note(.karma) == -1)
    }

    @Test(arguments: [
        ("earlytalker reject_type temp", Verdict.denysoft),
        ("earlytalker reject_type disconnect", .deny_disconnect),
        ("earlytalker action denysoft", .denysoft),
        ("earlytalker action log", .declined),
        ("earlytalker reject 0", .declined),
        ("earlytalker reject naughty", .declined),
    ])
    func `reject and reject_type are honoured`(line: String, verdict: Verdict) async throws {
        let session = try await self.session(line)
        #expect(try await session.connect().verdict == verdict)
    }

    @Test func `naughty leaves a flag for whoever disposes of the session`() async throws {
        let session = try await self.session("earlytalker:3 reject naughty reject_type temp")
        try await session.connect()
        let flag = try #require(session.note(.naughty)?.first)
        #expect(flag.plugin == "earlytalker:3")
        #expect(flag.type == .temp)
    }

    @Test func `defer-reject lets the client in and refuses MAIL and RCPT`() async throws {
        let session = try await self.session("earlytalker defer-reject 1")
        #expect(try await session.connect() == .declined)
        #expect(try await session.mail(from: "bob@example.net").verdict == .deny)
        #expect(try await session.rcpt(to: "alice@example.com").verdict == .deny)
        #expect(session.note(.karma) == -1)
    }

    @Test func `check-at DATA asks at data alone`() async throws {
        let session = try await self.session("earlytalker check-at DATA")
        #expect(session.plugins(at: .connect).isEmpty)
        try await session.mail(from: "bob@example.net")
        #expect(try await session.data().verdict == .deny)
    }

    @Test func `relay clients and clients of good history are excused`() async throws {
        let relay = try await self.session("earlytalker")
        relay.relay = true
        #expect(try await relay.connect() == .declined)
        let known = try await self.session("earlytalker")
        known.setNote(.karmaHistory, to: 6)
        #expect(try await known.connect() == .declined)
        known.setNote(.karmaHistory, to: 5)
        #expect(try await known.connect().verdict == .deny)
    }

    @Test func `what cannot be meant is an error that names the line`() async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await self.session("# first\nearlytalker wiat 1 reject maybe check-at RCPT")
        }
        let messages = (error?.problems ?? []).map(\.message)
        #expect(messages.count == 3)
        #expect(messages.contains { $0.hasPrefix("unknown argument wiat; allowed: ") })
        #expect(messages.contains("argument reject is maybe; it must be one of 0, 1, naughty"))
        #expect(messages.contains("argument check-at is RCPT; it must be one of connect, data"))
        #expect(error?.problems.first?.line == 2)
    }
}
