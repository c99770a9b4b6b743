import Glibc
import NIOCore
import NIOPosix
import PolicyKit
import PolicyKitTesting
import Synchronization
import Testing

@testable import StandardPlugins

@Suite struct RcptVerifyTests {
    private static let putOff = Answer.denysoft(
        "The recipient cannot be verified now, try again later",
        code: 450,
        status: "4.1.1"
    )
    private static let missing = Answer.deny(
        "No mailbox by that name",
        code: 550,
        status: "5.1.1"
    )
    private static let files = ["me": "mx.example.org", "rcpthosts": "example.com\n.example.net"]

    private let scratch: ScratchFolder

    init() throws { self.scratch = try ScratchFolder() }

    private func session(
        _ line: String,
        files: [String: String] = Self.files
    ) async throws -> TestSession {
        let session = try await TestSession(
            [RcptVerify.self],
            plugins: "rcpt_verify \(line)",
            files: files
        )
        try await session.mail(from: "bob@example.net")
        return session
    }

    private func session(_ hop: TestServer, _ arguments: String = "") async throws -> TestSession {
        try await self.session("smtp \(hop.address) timeout 60 \(arguments)")
    }

    // MARK: Call-forward

    @Test(arguments: [
        ("250 2.1.5 ok", Answer.declined), ("251 2.1.5 will forward", .declined),
        ("252 cannot tell", .declined), ("550 5.1.1 <x>: <script>", Self.missing),
        ("550 no such user", Self.missing),
        ("554 5.1.1 none", .deny("No mailbox by that name", code: 554, status: "5.1.1")),
        ("553 5.1.3 none", .deny("No mailbox by that name", code: 553, status: "5.1.3")),
        ("552 5.2.2 full", .deny("The mailbox is full", code: 552, status: "5.2.2")),
        ("550 5.2.1 off", .deny("The mailbox is disabled", code: 550, status: "5.2.1")),
        (
            "550-5.7.1 not\r\n550 5.7.1 you",
            .deny("The mail server of this recipient refuses it", code: 550, status: "5.7.1")
        ),
        // A status of another class, or none, is text.
        ("550 4.1.1 odd", Self.missing), ("550 5.1 odd", Self.missing),
        ("450 4.2.1 later", Self.putOff), ("452 4.5.3 many", Self.putOff),
        // These are about the command, or about us.
        ("421 4.3.2 closing", Self.putOff), ("500 what?", Self.putOff),
        ("503 5.5.1 MAIL first", Self.putOff), ("530 5.7.0 AUTH first", Self.putOff),
        ("555 5.5.4 parameters", Self.putOff), ("334 odd", Self.putOff), ("2x0", Self.putOff),
        ("", Self.putOff),
    ])
    func `the reply to RCPT tells`(reply: String, answer: Answer) async throws {
        let hop = try newHop { _, command in
            command.hasPrefix("RCPT") ? reply.isEmpty ? .last("") : .said(reply + "\r\n") : .taken
        }
        defer { hop.stop() }
        let session = try await self.session(hop)
        #expect(try await session.rcpt(to: "jo@example.com") == answer)
        #expect(session.note(.karma) == (answer.verdict == .deny ? -1 : nil))
    }

    @Test(arguments: ["450 4.7.0 later", "550 5.7.1 not you", "421 4.3.2 closing", ""])
    func `a refusal of MAIL says nothing of the recipient`(reply: String) async throws {
        let hop = try newHop { _, command in
            command.hasPrefix("MAIL") ? reply.isEmpty ? .last("") : .said(reply + "\r\n") : .taken
        }
        defer { hop.stop() }
        let session = try await self.session(hop)
        #expect(try await session.rcpt(to: "jo@example.com") == Self.putOff)
        #expect(session.note(.karma) == nil)
    }

