import Glibc
import Patterns
import PolicyKit
import PolicyKitTesting
import Synchronization
import Testing

@testable import StandardPlugins

struct ClamdReplyTests {
    @Test(arguments: [
        ("stream: OK\0", VirusFinding.clean), ("stream: OK\n", .clean), ("stream: OK", .clean),
        ("fd[12]: OK\0", .clean), ("instream(127.0.0.1@1234): OK\0", .clean),
        ("stream: Eicar-Test-Signature FOUND\0", .infected("Eicar-Test-Signature")),
        ("fd[9]: Win.Test(0a1b:68) FOUND\0", .infected("Win.Test(0a1b:68)")),
        ("stream: a\u{1}b  c FOUND\0", .infected("a?b c")),
        (
            "stream: " + String(repeating: "x", count: 300) + " FOUND\0",
            .infected(String(repeating: "x", count: 200))
        ),
    ])
    func `a reply is read`(text: String, finding: VirusFinding) {
        #expect(ClamdReply.finding(Array(text.utf8)) == finding)
    }

    @Test(arguments: [
        "", "\0", "OK\0", "INSTREAM size limit exceeded. ERROR\0", "UNKNOWN COMMAND\0",
        "stream: \0",
        "stream:  FOUND\0", "stream: FOUND\0", "other: OK\0", "stream: OKAY\0", "stream: x ERROR\0",
        "stream: OK FOUNDX\0", "HTTP/1.1 400 Bad Request\r\n",
    ])
    func `what is no verdict is a failure`(text: String) {
        guard case .failed(let reason) = ClamdReply.finding(Array(text.utf8)) else {
            Issue.record("\(text) is a verdict")
            return
        }
        #expect(reason.hasPrefix("clamd says "))
    }

    @Test func `a damaged reply is never clean`() {
        var generator = SystemRandomNumberGenerator()
        let octets = Array("stream: Eicar-Test-Signature FOUND\0".utf8)
        for _ in 0..<5_000 {
            var damaged = octets
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                damaged[Int.random(in: damaged.indices, using: &generator)] = .random(
                    in: 0...255,
                    using: &generator
                )
            }
            let cut = Int.random(in: 0...damaged.count, using: &generator)
            #expect(ClamdReply.finding(Array(damaged[..<cut])) != .clean)
        }
    }

    @Test(arguments: [0, 1, 262_144, 262_145, 600_000])
    func `a message goes in chunks`(count: Int) {
        let octets = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        var rest = VirusClamdscan.request(octets)[...]
        #expect(rest.starts(with: "zINSTREAM\0".utf8))
        rest = rest.dropFirst(10)
        var taken: [UInt8] = []
        while rest.count >= 4 {
            let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(4)
            if length == 0 { break }
            taken += rest.prefix(length)
            rest = rest.dropFirst(length)
        }
        #expect(taken == octets && rest.isEmpty)
    }
}

struct VirusClamdscanTests {
    private static let message =
        "From: a@b.test\r\nX-Virus-Found: No\r\nX-Virus-Checked: forged\r\n\r\nhi\r\n"
    private static let found = "stream: Eicar-Test FOUND\0"

    private final class Requests: Sendable {
        let list = Mutex<[String]>([])
    }

    /// A clamd that knows INSTREAM alone.
    private func clamd(
        _ reply: String,
        unixPath: String? = nil,
        _ requests: Requests = Requests()
    ) throws -> TestServer {
        try TestServer(unixPath: unixPath) { connection in
            let command = connection.read(8)
            guard command + connection.read(command.last == 0 ? 0 : 2) == Array("zINSTREAM\0".utf8)
            else { return connection.write("UNKNOWN COMMAND\0") }
            var message: [UInt8] = []
            while true {
                let length = connection.read(4).reduce(0) { $0 << 8 | Int($1) }
                if length == 0 { break }
                message += connection.read(length)
            }
            requests.list.withLock { $0.append(String(decoding: message, as: UTF8.self)) }
            connection.write(reply)
        }
    }

