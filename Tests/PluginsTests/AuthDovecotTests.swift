import PolicyKit
import PolicyKitTesting
import Synchronization
import Testing

@testable import StandardPlugins

private let hello = [
    "VERSION\t1\t2", "MECH\tPLAIN\tplaintext", "MECH\tLOGIN\tplaintext", "SPID\t17", "CUID\t3",
    "COOKIE\t0123",
    "DONE",
]

struct DovecotDialogueTests {
    private func ready() throws -> DovecotDialogue {
        var dialogue = DovecotDialogue()
        for line in hello { _ = try dialogue.receive(Array(line.utf8)) }
        return dialogue
    }

    @Test func `after DONE it is ready, and not before`() throws {
        var dialogue = DovecotDialogue()
        for line in hello.dropLast() {
            #expect(try dialogue.receive(Array(line.utf8)) == .nothing && !dialogue.isReady)
        }
        #expect(try dialogue.receive(Array("DONE".utf8)) == .ready && dialogue.isReady)
    }

    @Test(arguments: [
        ("OK\t7\tuser=jo@example.com", DovecotAnswer.letIn(user: "jo@example.com")),
        ("OK\t7\tpid=1\tuser=a\u{1}tb\u{1}1\tx", .letIn(user: "a\tb\u{1}")),
        ("OK\t7", .letIn(user: nil)),
        ("FAIL\t7\tuser=jo", .refused), ("FAIL\t7", .refused),
        ("FAIL\t7\tuser=jo\tcode=user_disabled", .refused), ("FAIL\t7\tuser=temp", .refused),
        ("FAIL\t7\tuser=jo\ttemp", .putOff), ("FAIL\t7\tuser=jo\tcode=temp_fail", .putOff),
        ("CONT\t7\t", .outOfStep),
    ])
    func `an answer says what it says`(line: String, answer: DovecotAnswer) throws {
        var dialogue = try self.ready()
        #expect(try dialogue.receive(Array(line.utf8)) == .answer(request: 7, answer))
    }

    @Test(arguments: [
        (["VERSION\t2\t0"], DovecotDialogue.Refusal.version("2")), (["VERSION"], .version("?")),
        (["VERSION\t1\t1", "SPID\t17"], .otherSocket),
        (["VERSION\t1\t1", "MECH\tCRAM-MD5", "DONE"], .noPlain),
        (["MECH\tPLAIN", "DONE"], .malformed("DONE before VERSION")),
        (["VERSION\t1\t1", "OK\t1\tuser=jo"], .malformed("OK before DONE")),
        (hello + ["OK"], .malformed("OK without a number")),
        (hello + ["OK\t-1\tuser=jo"], .malformed("OK without a number")),
        (hello + ["FAIL\t4294967296"], .malformed("FAIL without a number")),
    ])
    func `what makes no sense ends the connection`(
        lines: [String],
        refusal: DovecotDialogue.Refusal
    ) throws {
        var dialogue = DovecotDialogue()
        for line in lines.dropLast() { _ = try dialogue.receive(Array(line.utf8)) }
        let last = Array(lines.last?.utf8 ?? "".utf8)
        #expect(throws: refusal) { try dialogue.receive(last) }
    }

    @Test(arguments: ["", "\t", "NEWS\t1", "MECH\tX-NEW", "OKAY\t7"])
    func `what is not known is skipped`(line: String) throws {
        var dialogue = try self.ready()
        #expect(try dialogue.receive(Array(line.utf8)) == .nothing && dialogue.isReady)
    }

    @Test func `a request has everything in one line, and cannot begin another`() throws {
        let request = DovecotRequest(
            user: "jo\tid\n",
            password: "a\u{1}b",
            client: .init(ip: "2001:db8::1\nOK", port: 51_512),
            server: .init(ip: "192.0.2.25", port: 587),
            isEncrypted: true
        )
        let line = try #require(request.line(number: 12))
        #expect(
            String(decoding: line, as: UTF8.self)
                == "AUTH\t12\tPLAIN\tservice=smtp\tnologin\tlip=192.0.2.25\trip=2001:db8::1\u{1}nOK\tlport=587"
                + "\trport=51512\tsecured\tresp=AGpvCWlkCgBhAWI=\n"
        )
        let endless = DovecotRequest(
            user: Bytes(octets: [UInt8](repeating: 0x61, count: 8_000)),
            password: "x",
            client: .init(ip: "", port: 0),
            server: .init(ip: "", port: 0),
            isEncrypted: false
        )
        #expect(endless.line(number: 1) == nil)
    }

    @Test func `escapes are undone, also where they are cut or unknown`() {
        let all = (0...255).map { UInt8($0) }
        #expect(DovecotDialogue.unescaped(DovecotDialogue.escaped(all)[...]) == all)
        #expect(!DovecotDialogue.escaped(all).contains { [0, 9, 10, 13].contains($0) })
        #expect(DovecotDialogue.unescaped([0x61, 1]) == [0x61, 1])
        #expect(DovecotDialogue.unescaped([1, 0x78]) == [0x78])
    }
}

struct AuthDovecotTests {
    /// What the server saw: lines of all connections.
    private final class Seen: Sendable {
        private let all = Mutex<[String]>([])
        var lines: [String] { self.all.withLock { $0 } }
        func add(_ line: String) { self.all.withLock { $0.append(line) } }
    }