    @Test func `one connection serves many recipients, and no message is begun`() async throws {
        var rules = FakeHop.Rules()
        rules.replies = [("RCPT TO:<no", "550 5.1.1 no\r\n")]
        let hop = try FakeHop(rules)
        defer { hop.server.stop() }
        let session = try await self.session(hop.server)
        for name in ["a", "no", "b"] {
            let answer = try await session.rcpt(to: "\(name)@example.com")
            #expect(answer == (name == "no" ? Self.missing : .declined))
        }
        let asked = ["a", "no", "b"].flatMap {
            ["MAIL FROM:<>\r\n", "RCPT TO:<\($0)@example.com>\r\n", "RSET\r\n"]
        }
        // The last RSET is said after the answer.
        let expected = Array((["EHLO mx.example.org\r\n"] + asked).dropLast())
        #expect(Array(hop.commands.prefix(expected.count)) == expected)
        #expect(hop.messages.isEmpty && hop.server.connections == 1)
        await session.stop()
    }

    @Test func `LMTP, another sender, and the second server where the first is gone`() async throws
    {
        let commands = Mutex<[String]>([])
        let hop = try newHop { _, command in
            commands.withLock { $0.append(command) }
            return command.hasPrefix("RCPT") ? .said("550 5.1.1 no\r\n") : .taken
        }
        defer { hop.stop() }
        let line =
            "lmtp \(self.scratch.path)/none,\(hop.address) sender verify@example.com timeout 60"
        let session = try await self.session(line)
        #expect(try await session.rcpt(to: "jo@example.com") == Self.missing)
        let said = commands.withLock { $0.prefix(2) }
        #expect(said == ["LHLO mx.example.org\r\n", "MAIL FROM:<verify@example.com>\r\n"])
    }

    @Test func `a server without SMTPUTF8 has no such recipient`() async throws {
        var rules = FakeHop.Rules()
        rules.capabilities = ["8BITMIME"]
        let hop = try FakeHop(rules)
        defer { hop.server.stop() }
        let session = try await self.session(hop.server)
        let text = "The mail server of this recipient refuses it"
        let answer = try await session.rcpt(to: "jö@example.com")
        #expect(answer == .deny(text, code: 553, status: "5.6.7"))
    }

    // MARK: Which recipients

    @Test(arguments: [
        ("", "jo@EXAMPLE.com", true), ("", "jo@mx.example.org", true),
        ("", "jo@b.example.net", true),
        ("", "jo@example.net", false), ("", "jo@elsewhere.test", false), ("", "postmaster", false),
        ("domains elsewhere.test,.b.test", "jo@elsewhere.test", true),
        ("domains elsewhere.test,.b.test", "jo@a.b.test", true),
        ("domains elsewhere.test,.b.test", "jo@example.com", false),
        ("domains \"bücher.example\"", "jo@xn--bcher-kva.example", true),
    ])
    func `recipients of our own domains are verified`(
        arguments: String,
        recipient: String,
        isVerified: Bool
    ) async throws {
        let hop = try newHop { _, command in
            command.hasPrefix("RCPT") ? .said("550 5.1.1 no\r\n") : .taken
        }
        defer { hop.stop() }
        let session = try await self.session(hop, arguments)
        let answer = try await session.rcpt(to: recipient)
        #expect(answer == (isVerified ? Self.missing : .declined))
        #expect(hop.connections == (isVerified ? 1 : 0))
        session.relay = true
        #expect(try await session.rcpt(to: "other@example.com") == .declined)
        session.relay = false
        session.setNote(.whitelisthost, to: .int(1))
        #expect(try await session.rcpt(to: "other@example.com") == .declined)
    }

    @Test(arguments: [
        ("reject 0", Answer.declined), ("reject naughty", .declined),
        (
            "reject_type temp",
            .denysoft("No mailbox by that name", status: "4.1.1")
        ),
        (
            "reject_type disconnect",
            .denyDisconnect("No mailbox by that name", code: 550, status: "5.1.1")
        ),
    ])
    func `how a recipient is refused`(arguments: String, answer: Answer) async throws {
        let hop = try newHop { _, command in
            command.hasPrefix("RCPT") ? .said("550 5.1.1 no\r\n") : .taken
        }
        defer { hop.stop() }
        let session = try await self.session(hop, arguments)
        #expect(try await session.rcpt(to: "jo@example.com") == answer)
        #expect(session.note(.karma) == -1)
    }

    // MARK: A server that fails