    private func session(_ line: String) async throws -> TestSession {
        let session = try await TestSession(
            [VirusClamdscan.self],
            plugins: line,
            files: ["me": "mx.example.org\n"]
        )
        try await session.mail(from: "bob@example.net")
        return session
    }

    private func line(
        _ server: TestServer,
        _ arguments: String = "",
        name: String = "clamdscan"
    ) -> String {
        guard case .tcp(let host, let port) = server.address else { return "" }
        return "virus/\(name) \(arguments) clamd_host \(host) clamd_port \(port)"
    }

    private static let checked = "X-Virus-Checked: Checked by ClamAV on mx.example.org"

    private func fields(_ session: TestSession) -> [String] {
        session.headers.map { "\($0.name):\($0.value)" }
    }

    @Test func `a clean message passes, and no field can be forged`() async throws {
        let requests = Requests()
        let clamd = try self.clamd("stream: OK\0", requests)
        defer { clamd.stop() }
        let session = try await self.session(self.line(clamd))
        #expect(try await session.message(Self.message) == .declined)
        #expect(self.fields(session) == [Self.checked, "From: a@b.test"])
        #expect(requests.list.withLock { $0 } == [Self.message])
        await session.stop()
    }

    @Test(arguments: [
        ("clamdscan", "", Answer.deny("Virus found: Eicar-Test", status: "5.7.1")),
        ("clamdscan", "reject_type temp", .denysoft("Virus found: Eicar-Test", status: "4.7.1")),
        ("clamdscan", "deny_viruses no", .declined), ("clamdscan", "reject naughty", .declined),
        ("clamav", "", .deny("Virus found: Eicar-Test", status: "5.7.1")),
        (
            "clamav", "action=reject max_size=1000",
            .deny("Virus found: Eicar-Test", status: "5.7.1")
        ),
        ("clamav", "action=add-header back_compat clamscan_path=/x", .declined),
    ])
    func `a virus is refused or marked`(
        name: String,
        arguments: String,
        expected: Answer
    ) async throws {
        let clamd = try self.clamd(Self.found)
        defer { clamd.stop() }
        let session = try await self.session(self.line(clamd, arguments, name: name))
        #expect(try await session.message(Self.message) == expected)
        #expect(session.note(.virus) == "Eicar-Test")
        #expect(session.note(.karma) == -1)
        #expect((session.note(.naughty) != nil) == arguments.contains("naughty"))
        #expect(
            self.fields(session) == [
                "X-Virus-Found: Yes", "X-Virus-Details: Eicar-Test", Self.checked, "From: a@b.test",
            ]
        )
        await session.stop()
    }

    @Test(arguments: [
        ("max_size 1", String(repeating: "x", count: 1_100)), ("scan_all no", "x"),
        ("relayclient skip", "x"),
    ])
    func `what is not to be scanned is not sent`(arguments: String, body: String) async throws {
        let requests = Requests()
        let clamd = try self.clamd(Self.found, requests)
        defer { clamd.stop() }
        let session = try await self.session(self.line(clamd, arguments))
        session.relay = arguments.contains("relayclient")
        let type = arguments.contains("scan_all") ? "Content-Type: Text/Plain\r\n" : ""
        #expect(try await session.message("From: a@b.test\r\n\(type)\r\n\(body)\r\n") == .declined)
        #expect(requests.list.withLock { $0.isEmpty })
        session.relay = false
        let multipart =
            "From: a@b.test\r\nContent-Type:\r\n MULTIPART/mixed; boundary=x\r\n\r\nx\r\n"
        #expect(try await session.message(multipart).verdict == .deny)
        await session.stop()
    }

    @Test func `relay clients are scanned as well`() async throws {
        let clamd = try self.clamd(Self.found)
        defer { clamd.stop() }
        let session = try await self.session(self.line(clamd))
        session.relay = true
        #expect(try await session.message(Self.message).verdict == .deny)
        await session.stop()
    }

    @Test(arguments: [
        "", "garbage", "INSTREAM size limit exceeded. ERROR\0",
        String(repeating: "x", count: 10_000),
    ])
    func `without an answer the message is put off, or goes on unchecked`(
        reply: String
    ) async throws {
        let clamd = try self.clamd(reply)
        defer { clamd.stop() }
        let deferring = try await self.session(self.line(clamd))
        let answer = try await deferring.message(Self.message)
        #expect(answer.verdict == .denysoft && answer.reply?.status == "4.7.1")
        #expect(deferring.headers.count == 1)
        for (name, arguments) in [
            ("clamdscan", "defer_on_error no"), ("clamav", "declined_on_fail"),
        ] {
            let passing = try await self.session(self.line(clamd, arguments, name: name))
            #expect(try await passing.message(Self.message) == .declined)
            // What the sender wrote does not pass for a scanner's word.
            #expect(passing.headers.count == 1)
            await passing.stop()
        }
        await deferring.stop()
    }

    @Test(arguments: ["127.0.0.1 clamd_port 1", "/nonexistent/clamd"])
    func `a clamd that is not there is a failure`(place: String) async throws {
        let argument = place.hasPrefix("/") ? "clamd_socket" : "clamd_host"
        let session = try await self.session("virus/clamdscan \(argument) \(place)")
        #expect(try await session.message(Self.message).verdict == .denysoft)
        await session.stop()
    }

    @Test(arguments: [true, false])
    func `a slow clamd costs its time and no more`(isLocal: Bool) async throws {
        let folder = try ScratchFolder()
        let path = "\(folder.path)/clamd"
        let clamd = try TestServer(unixPath: isLocal ? path : nil) { $0.waitForEnd() }
        defer { clamd.stop() }
        let line = isLocal ? "virus/clamdscan clamd_socket \(path)" : self.line(clamd)
        let session = try await self.session(line + " timeout 300ms")
        let start = ContinuousClock.now
        #expect(try await session.message(Self.message).verdict == .denysoft)
        #expect(ContinuousClock.now - start < .seconds(30))
        await session.stop()
    }

    @Test func `a clamd that takes no file is sent the octets`() async throws {
        let folder = try ScratchFolder()
        let requests = Requests()
        let path = "\(folder.path)/clamd"
        let clamd = try self.clamd(Self.found, unixPath: path, requests)
        defer { clamd.stop() }
        for arguments in ["", " fildes no"] {
            let session = try await self.session("virus/clamdscan clamd_socket \(path)" + arguments)
            #expect(try await session.message(Self.message).verdict == .deny)
            await session.stop()
        }
        #expect(requests.list.withLock { $0 } == [Self.message, Self.message])
        #expect(clamd.connections == 3)
    }

    @Test(arguments: [
        "clamdscan clamd_socket x", "clamdscan clamd_socket /x clamd_host h",
        "clamdscan clamd_port 0",
        "clamdscan max_size 0", "clamdscan action=reject", "clamav action=burn",
        "clamav max_size=x",
        "clamdscan deny_viruses maybe", "clamav nonsense=1", "clamdscan clamd_host a/b",
    ])
    func `a wrong argument is an error at start`(line: String) async {
        await #expect(throws: PluginProblems.self) {
            _ = try await TestSession([VirusClamdscan.self], plugins: "virus/\(line)")
        }
    }
}

