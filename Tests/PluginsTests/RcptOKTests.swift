import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

struct RcptOKTests {
    private static let files = [
        "me": "mx.example.org", "rcpthosts": "Example.com\n.example.net", "morercpthosts": "b.test",
    ]

    private func session(_ line: String = "rcpt_ok") async throws -> TestSession {
        let session = try await TestSession([RcptOK.self], plugins: line, files: Self.files)
        try await session.mail(from: "bob@example.org")
        return session
    }

    @Test(arguments: [
        "a@example.com", "a@EXAMPLE.COM", "a@mx.example.org", "a@x.example.net",
        "a@y.x.example.net", "a@b.test", "Postmaster",
    ])
    func `a recipient of a local domain is accepted`(recipient: String) async throws {
        #expect(try await self.session().rcpt(to: recipient) == .ok)
    }

    @Test(arguments: [
        "a@example.net", "a@xexample.com", "a@example.com.evil.test", "a@example.org", "root",
        "a@sub.example.com",
    ])
    func `any other is refused`(recipient: String) async throws {
        let answer = try await self.session().rcpt(to: recipient)
        #expect(answer == .deny("Relaying denied", status: "5.7.1"))
    }

    @Test(arguments: ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example", ".example"])
    func `both spellings of a domain are the same domain`(line: String) async throws {
        let session = try await TestSession(
            [RcptOK.self],
            plugins: "rcpt_ok",
            files: ["me": "mx.example.org", "rcpthosts": line]
        )
        try await session.mail(from: "bob@example.org")
        for domain in ["bücher.example", "Bücher.Example", "xn--bcher-kva.example"] {
            #expect(try await session.rcpt(to: "me@\(domain)") == .ok)
        }
        #expect(try await session.rcpt(to: "me@bucher.test").verdict == .deny)
    }

    @Test(arguments: [
        "@example.com", "*.example.org", "example.net.", "/example/", "a@example.com", ".",
        "example..com", "example.com example.org", "example.com,example.org",
    ])
    func `a line that matches no domain is named`(line: String) async throws {
        for file in ["rcpthosts", "morercpthosts"] {
            let error = await #expect(throws: (any Error).self) {
                _ = try await TestSession(
                    [RcptOK.self],
                    plugins: "rcpt_ok",
                    files: ["me": "mx.example.org", file: "good.example\n\(line)"]
                )
            }
            #expect(error.map { "\($0)".contains("\(file):2") } == true)
        }
    }

    @Test func `a relay client may send to anybody`() async throws {
        let session = try await self.session()
        session.relay = true
        #expect(try await session.rcpt(to: "a@elsewhere.test") == .ok)
    }

    @Test func `a whitelisted host or sender may not`() async throws {
        let session = try await self.session()
        session.setNote(.whitelisthost, to: .int(1))
        session.setNote(.whitelistsender, to: .int(1))
        #expect(try await session.rcpt(to: "a@elsewhere.test").verdict == .deny)
    }

    @Test func `reject 0 declines, which no client can use to relay`() async throws {
        let session = try await self.session("rcpt_ok reject 0")
        #expect(try await session.rcpt(to: "a@elsewhere.test") == .declined)
    }
}