    @Test(arguments: [
        ("", Self.putOff), ("on_failure accept", .declined), ("reject 0", .declined),
        ("reject naughty", Self.putOff), ("reject_type disconnect", Self.putOff),
    ])
    func `a server that cannot be reached`(arguments: String, answer: Answer) async throws {
        let session = try await self.session("lmtp \(self.scratch.path)/none \(arguments)")
        #expect(try await session.rcpt(to: "jo@example.com") == answer)
        #expect(session.note(.karma) == nil)
    }

    @Test(arguments: [
        "", "220 hop\r\n", "nonsense\r\n", "554 no service\r\n", "220-without an end\r\n",
    ])
    func `a server that is slow or lies costs its time once, not for each recipient`(
        greeting: String
    ) async throws {
        let server = try TestServer { connection in
            connection.write(greeting)
            connection.waitForEnd()
        }
        defer { server.stop() }
        let line = "smtp \(server.address) timeout 300ms rest 3600"
        let session = try await self.session(line)
        for number in 0..<100 {
            #expect(try await session.rcpt(to: "jo\(number)@example.com") == Self.putOff)
        }
        #expect(server.connections == 1)
        let again = try await self.session("smtp \(server.address) timeout 300ms rest 0")
        for _ in 0..<2 { #expect(try await again.rcpt(to: "jo@example.com") == Self.putOff) }
        #expect(server.connections == 3)
    }

    @Test func `a refusal for now of one recipient keeps nothing from the next`() async throws {
        let hop = try newHop { _, command in
            command.hasPrefix("RCPT TO:<busy") ? .said("450 4.2.1 busy\r\n") : .taken
        }
        defer { hop.stop() }
        let session = try await self.session(hop, "rest 3600")
        #expect(try await session.rcpt(to: "busy@example.com") == Self.putOff)
        #expect(try await session.rcpt(to: "jo@example.com") == .declined)
    }

    @Test func `a source rests as long as it is told`() {
        var rest = SourceRest(time: .seconds(10))
        let now = ContinuousClock.now
        #expect(!rest.isResting(at: now))
        rest.failed(at: now)
        #expect(rest.isResting(at: now + .seconds(9)) && !rest.isResting(at: now + .seconds(10)))
        rest.worked()
        #expect(!rest.isResting(at: now))
        var restless = SourceRest(time: .zero)
        restless.failed(at: now)
        #expect(!restless.isResting(at: now))
    }

    // MARK: The cache

    @Test func `what is known is kept for its time, and not asked again`() async throws {
        let hop = try FakeHop(FakeHop.Rules(replies: [("RCPT TO:<no@", "552 5.2.2 full\r\n")]))
        defer { hop.server.stop() }
        let session = try await self.session(hop.server, "cache_positive 2h cache_negative 10m")
        let full = Answer.deny("The mailbox is full", code: 552, status: "5.2.2")
        func questions() -> Int { hop.commands.count { $0.hasPrefix("RCPT") } }
        for (minutes, count) in [(0, 2), (9, 2), (11, 3), (115, 4), (121, 5)] {
            let start = 1_732_322_669_123 as Int64
            session.nowMilliseconds = start + Int64(minutes) * 60_000
            #expect(try await session.rcpt(to: "jo@example.com") == .declined)
            #expect(try await session.rcpt(to: "no@EXAMPLE.com") == full)
            #expect(questions() == count, "\(minutes)")
        }
        let entries = try await session.store.scan(prefix: "rcpt_verify/", limit: 10)
        #expect(
            Set(entries.map { "\($0.key)" }) == [
                "rcpt_verify/recipient smtp \(hop.server.address) jo@example.com",
                "rcpt_verify/recipient smtp \(hop.server.address) no@example.com",
            ]
        )
        await session.stop()
    }

    @Test func `case of the local part is the server's own`() async throws {
        let hop = try FakeHop(FakeHop.Rules(replies: [("RCPT TO:<JO@", "550 5.1.1 no\r\n")]))
        defer { hop.server.stop() }
        let session = try await self.session(hop.server)
        for _ in 0..<2 {
            #expect(try await session.rcpt(to: "JO@example.com") == Self.missing)
            #expect(try await session.rcpt(to: "jo@example.com") == .declined)
        }
        await session.stop()
    }

