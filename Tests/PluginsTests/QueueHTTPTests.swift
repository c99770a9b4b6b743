import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

@Suite struct QueueHTTPTests {
    private static let again = Answer.denysoft(
        "Could not hand the message on, try again",
        code: 451,
        status: "4.3.0"
    )
    private static let message = "Subject: a\r\n\r\nb\u{FC}\r\n"

    private let scratch: ScratchFolder

    init() throws { self.scratch = try ScratchFolder() }

    private func session(_ line: String) async throws -> TestSession {
        let session = try await TestSession(
            [QueueHTTP.self, AcceptAny.self],
            plugins: "accept_any\nqueue/http \(line)"
        )
        try await session.ehlo("client.example")
        try await session.mail(from: "bob@example.net")
        try await session.rcpt(to: "alice@example.org")
        try await session.rcpt(to: "carol@example.org")
        return session
    }

    /// A server that answers its connections with these texts, the last one again and again.
    private static func server(_ answers: [String]) throws -> TestServer {
        try TestServer { connection in
            var length = 0
            while let line = connection.readLine(), line != "\r\n" {
                guard line.lowercased().hasPrefix("content-length:") else { continue }
                length = Int(line.dropFirst(15).filter(\.isNumber)) ?? 0
            }
            _ = connection.read(length)
            connection.write(answers[min(connection.number, answers.count) - 1])
        }
    }

    private static func answer(_ status: String, _ body: String = "") -> String {
        "HTTP/1.1 \(status)\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    @Test(arguments: [
        ("200 OK", Answer.ok("queued as test", code: 250, status: "2.0.0")),
        ("204 No Content", .ok("queued as test", code: 250, status: "2.0.0")),
        ("302 Found", Self.again), ("401 No", Self.again), ("407 No", Self.again),
        ("413 Large", .deny("Message too big", code: 552, status: "5.3.4")),
        ("422 No", .deny("no\nwhy?", code: 554, status: "5.3.0")),
        ("404 No", .deny("no\nwhy?", code: 554, status: "5.3.0")),
    ])
    func `the status decides`(status: String, answer: Answer) async throws {
        let body = status.hasPrefix("204") ? "" : "no\nwhy\u{1}\n"
        let server = try Self.server([Self.answer(status, body)])
        let session = try await self.session("http://\(server.address)/in")
        #expect(try await session.message(Self.message, at: .queue) == answer)
    }

    @Test(arguments: ["503 Busy", "429 Slow down", "408 Late", ""])
    func `it is tried again while there is time`(status: String) async throws {
        let first = status.isEmpty ? "" : Self.answer(status)
        let server = try Self.server([first, Self.answer("200 OK")])
        let session = try await self.session("http://\(server.address)/")
        #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        let bad = try Self.server([first])
        let short = try await self.session("http://\(bad.address)/ timeout 300ms")
        #expect(try await short.message(Self.message, at: .queue) == Self.again)
    }

    @Test func `a server that is gone, hangs or lies is for now`() async throws {
        let gone = try await self.session("unix:\(self.scratch.path)/none timeout 300ms")
        #expect(try await gone.message(Self.message, at: .queue) == Self.again)
        let hung = try TestServer { $0.waitForEnd() }
        let session = try await self.session("http://\(hung.address)/ timeout 300ms")
        #expect(try await session.message(Self.message, at: .queue) == Self.again)
        for lie in ["250 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"] {
            let server = try Self.server([lie])
            let session = try await self.session("http://\(server.address)/ timeout 300ms")
            #expect(try await session.message(Self.message, at: .queue) == Self.again)
        }
    }

    @Test func `a message that is too large is not sent`() async throws {
        let session = try await self.session("unix:/nowhere max_megabytes 1")
        let long = Self.message + String(repeating: "0123456789\r\n", count: 100_000)
        let answer = try await session.message(long, at: .queue)
        #expect(answer == .deny("Message too big to hand on", code: 552, status: "5.3.4"))
    }

    @Test func `REQUIRETLS is refused`() async throws {
        let session = try await TestSession(
            [QueueHTTP.self, AcceptAny.self],
            plugins: "accept_any\nqueue/http unix:/nowhere"
        )
        try await session.mail(from: "bob@example.net", parameters: ["REQUIRETLS"])
        try await session.rcpt(to: "alice@example.org")
        let answer = try await session.message(Self.message, at: .queue)
        #expect(answer == .deny("REQUIRETLS cannot be kept here", code: 550, status: "5.7.30"))
    }

    @Test func `codes are those of RFC 4231, test case 2`() {
        let code = MessageCode.sha256(
            of: Array("what do ya want for nothing?".utf8),
            key: Array("Jefe".utf8)
        )
        #expect(code.prefix(4) == [0x5B, 0xDC, 0xC1, 0x46] && code.count == 32)
    }

    @Test(arguments: [
        "", "ftp://a/", "http://a/ form xml", "http://a/ secret_file /nowhere",
        "http://a/ signature_field a:b", "https://127.0.0.1/", "http://a/ max_megabytes 0",
    ])
    func `bad arguments keep the worker from starting`(line: String) async {
        await #expect(throws: PluginProblems.self) { try await self.session(line) }
    }
}

private struct AcceptAny: RcptHook {
    static let name = "accept_any"
    init(configuration: PluginConfiguration) {}
    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }
}