struct VirusCommandTests {
    /// A scanner of messages that say themselves what it is to do: `exit N`, `say TEXT`, `sleep`, `kill`, `flood`.
    private static let script = """
        #!/bin/sh
        while read -r verb rest; do
            verb=$(printf %s "$verb" | tr -d '\\r')
            rest=$(printf %s "$rest" | tr -d '\\r')
            case "$verb" in
                exit) exit "$rest" ;;
                say) echo "$rest" ;;
                sleep) sleep 60 ;;
                kill) kill -9 $$ ;;
                flood) yes ;;
            esac
        done <"$2"
        exit 0
        """

    private let folder: ScratchFolder
    private var scanner: String { "\(self.folder.path)/scan" }

    init() throws {
        self.folder = try ScratchFolder()
        try self.folder.writeProgram(Self.script, "scan")
    }

    private func session(_ arguments: String) async throws -> TestSession {
        let session = try await TestSession(
            [VirusCommand.self],
            plugins: "virus/command command \"\(self.scanner) $HOME;x %f\" \(arguments)",
            files: ["me": "mx.example.org\n"]
        )
        try await session.mail(from: "bob@example.net")
        return session
    }

    @Test(arguments: [
        ("", "", Answer.declined), ("exit 0", "", .declined),
        ("exit 1", "", .deny("Virus found: unnamed", status: "5.7.1")),
        (
            "say x: Bad.Thing FOUND\r\nexit 1", "pattern \": (.*) FOUND\"",
            .deny("Virus found: Bad.Thing", status: "5.7.1")
        ),
        (
            "say infected with EICAR", "infected none pattern \"infected with (\\S+)\"",
            .deny("Virus found: EICAR", status: "5.7.1")
        ),
        ("say infected", "pattern INFECTED", .deny("Virus found: infected", status: "5.7.1")),
        ("exit 3", "infected 3,4", .deny("Virus found: unnamed", status: "5.7.1")),
        ("exit 2", "clean 0,2", .declined), ("exit 1", "deny_viruses no", .declined),
        ("exit 1", "reject_type temp", .denysoft("Virus found: unnamed", status: "4.7.1")),
        ("exit 2", "defer_on_error no", .declined),
    ])
    func `exit code and words tell what was found`(
        orders: String,
        arguments: String,
        expected: Answer
    ) async throws {
        let session = try await self.session(arguments)
        let answer = try await session.message("From: a@b.test\r\n\r\n\(orders)\r\n")
        #expect(answer == expected)
        await session.stop()
    }