    @Test func `nothing is kept with a time of 0, nor of a failure`() async throws {
        let hop = try FakeHop(FakeHop.Rules(replies: [("RCPT TO:<busy", "450 later\r\n")]))
        defer { hop.server.stop() }
        let session = try await self.session(hop.server, "cache_positive 0")
        for _ in 0..<2 {
            #expect(try await session.rcpt(to: "jo@example.com") == .declined)
            #expect(try await session.rcpt(to: "busy@example.com") == Self.putOff)
        }
        #expect(hop.commands.count { $0.hasPrefix("RCPT") } == 4)
        #expect(try await session.store.scan(prefix: "rcpt_verify/", limit: 10).isEmpty)
        await session.stop()
    }

    @Test(arguments: [
        "", "exist", "exists ", "EXISTS", "missing", "missing 550", "missing 450 5.1.1",
        "missing 550 4.1.1", "missing 550 5.1", "missing 550 5.1.1 x", "missing 550 5.1.x",
        "\u{FFFD}",
    ])
    func `a record that is none counts for nothing`(record: String) async throws {
        #expect(RecipientFinding(record: Bytes(record)) == nil)
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let session = try await self.session(hop.server)
        let key = Bytes("rcpt_verify/recipient smtp \(hop.server.address) jo@example.com")
        try await session.store.set(key, to: Bytes(record), expiresIn: nil)
        #expect(try await session.rcpt(to: "jo@example.com") == .declined)
        #expect(try await session.store.get(key) == "exists")
        await session.stop()
    }

    @Test func `records are read as they are written`() {
        for finding in [
            RecipientFinding.exists, .noMailbox, .missing(code: 556, detail: "1.10"),
            .missing(code: 552, detail: "2.2"),
        ] {
            #expect(finding.record.flatMap { RecipientFinding(record: $0) } == finding)
        }
        #expect(RecipientFinding.unknown("x", isOut: true).record == nil)
    }

    // MARK: A server that takes everything

