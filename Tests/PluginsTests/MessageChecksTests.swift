import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

struct HeadersTests {
    /// 2024-11-23 00:31:09 UTC, the time of a test session.
    private static let now = "Sat, 23 Nov 2024 00:31:09 +0000"

    private func answer(
        _ header: String,
        _ line: String = "headers",
        relay: Bool = false
    ) async throws -> Answer {
        let session = try await TestSession([Headers.self], plugins: line)
        session.relay = relay
        try await session.mail(from: "bob@example.net")
        return try await session.message(header)
    }

    @Test func `a message with what RFC 5322 wants passes`() async throws {
        let answer = try await self.answer("From: a@b\r\nDate: \(Self.now)\r\n\r\nhi\r\n")
        #expect(answer == .declined)
    }

    @Test(arguments: [
        ("", "The message has no header"),
        ("Subject: x\r\n\r\n", "We require a From header"),
        ("\r\nonly a body\r\n", "The message has no header"),
        ("Received: x\r\n\r\n", "The message has no header"),
        ("From: a@b\r\nFROM: c@d\r\n\r\n", "Only one From header allowed"),
        ("From: a@b\r\nSubject: x\r\nsubject: y\r\n\r\n", "Only one Subject header allowed"),
    ])
    func `what is missing or double is named`(message: String, text: String) async throws {
        #expect(try await self.answer(message) == .deny(text, status: "5.6.0"))
    }

    @Test func `require takes a list`() async throws {
        let answer = try await self.answer("From: a@b\r\n\r\n", "headers require From,Date")
        #expect(answer.reply?.text == ["We require a Date header"])
    }

    @Test(arguments: [
        ("Sat, 23 Nov 2024 00:31:09 +0000", nil), ("26 Nov 2024 00:31:08 +0000", nil),
        ("26 Nov 24 01:31:08 +0100", nil), ("nonsense", nil),
        ("Tue, 26 Nov 2024 01:31 EST", "The Date header is too far in the future"),
        ("Fri, 01 Nov 2024 10:00:00 (noon) -0500", "The Date header is too far in the past"),
    ])
    func `future and past bound the date`(date: String, text: String?) async throws {
        let answer = try await self.answer(
            "From: a@b\r\nDate: \(date)\r\n\r\n",
            "headers future 3 past 10"
        )
        #expect(answer.reply?.text.first == text)
    }

    @Test func `relay clients are not checked, but have to send something`() async throws {
        #expect(try await self.answer("X: y\r\n\r\n", relay: true) == .declined)
        #expect(try await self.answer("", relay: true).verdict == .deny)
    }

    @Test func `reject 0 only tells`() async throws {
        #expect(try await self.answer("X: y\r\n\r\n", "check_basicheaders reject 0") == .declined)
    }
}

struct LoopTests {
    @Test(arguments: [(99, Verdict.declined), (100, .deny)])
    func `a hundred hops are too many`(hops: Int, verdict: Verdict) async throws {
        let session = try await TestSession([Loop.self], plugins: "loop")
        try await session.mail(from: "bob@example.net")
        let half = hops / 2
        let header =
            String(repeating: "Received: x\r\n", count: half)
            + String(repeating: "delivered-to: y\r\n", count: hops - half)
        let answer = try await session.message(header + "Subject: z\r\n\r\n")
        #expect(answer.verdict == verdict)
        #expect(answer.reply?.status == (verdict == .deny ? "5.4.6" : nil))
    }

    @Test func `the number can be given`() async throws {
        let session = try await TestSession([Loop.self], plugins: "check_loop 1")
        try await session.mail(from: "bob@example.net")
        #expect(try await session.message("Received: x\r\n\r\n").verdict == .deny)
    }

    @Test(arguments: [
        ("loop reject_type temp", 100, Verdict.denysoft),
        ("loop 2 reject_type temp", 2, .denysoft),
        ("loop loglevel 3", 100, .deny),
    ])
    func `the number of hops may be left out before named arguments`(
        line: String,
        limit: Int,
        verdict: Verdict
    ) async throws {
        let session = try await TestSession([Loop.self], plugins: line)
        try await session.mail(from: "a@example.net")
        let hop = "Received: by mx.example.org\r\n"
        let below = String(repeating: hop, count: limit - 1)
        #expect(try await session.message(below + "\r\n").verdict == .declined)
        #expect(try await session.message(below + hop + "\r\n").verdict == verdict)
    }

    @Test(arguments: [
        ("loop many", "argument hops is many; it must be a whole number"),
        ("loop 0 reject_type temp", "argument hops is 0; it must be a whole number"),
        ("loop reject_typ temp", "unknown argument reject_typ; allowed: <hops>, reject"),
    ])
    func `what is neither hops nor an argument is told`(line: String, start: String) async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await TestSession([Loop.self], plugins: line)
        }
        let messages = (error?.problems ?? []).map(\.message)
        #expect(messages.count == 1 && messages[0].hasPrefix(start))
    }
}

struct QueueDiscardTests {
    @Test func `every message is taken`() async throws {
        let session = try await TestSession([QueueDiscard.self], plugins: "queue/discard")
        try await session.mail(from: "bob@example.net")
        #expect(try await session.message("", at: .queue).verdict == .ok)
    }
}