    @Test(arguments: ["exit 2", "kill", "flood", "sleep"])
    func `what says nothing puts the message off`(orders: String) async throws {
        let session = try await self.session(orders == "sleep" ? "timeout 300ms" : "")
        let start = ContinuousClock.now
        let answer = try await session.message("From: a@b.test\r\n\r\n\(orders)\r\n")
        #expect(answer.verdict == .denysoft && answer.reply?.status == "4.7.1")
        #expect(ContinuousClock.now - start < .seconds(30))
        #expect(session.headers.count == 1)
        await session.stop()
    }

    @Test(arguments: [
        "", "command scan", "command /nonexistent/scan\\ %f", "command /bin/true",
        "command \"/bin/true %f\" pattern (",
        "command \"/bin/true %f\" clean 0 infected 0", "command \"/bin/true %f\" clean 256",
        "command \"/bin/true %f\" infected x", "command \"/nonexistent %f\"",
    ])
    func `a wrong argument is an error at start`(arguments: String) async {
        await #expect(throws: PluginProblems.self) {
            _ = try await TestSession([VirusCommand.self], plugins: "virus/command \(arguments)")
        }
    }
}

struct PatternGroupTests {
    @Test(arguments: [
        ("b+", "abbc", "bb"), ("a(b+)", "abbc", "bb"), ("a(b)(c)", "abc", "b"),
        ("a(x)?b", "ab", ""),
        ("(a)|(b)", "b", ""), ("z", "abc", nil), ("a()", "abc", ""),
    ])
    func `the first group is found, or all`(source: String, subject: String, found: String?) throws
    {
        let match = try Pattern(source).firstMatch(in: Array(subject.utf8))
        #expect(match == found.map { Array($0.utf8) })
    }

    @Test func `a pattern that would take for ever is given up`() throws {
        let pattern = try Pattern("(a+)+$")
        #expect(throws: PatternError.self) {
            try pattern.firstMatch(in: [UInt8](repeating: 0x61, count: 50) + [0x62])
        }
    }
}