    @Test func `with probe a server that takes everything is worth nothing`() async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let session = try await self.session(hop.server, "probe yes")
        for name in ["jo", "al", "jo"] {
            #expect(try await session.rcpt(to: "\(name)@example.com") == .declined)
        }
        let asked = hop.commands.filter { $0.hasPrefix("RCPT") }
        #expect(asked.count == 1 && asked[0].hasSuffix("@example.com>\r\n"))
        #expect(asked[0].utf8.count == "RCPT TO:<12345678901234567890@example.com>\r\n".utf8.count)
        await session.stop()
    }

    @Test func `with probe a server that knows its recipients is asked`() async throws {
        let hop = try newHop { _, command in
            command.hasPrefix("RCPT") && !command.hasPrefix("RCPT TO:<jo@")
                ? .said("550 5.1.1 no\r\n") : .taken
        }
        defer { hop.stop() }
        let session = try await self.session(hop, "probe yes cache_negative 0")
        #expect(try await session.rcpt(to: "jo@example.com") == .declined)
        #expect(try await session.rcpt(to: "al@example.com") == Self.missing)
        let entries = try await session.store.scan(prefix: "rcpt_verify/probe ", limit: 10)
        #expect(
            entries.map { "\($0.key)" } == ["rcpt_verify/probe smtp \(hop.address) example.com"]
        )
        let gone = try await self.session("lmtp \(self.scratch.path)/none probe yes")
        #expect(try await gone.rcpt(to: "jo@example.com") == Self.putOff)
    }

    // MARK: HTTP

    private static func web(
        _ requests: Lines = Lines(),
        _ answer: @escaping @Sendable (String) -> String
    ) throws -> TestServer {
        try TestServer { connection in
            guard let first = connection.readLine() else { return }
            requests.append(first)
            while let line = connection.readLine(), line != "\r\n" { requests.append(line) }
            connection.write(answer(first))
        }
    }

    private static func status(_ text: String) -> String {
        "HTTP/1.1 \(text)\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    }

    @Test(arguments: [
        (200, Answer.declined), (204, .declined), (404, Self.missing), (410, Self.missing),
        (201, Self.putOff), (302, Self.putOff), (400, Self.putOff), (401, Self.putOff),
        (429, Self.putOff), (500, Self.putOff), (503, Self.putOff),
    ])
    func `the status tells`(status: Int, answer: Answer) async throws {
        let server = try Self.web { _ in Self.status("\(status) X") }
        defer { server.stop() }
        let session = try await self.session(
            "http http://\(server.address)/r?a={address} timeout 60"
        )
        #expect(try await session.rcpt(to: "jo@example.com") == answer)
    }

    @Test(arguments: [
        ("/{domain}/{local}", "a/../b?c&d%#e+f", "/example.com/a%2F..%2Fb%3Fc%26d%25%23e%2Bf"),
        ("/r?a={address}&b={local}", "jö", "/r?a=j%C3%B6%40example.com&b=j%C3%B6"),
    ])
    func `an address is one value of the URL`(
        path: String,
        local: String,
        expected: String
    ) async throws {
        let requests = Lines()
        let server = try Self.web(requests) { _ in Self.status("204 X") }
        defer { server.stop() }
        try self.scratch.write(Array("t0ken\n".utf8), "token")
        let session = try await self.session(
            "http http://\(server.address)\(path) token_file \(self.scratch.path)/token timeout 60"
        )
        #expect(try await session.rcpt(to: "\(local)@example.com") == .declined)
        #expect(requests.all.first == "GET \(expected) HTTP/1.1\r\n")
        #expect(requests.all.contains("Authorization: Bearer t0ken\r\n"))
    }

    @Test func `no octet but the unreserved ones stands in a URL by itself`() {
        for octet in UInt8.min...UInt8.max {
            let text = HTTPSource.encoded([octet])
            let scalar = Character(Unicode.Scalar(octet))
            let isPlain =
                scalar.isASCII && (scalar.isLetter || scalar.isNumber) || "-._~".contains(scalar)
            #expect((text == String(scalar)) == isPlain)
            if !isPlain {
                #expect(text.utf8.count == 3 && UInt8(text.dropFirst(), radix: 16) == octet)
            }
        }
    }

    @Test func `a local part of dots is no folder of the web server`() async throws {
        let server = try Self.web { _ in Self.status("200 X") }
        defer { server.stop() }
        let source = try await self.session("http http://\(server.address)/{local} timeout 60")
        #expect(try await source.rcpt(to: "..@example.com") == Self.missing)
        #expect(server.connections == 0)
    }

    @Test(arguments: ["", "250 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"])
    func `a web server that is gone, hangs or lies is asked once`(answer: String) async throws {
        let server = try TestServer { connection in
            while let line = connection.readLine(), line != "\r\n" {}
            connection.write(answer)
            connection.waitForEnd()
        }
        let line = "http http://\(server.address)/{address} timeout 300ms rest 3600"
        let session = try await self.session(line)
        #expect(try await session.rcpt(to: "jo@example.com") == Self.putOff)
        #expect(try await session.rcpt(to: "al@example.com") == Self.putOff)
        #expect(server.connections == 1)
        server.stop()
        let gone = try await self.session("http unix:\(self.scratch.path)/none:/{address}")
        #expect(try await gone.rcpt(to: "jo@example.com") == Self.putOff)
    }

    // MARK: Command

    private func script(_ body: String) throws -> String {
        let path = "\(self.scratch.path)/check"
        try self.scratch.write(Array("#!/bin/sh\n\(body)\n".utf8), "check")
        guard chmod(path, 0o755) == 0 else { throw ScratchFolder.Failure(path: path) }
        return path
    }

    @Test(arguments: [
        ("exit 0", Answer.declined), ("exit 1", Self.missing), ("exit 67", Self.missing),
        ("exit 2", Self.putOff), ("exit 75", Self.putOff), ("exit 111", Self.putOff),
        ("kill -9 $$", Self.putOff), ("echo no; exit 1", Self.missing),
    ])
    func `the exit status tells`(body: String, answer: Answer) async throws {
        let session = try await self.session("command \(self.script(body)) timeout 60")
        #expect(try await session.rcpt(to: "jo@example.com") == answer)
    }

    @Test(arguments: ["sleep 60", "while :; do echo no; done"])
    func `a program that hangs, or prints without end, is killed`(body: String) async throws {
        let session = try await self.session("command \(self.script(body)) timeout 300ms")
        #expect(try await session.rcpt(to: "jo@example.com") == Self.putOff)
    }

    @Test func `a program that is gone`() async throws {
        let path = try self.script("exit 0")
        let session = try await self.session("command \(path) timeout 60")
        try self.scratch.remove("check")
        #expect(try await session.rcpt(to: "jo@example.com") == Self.putOff)
    }

    @Test(
        arguments: [
            ("/x", "jo", ["/x", "jo@example.com"]),
            ("/x -a", "jo", ["/x", "-a", "jo@example.com"]),
            ("/x -d {domain}", "jo", ["/x", "-d", "example.com", "jo@example.com"]),
            ("/x {local} of {domain}", "j;$(o)`", ["/x", "j;$(o)`", "of", "example.com"]),
            ("/x --to={address} y", "-jo", ["/x", "--to=-jo@example.com", "y"]),
            ("/x -- {address}", "-jo", ["/x", "--", "-jo@example.com"]),
            ("/x {address}", "-jo", nil), ("/x", "--version", nil),
            ("/x -- {domain}", "jo x", ["/x", "--", "example.com", "jo x@example.com"]),
            ("/x {domain}-{local}", "-jo", ["/x", "example.com--jo"]),
            ("/x {local} --", "-jo", nil),
        ] as [(String, String, [String]?)]
    )
    func `an address is one word, and no option`(text: String, local: String, words: [String]?) {
        let templates = text.split(separator: " ").compactMap { RecipientTemplate(String($0)) }
        let recipient = AskedRecipient(
            address: Array("\(local)@example.com".utf8),
            local: Array(local.utf8),
            domain: Array("example.com".utf8)
        )
        #expect(CommandSource.words(templates, recipient) == words)
    }

    @Test func `an address that looks like an option is nobody's`() async throws {
        let path = try self.script("exit 0")
        let session = try await self.session("command \(path) timeout 60")
        #expect(try await session.rcpt(to: "-V@example.com") == Self.missing)
        #expect(try await session.rcpt(to: "V@example.com") == .declined)
    }

    // MARK: LDAP

    @Test func `an entry tells, and an address is one value of the filter`() async throws {
        let requests = FakeDirectory.Requests()
        let server = try FakeDirectory.server(requests) { request, id in
            guard case .search(let octets) = request else { return [] }
            let isJo = octets.contains(Array("jo".utf8)) || octets.contains(Array("*)(x=*".utf8))
            return (isJo ? FakeDirectory.entry(id, "uid=jo,o=x") : [])
                + FakeDirectory.result(0x65, id)
        }
        defer { server.stop() }
        let line = "ldap ldap://\(server.address) ldap_base o=x timeout 60"
        let session = try await self.session("\(line) ldap_filter (&(uid={local})(dc={domain}))")
        #expect(try await session.rcpt(to: "jo@example.com") == .declined)
        #expect(try await session.rcpt(to: "al@example.com") == Self.missing)
        #expect(try await session.rcpt(to: "*)(x=*@example.com") == .declined)
        guard
            case .search(let octets)? = requests.all.last(where: {
                if case .search = $0 { true } else { false }
            })
        else {
            Issue.record("no search")
            return
        }
        let parts = [("uid", "*)(x=*"), ("dc", "example.com")].map { name, value in
            FakeDirectory.value(
                0xA3,
                FakeDirectory.value(0x04, Array(name.utf8))
                    + FakeDirectory.value(0x04, Array(value.utf8))
            )
        }
        #expect(octets.contains(FakeDirectory.value(0xA0, parts[0] + parts[1])))
    }

    @Test(arguments: [1, 2, 10, 32, 50, 51, 52, 80])
    func `a directory that cannot tell`(code: Int) async throws {
        let server = try FakeDirectory.server { _, id in
            FakeDirectory.result(0x65, id, UInt8(code))
        }
        defer { server.stop() }
        let line = "ldap ldap://\(server.address) ldap_base o=x timeout 60"
        let session = try await self.session(line)
        #expect(try await session.rcpt(to: "jo@example.com") == Self.putOff)
    }

    @Test func `a directory that is gone, slow or lies is asked once`() async throws {
        for lie in ["", "HTTP/1.1 400 Bad\r\n\r\n"] {
            let server = try TestServer { connection in
                connection.write(lie)
                connection.waitForEnd()
            }
            defer { server.stop() }
            let session = try await self.session(
                "ldap ldap://\(server.address) ldap_base o=x timeout 300ms rest 3600"
            )
            for name in ["jo", "al"] {
                #expect(try await session.rcpt(to: "\(name)@example.com") == Self.putOff)
            }
            #expect(server.connections == 1)
        }
        let gone = try await self.session("ldap \(self.scratch.path)/none ldap_base o=x")
        #expect(try await gone.rcpt(to: "jo@example.com") == Self.putOff)
    }

    // MARK: Many questions at once

    @Test func `the same question at the same time is asked once`() async throws {
        let source = GatedSource()
        let questions = Self.questions(source, atOnce: 2, rest: .zero)
        let asked = AskedRecipient(inventedFor: Array("example.com".utf8))
        let findings = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<10 {
                group.addTask {
                    let finding = try await questions.finding(
                        asked,
                        key: "a",
                        within: .seconds(600)
                    )
                    #expect(finding.finding == .exists)
                    return finding.isFirst
                }
            }
            while questions.waiting(for: "a") < 10 { await Task.yield() }
            source.open()
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(findings.count { $0 } == 1 && source.count == 1)
        #expect(try await questions.finding(asked, key: "a", within: .seconds(600)).isFirst)
        #expect(source.count == 2)
    }

    private static func questions(
        _ source: GatedSource,
        atOnce: Int,
        rest: Duration
    ) -> RecipientQuestions {
        RecipientQuestions(
            source,
            atOnce: atOnce,
            rest: rest,
            on: MultiThreadedEventLoopGroup.singleton.any()
        )
    }

    @Test func `questions over the limit wait, and too many are unknown at once`() async throws {
        let source = GatedSource()
        let questions = Self.questions(source, atOnce: 1, rest: .zero)
        let asked = AskedRecipient(inventedFor: Array("example.com".utf8))
        let findings = try await withThrowingTaskGroup(of: RecipientFinding.self) { group in
            for number in 0..<20 {
                group.addTask {
                    let finding = try await questions.finding(
                        asked,
                        key: Bytes("\(number)"),
                        within: .seconds(600)
                    )
                    return finding.finding
                }
            }
            var findings: [RecipientFinding] = []
            while findings.count < 3, let finding = try await group.next() {
                findings.append(finding)
            }
            #expect(
                findings.allSatisfy { $0 == .unknown("too many questions at once", isOut: false) }
            )
            source.open()
            while let finding = try await group.next() { findings.append(finding) }
            return findings
        }
        #expect(findings.count { $0 == .exists } == 17 && source.most == 1)
    }

    @Test func `a source that does not keep its time is left alone`() async throws {
        let source = GatedSource()
        let questions = Self.questions(source, atOnce: 2, rest: .seconds(3_600))
        let asked = AskedRecipient(inventedFor: Array("example.com".utf8))
        let first = Task {
            try await questions.finding(asked, key: "a", within: .seconds(600)).finding
        }
        while source.count == 0 { await Task.yield() }
        // What the timer does when the time of a question is over.
        questions.isLate("a")
        let next = try await questions.finding(asked, key: "b", within: .seconds(600))
        #expect(
            next.finding
                == .unknown("left alone, because it failed a short time ago", isOut: false)
        )
        #expect(source.count == 1)
        source.open()
        #expect(try await first.value == .exists)
    }

    @Test func `a question has an answer when its time is over`() async throws {
        let source = GatedSource()
        let questions = Self.questions(source, atOnce: 2, rest: .seconds(3_600))
        let asked = AskedRecipient(inventedFor: Array("example.com".utf8))
        let late = try await questions.finding(asked, key: "a", within: .milliseconds(50))
        #expect(
            [
                .unknown("no answer in time", isOut: false),
                .unknown("no turn in time", isOut: false),
            ]
            .contains(late.finding)
        )
        source.open()
    }

    // MARK: Configuration

    @Test(arguments: [
        "", "dns example.com", "smtp", "smtp /socket", "smtp a,,b", "smtp a:0", "lmtp",
        "smtp a sender x", "smtp a sender <x@y>", "smtp a timeout 0", "smtp a timeout 61",
        "smtp a max_connections 0", "smtp a cache_positive x", "smtp a on_failure reject",
        "smtp a domains @example.com", "smtp a domains a,,b", "smtp a filter x",
        "smtp a probe maybe",
        "smtp a on_store_failure x", "http", "http http://a/", "http http://a/{domain}",
        "http http://a/{address}{x}", "http http://a/{address", "http ftp://a/{address}",
        "http http://{address}/", "http http://a/{address} token_file /nowhere", "command",
        "command true", "command /nowhere/true", "command /bin/{local}",
        #"command "/bin/true {x}""#,
        "ldap", "ldap a", "ldap http://a", "ldap ldap:///a ldap_base o=x", "ldap ldap://a",
        "ldap ldap://127.0.0.1 ldap_base o=x ldap_filter mail={address}",
        "ldap ldap://127.0.0.1 ldap_base o=x ldap_filter (mail=x)",
        "ldap ldap://127.0.0.1 ldap_base o=x ldap_filter (mail={address}",
        "ldap ldap://127.0.0.1 ldap_base o=x ldap_filter (mail={address})(x=y)",
        "ldap ldap://127.0.0.1 ldap_base o=x ldap_host b",
        "ldap ldap://127.0.0.1 ldap_base o=x ldap_bind_dn o=y",
    ])
    func `bad arguments keep the worker from starting`(line: String) async {
        await #expect(throws: PluginProblems.self) { try await self.session(line) }
    }

    @Test(arguments: [
        "{address}", "a{local}b{domain}c", "{local}{local}", "", "plain",
    ])
    func `a template is read whole`(text: String) throws {
        let template = try #require(RecipientTemplate(text))
        let asked = AskedRecipient(address: [0x61], local: [0x62], domain: [0x63])
        let filled = template.filled(asked) { String(decoding: $0, as: UTF8.self) }
        let expected = text.replacing("{address}", with: "a").replacing("{local}", with: "b")
            .replacing("{domain}", with: "c")
        #expect(filled == expected)
    }

    @Test func `a template with other braces is none`() {
        let letters = ["{", "}", "address", "local", "x", "{local}"]
        for first in letters {
            for second in letters {
                for third in letters {
                    let text = first + second + third
                    let rest = text.replacing("{local}", with: "").replacing("{address}", with: "")
                    let isTemplate = !rest.contains("{") && !rest.contains("}")
                    #expect((RecipientTemplate(text) != nil) == isTemplate, "\(text)")
                }
            }
        }
    }
}

/// Lines that a server saw.
private final class Lines: Sendable {
    private let list = Mutex<[String]>([])
    var all: [String] { self.list.withLock { $0 } }
    func append(_ line: String) { self.list.withLock { $0.append(line) } }
}

/// A source that answers once it is opened, whatever the deadline.
private final class GatedSource: RecipientSource {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var count = 0
        var now = 0
        var most = 0
    }

    let name = "gated"
    private let state = Mutex(State())

    /// How many questions came.
    var count: Int { self.state.withLock(\.count) }
    /// How many came at the same time.
    var most: Int { self.state.withLock(\.most) }

    func open() {
        let waiting = self.state.withLock { state in
            state.isOpen = true
            return state.waiting
        }
        for each in waiting { each.resume() }
    }

    func finding(
        _ recipient: AskedRecipient,
        until deadline: ContinuousClock.Instant
    ) async -> RecipientFinding {
        await withCheckedContinuation { continuation in
            let isOpen = self.state.withLock { state in
                state.count += 1
                state.now += 1
                state.most = max(state.most, state.now)
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
        self.state.withLock { $0.now -= 1 }
        return .exists
    }
}