    private static let greeting = hello.map { $0 + "\n" }.joined()

    private func session(_ server: TestServer, _ arguments: String = "") async throws -> TestSession
    {
        try await TestSession(
            [AuthDovecot.self],
            plugins: "auth/dovecot \(server.address) \(arguments)"
        )
    }

    /// The number of an AUTH.
    private static func number(_ line: String) -> Substring? {
        line.hasPrefix("AUTH\t") ? line.split(separator: "\t")[1] : nil
    }

    @Test func `logins go over one connection, each gets its own answer`() async throws {
        let seen = Seen()
        let server = try TestServer { connection in
            seen.add("connection")
            connection.write(Self.greeting)
            while let line = connection.readLine() {
                seen.add(line)
                guard let number = Self.number(line) else { continue }
                let isRight = line.hasSuffix("resp=AGpvAHNlY3JldA==\n")
                connection.write(
                    isRight ? "OK\t\(number)\tuser=jo\n" : "FAIL\t\(number)\tuser=jo\n"
                )
            }
        }
        defer { server.stop() }
        let session = try await self.session(server)
        #expect(try await session.auth("jo", .password("secret")) == .ok)
        #expect(try await session.auth("jo", .password("Secret")) == .deny)
        #expect(try await session.auth("jo", .password("secret"), mechanism: "LOGIN") == .ok)
        let response = LoginProof.cramMD5(password: "secret", challenge: "<1@mx>")
        #expect(try await session.auth("jo", response) == .declined)
        let lines = seen.lines
        #expect(
            lines.prefix(2) == ["connection", "VERSION\t1\t1\n"] && lines[2].hasPrefix("CPID\t")
        )
        #expect(lines.count == 6 && lines[3].hasPrefix("AUTH\t1\tPLAIN\tservice=smtp\t"))
        #expect(lines[3].contains("\trip=192.0.2.1\t") && !lines[3].contains("\tsecured"))
        await session.stop()
    }

    @Test(arguments: [
        "FAIL\t1\ttemp\n", "CONT\t1\t\n", "OK\n", String(repeating: "x", count: 9_000), "",
    ])
    func `an answer that does not decide, and none, puts the login off`(answer: String) async throws
    {
        let server = try TestServer { connection in
            connection.write(Self.greeting)
            while let line = connection.readLine() {
                if Self.number(line) != nil { connection.write(answer) }
                if answer.isEmpty, Self.number(line) != nil { return }
            }
        }
        defer { server.stop() }
        let session = try await self.session(server)
        #expect(try await session.auth("jo", .password("secret")) == .denysoft)
        #expect(session.failedLogins == 0)
    }

    @Test(arguments: ["", "VERSION\t1\t1\nSPID\t1\n", "VERSION\t2\t1\n", "220 mx ESMTP\r\n"])
    func `a server that is not Dovecot's puts the login off at its deadline or before`(
        words: String
    )
        async throws
    {
        let server = try TestServer { connection in
            connection.write(words)
            while connection.readLine() != nil {}
        }
        defer { server.stop() }
        let session = try await self.session(server, "timeout 200ms")
        #expect(try await session.auth("jo", .password("secret")) == .denysoft)
        // The next login tries again.
        #expect(try await session.auth("jo", .password("secret")) == .denysoft)
    }

    @Test func `a login that gets no answer in time is taken back, and the next one is answered`()
        async throws
    {
        let seen = Seen()
        let server = try TestServer { connection in
            connection.write(Self.greeting)
            var numbers: [Substring] = []
            while let line = connection.readLine() {
                seen.add(line)
                guard let number = Self.number(line) else { continue }
                numbers.append(number)
                // Too late for the first one, whose answer would let anybody in.
                if numbers.count == 2 {
                    connection.write("OK\t\(numbers[0])\tuser=jo\nFAIL\t\(numbers[1])\n")
                }
            }
        }
        defer { server.stop() }
        let session = try await self.session(server, "timeout 300ms")
        #expect(try await session.auth("jo", .password("slow")) == .denysoft)
        #expect(try await session.auth("jo", .password("secret")) == .deny)
        #expect(seen.lines.contains("CANCEL\t1\n"))
    }

    @Test func `when Dovecot starts again, what it had not answered is asked once more`()
        async throws
    {
        let server = try TestServer { connection in
            connection.write(Self.greeting)
            while let line = connection.readLine() {
                guard let number = Self.number(line) else { continue }
                guard connection.number == 2 else { return }
                connection.write("OK\t\(number)\tuser=jo\n")
            }
        }
        defer { server.stop() }
        let session = try await self.session(server)
        #expect(try await session.auth("jo", .password("secret")) == .ok)
    }

    @Test func `without a server the login is put off`() async throws {
        let server = try TestServer { _ in }
        let address = server.address
        server.stop()
        for place in ["\(address)", "/nowhere/auth-client"] {
            let session = try await TestSession(
                [AuthDovecot.self],
                plugins: "auth/dovecot \(place)"
            )
            #expect(try await session.auth("jo", .password("secret")) == .denysoft)
        }
    }
}
