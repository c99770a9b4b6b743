import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

struct IMAPLoginTests {
    /// Lines of the server, and what is done after each; the client is jo with the password secret.
    private static let dialogues: [(usesStartTLS: Bool, lines: [String], actions: [String])] = [
        (
            false,
            ["* OK ready", "* CAPABILITY IMAP4rev1 AUTH=PLAIN", "c OK", "+ ", "a OK logged in"],
            ["c CAPABILITY", "", "a AUTHENTICATE PLAIN", "AGpvAHNlY3JldA==", "let in"]
        ),
        (
            false,
            [
                "* ok [CAPABILITY X] hi", "* capability auth=plain", "C ok", "+",
                "A no bad password",
            ],
            ["c CAPABILITY", "", "a AUTHENTICATE PLAIN", "AGpvAHNlY3JldA==", "refused"]
        ),
        (
            true,
            ["* OK", "t OK begin", "* CAPABILITY AUTH=PLAIN", "c OK", "+ ", "* 1 EXISTS", "a OK"],
            [
                "t STARTTLS", "TLS, c CAPABILITY", "", "a AUTHENTICATE PLAIN", "AGpvAHNlY3JldA==",
                "", "let in",
            ]
        ),
        (true, ["* OK", "t NO not here"], ["t STARTTLS", "put off"]),
        (false, ["* PREAUTH welcome"], ["put off"]), (false, ["* BYE busy"], ["put off"]),
        (false, ["220 mx ESMTP"], ["put off"]), (false, [""], ["put off"]),
        // Without the mechanism, and before TLS, no password is sent.
        (false, ["* OK", "* CAPABILITY LOGINDISABLED", "c OK"], ["c CAPABILITY", "", "put off"]),
        (false, ["* OK", "c OK"], ["c CAPABILITY", "put off"]),
        (false, ["* OK", "c BAD"], ["c CAPABILITY", "put off"]),
        // OK before the password was sent.
        (
            false, ["* OK", "* CAPABILITY AUTH=PLAIN", "c OK", "a OK"],
            ["c CAPABILITY", "", "a AUTHENTICATE PLAIN", "put off"]
        ),
    ]

    @Test(arguments: dialogues.indices)
    func `a dialogue goes as the RFC says`(index: Int) {
        let (usesStartTLS, lines, actions) = Self.dialogues[index]
        var login = IMAPLogin(user: "jo", password: "secret", usesStartTLS: usesStartTLS)
        let done = lines.map { line -> String in
            let action = login.receive(Array(line.utf8))
            guard action == .startTLS else { return Self.text(action) }
            return "TLS, \(Self.text(login.encrypted()))"
        }
        #expect(done == actions)
    }

    @Test(arguments: [
        ("NO", "refused"), ("NO [AUTHENTICATIONFAILED] x", "refused"), ("NO [EXPIRED]", "refused"),
        ("NO [UNAVAILABLE] later", "put off"), ("NO [inuse]", "put off"), ("NO [LIMIT]", "put off"),
        ("NO [SERVERBUG]", "put off"), ("BAD", "put off"), ("OK", "let in"), ("MAYBE", "put off"),
    ])
    func `the tagged answer decides`(answer: String, expected: String) {
        var login = IMAPLogin(user: "jo", password: "secret", usesStartTLS: false)
        for line in ["* OK", "* CAPABILITY AUTH=PLAIN", "c OK", "+ "] {
            _ = login.receive(Array(line.utf8))
        }
        #expect(login.receive(Array("x \(answer)".utf8)) == nil)
        #expect(Self.text(login.receive(Array("a \(answer)".utf8))) == expected)
        #expect(login.receive(Array("a OK".utf8)) == nil)
    }

    @Test func `what comes between STARTTLS and the handshake is an attack`() {
        var login = IMAPLogin(user: "jo", password: "secret", usesStartTLS: true)
        _ = login.receive(Array("* OK".utf8))
        #expect(login.receive(Array("t OK".utf8)) == .startTLS)
        #expect(Self.text(login.receive(Array("* CAPABILITY AUTH=PLAIN".utf8))) == "put off")
        #expect(login.encrypted() == nil)
    }

    private static func text(_ action: IMAPLogin.Action?) -> String {
        switch action {
        case nil: ""
        case .send(let octets): String(decoding: octets.dropLast(2), as: UTF8.self)
        case .startTLS: "TLS"
        case .end(.letIn): "let in"
        case .end(.refused): "refused"
        case .end(.putOff): "put off"
        }
    }
}

struct AuthIMAPTests {
    private func session(_ server: TestServer, _ arguments: String) async throws -> TestSession {
        let address = "\(server.address)".split(separator: ":")
        return try await TestSession(
            [AuthIMAP.self],
            plugins: "auth/auth_imap host \(address[0]) port \(address[1]) \(arguments)"
        )
    }

    /// Knows jo with the password secret.
    private static func serve(_ connection: TestServer.Connection) {
        connection.write("* OK ready\r\n")
        while let line = connection.readLine() {
            switch line {
            case "c CAPABILITY\r\n":
                connection.write("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nc OK\r\n")
            case "a AUTHENTICATE PLAIN\r\n": connection.write("+ \r\n")
            case "AGpvAHNlY3JldA==\r\n": connection.write("a OK\r\n")
            default: connection.write("a NO [AUTHENTICATIONFAILED]\r\n")
            }
        }
    }

    @Test func `the server's answer is the client's`() async throws {
        let server = try TestServer { Self.serve($0) }
        defer { server.stop() }
        let session = try await self.session(server, "tls none")
        #expect(try await session.auth("jo", .password("secret")) == .ok)
        #expect(try await session.auth("jo", .password("Secret")) == .deny)
        #expect(try await session.auth("al", .password("secret"), mechanism: "LOGIN") == .deny)
        let response = LoginProof.cramMD5(password: "secret", challenge: "<1@mx>")
        #expect(try await session.auth("jo", response) == .declined)
    }

    @Test(arguments: ["", "* OK ready\r\n", "* BYE\r\n", String(repeating: "x", count: 9_000)])
    func `a server that is silent, ends or babbles puts the login off`(words: String) async throws {
        let server = try TestServer { connection in
            connection.write(words)
            while connection.readLine() != nil {}
        }
        defer { server.stop() }
        let session = try await self.session(server, "tls none timeout 200ms")
        #expect(try await session.auth("jo", .password("secret")) == .denysoft)
    }

    @Test(arguments: ["tls implicit tls_name localhost", "tls starttls tls_name localhost"])
    func `a server without TLS gets no password`(arguments: String) async throws {
        let server = try TestServer { Self.serve($0) }
        defer { server.stop() }
        let session = try await self.session(server, arguments + " timeout 1s")
        #expect(try await session.auth("jo", .password("secret")) == .denysoft)
    }

    @Test func `without a server the login is put off`() async throws {
        let server = try TestServer { _ in }
        server.stop()
        let session = try await self.session(server, "tls none")
        #expect(try await session.auth("jo", .password("secret")) == .denysoft)
    }

    @Test(arguments: ["port 0", "host 192.0.2.1", "host a_b/c tls none", "tls may", "at_once 0"])
    func `arguments that are wrong keep the worker from starting`(arguments: String) async throws {
        await #expect(throws: PluginProblems.self) {
            try await TestSession([AuthIMAP.self], plugins: "auth/auth_imap \(arguments)")
        }
    }
}
