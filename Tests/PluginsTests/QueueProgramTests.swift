import Glibc
import PolicyKit
import PolicyKitTesting
import System
import Testing

@testable import StandardPlugins

/// Programs that take messages: qmail-queue, Postfix's sendmail, Exim, and any.
@Suite struct QueueProgramTests {
    private static let again = Answer.denysoft(
        "Could not hand the message on, try again",
        code: 451,
        status: "4.3.0"
    )
    private static let queued = Answer.ok("queued as test", code: 250, status: "2.0.0")
    private static let message = "Subject: a\r\n\r\n.dot\r\n\r\n.\r\nno end"

    private let scratch: ScratchFolder

    init() throws { self.scratch = try ScratchFolder() }

    /// A shell script in the folder, which is its working folder too; returns its path.
    private func program(_ script: String, _ name: String = "program") throws -> String {
        try self.scratch.writeProgram("#!/bin/sh\ncd '\(self.scratch.path)'\n\(script)\n", name)
        return "\(self.scratch.path)/\(name)"
    }

    private func session(
        _ line: String,
        _ recipients: [String] = ["alice@example.org"],
        from sender: String = "bob@example.net",
        parameters: [String] = []
    ) async throws -> TestSession {
        let session = try await TestSession(
            [
                QueueQmailQueue.self, QueuePostfixQueue.self, QueueEximBSMTP.self,
                QueueCommand.self, AcceptEach.self,
            ],
            plugins: "accept_each\n\(line)"
        )
        try await session.ehlo("client.example")
        try await session.mail(from: sender, parameters: parameters)
        for recipient in recipients { try await session.rcpt(to: recipient) }
        return session
    }

    private func text(_ name: String) throws -> String {
        String(decoding: try self.scratch.read(name), as: UTF8.self)
    }

    // MARK: qmail-queue

    @Test func `qmail-queue gets the message, then the envelope, and nothing else`() async throws {
        let path = try self.program(
            "cat >message; cat <&1 >envelope; for n in /proc/$$/fd/*; do readlink $n; done >seen; echo \"$TCPREMOTEIP $#\" >words"
        )
        let session = try await self.session(
            "queue/qmail-queue \(path)",
            ["alice@example.org", "j\u{FC}@example.org"],
            from: ""
        )
        #expect(try await session.message(Self.message, at: .queue) == Self.queued)
        #expect(try self.text("message") == "Subject: a\n\n.dot\n\n.\nno end")
        #expect(try self.text("envelope") == "F\0Talice@example.org\0Tj\u{FC}@example.org\0\0")
        #expect(try self.text("words") == "192.0.2.1 0\n")
        let own = ["pipe:", path, "\(self.scratch.path)/seen", "/dev/null"]
        let seen = try self.text("seen").split(separator: "\n")
        #expect(seen.filter { entry in !own.contains { entry.hasPrefix($0) } } == [])
    }

    @Test func `each exit code of qmail-queue is for good from 11 to 40 and else for now`()
        async throws
    {
        for code in Int32(0)...255 {
            let ending = Handover.Ending(code: code, hasTakenAll: true, output: [], messages: [])
            let answer = QueueQmailQueue.answer(ending, queueID: "test")
            let verdict: Verdict = code == 0 ? .ok : 11...40 ~= code ? .deny : .denysoft
            #expect(answer.verdict == verdict, "\(code)")
            let expected = verdict == .ok ? 250 : verdict == .deny ? 554 : 451
            #expect(answer.reply?.code == expected, "\(code)")
            #expect(answer.reply?.status?.hasPrefix("\(expected / 100).") == true, "\(code)")
        }
        let path = try self.program("cat >/dev/null; cat <&1 >/dev/null; exit $(cat code)")
        for (code, answer) in [
            (11, Answer.deny("The envelope address is too long", code: 554, status: "5.1.3")),
            (31, .deny("The mail server refuses the message", code: 554, status: "5.3.0")),
            (40, .deny("The message was refused (40)", code: 554, status: "5.3.0")),
            (53, .denysoft("The disk is full or cannot be written", code: 451, status: "4.3.0")),
            (10, Self.again), (41, Self.again), (91, Self.again), (255, Self.again),
        ] {
            try self.scratch.write(Array("\(code)".utf8), "code")
            let session = try await self.session("queue/qmail-queue \(path)")
            #expect(try await session.message(Self.message, at: .queue) == answer, "\(code)")
        }
    }

    @Test func `a signal, or an end before the envelope was read, is no acceptance`() async throws {
        let killed = try self.program("cat >/dev/null; kill -KILL $$", "killed")
        let session = try await self.session("queue/qmail-queue \(killed)")
        #expect(try await session.message(Self.message, at: .queue) == Self.again)
        let deaf = try self.program("exit 0", "deaf")
        let other = try await self.session("queue/qmail-queue \(deaf)")
        let long = Self.message + String(repeating: "0123456789\r\n", count: 100_000)
        #expect(try await other.message(long, at: .queue) == Self.again)
    }

    @Test func `one that hangs is killed, and has no end of the envelope`() async throws {
        let path = try self.program("sleep 600; cat >/dev/null; cat <&1 >envelope")
        let session = try await self.session("queue/qmail-queue \(path) timeout 300ms")
        let long = Self.message + String(repeating: "0123456789\r\n", count: 100_000)
        #expect(try await session.message(long, at: .queue) == Self.again)
        #expect(self.scratch.files(".") == ["program"])
    }

    @Test func `one that has everything and hangs is killed when the event is over`() async throws {
        let path = try self.program("cat >/dev/null; cat <&1 >/dev/null; sleep 600")
        let session = try await self.session("queue/qmail-queue \(path)")
        session.deadline = .milliseconds(2_000)
        #expect(try await session.message(Self.message, at: .queue) == Self.again)
    }

    @Test(arguments: [
        "queue/qmail-queue /nowhere/qmail-queue", "queue/qmail-queue /bin/true timeout 0",
        "queue/qmail-queue /bin/true what 1",
        "queue/postfix-queue /var/spool/postfix/public/cleanup",
        "queue/exim-bsmtp exim_path /nowhere/exim", "queue/command", "queue/command \"\"",
        "queue/command \"/bin/true %x\"", "queue/command \"/bin/true a%r\"",
        "queue/command \"/bin/true 'a\"", "queue/command /nowhere/command", "queue/command %s",
    ])
    func `what cannot work keeps the worker from starting`(line: String) async {
        await #expect(throws: PluginProblems.self) { try await self.session(line) }
    }

    @Test(arguments: ["queue/qmail-queue", "queue/postfix-queue", "queue/exim-bsmtp exim_path"])
    func `REQUIRETLS is refused`(plugin: String) async throws {
        let session = try await self.session(
            "\(plugin) /bin/cat",
            parameters: ["REQUIRETLS"]
        )
        let answer = try await session.message(Self.message, at: .queue)
        #expect(answer == .deny("REQUIRETLS cannot be kept here", code: 550, status: "5.7.30"))
    }

    // MARK: Postfix

    @Test func `Postfix's sendmail gets the envelope as arguments`() async throws {
        let path = try self.program("for w; do echo \"[$w]\"; done >words; cat >message")
        let session = try await self.session(
            "queue/postfix-queue \(path) flag_filter config /etc/other",
            ["alice@example.org", "-oQ@example.org"],
            from: "",
            parameters: ["RET=HDRS"]
        )
        #expect(try await session.message(Self.message, at: .queue) == Self.queued)
        #expect(
            try self.text("words").split(separator: "\n") == [
                "[-C]", "[/etc/other]", "[-G]", "[-i]", "[-f]", "[]", "[-R]", "[hdrs]", "[--]",
                "[alice@example.org]", "[-oQ@example.org]",
            ]
        )
        #expect(try self.text("message") == "Subject: a\n\n.dot\n\n.\nno end")
    }

    @Test(arguments: [
        (65, 554, "5.6.0"), (67, 550, "5.1.1"), (69, 554, "5.3.0"), (75, 451, "4.3.0"),
        (1, 451, "4.3.0"), (78, 451, "4.3.0"),
    ])
    func `the words of sendmail are not the client's`(
        exit: Int,
        code: Int,
        status: String
    ) async throws {
        let path = try self.program("cat >/dev/null; echo secret; echo secret >&2; exit \(exit)")
        let session = try await self.session("queue/postfix-queue \(path)")
        let answer = try await session.message(Self.message, at: .queue)
        #expect(answer.reply?.code == code && answer.reply?.status == status)
        #expect(answer.reply?.text.contains("secret") == false)
    }

    // MARK: Exim

    @Test func `Exim gets a batch with doubled dots and one final dot`() async throws {
        let path = try self.program("echo \"$*\" >words; cat >batch")
        let session = try await self.session(
            "queue/exim-bsmtp exim_path \(path)",
            ["alice@example.org", "carol@example.org"]
        )
        #expect(try await session.message(Self.message, at: .queue) == Self.queued)
        #expect(try self.text("words") == "-bS\n")
        let lines = [
            "MAIL FROM:<bob@example.net>", "RCPT TO:<alice@example.org>",
            "RCPT TO:<carol@example.org>", "DATA", "Subject: a", "", "..dot", "", "..", "no end",
            ".", "",
        ]
        #expect(try self.text("batch") == lines.joined(separator: "\r\n"))
        let smuggling = try await session.message("A: b\r\n\r\nx\n.\nMAIL\r\n", at: .queue)
        #expect(smuggling == .deny("The message has a bare CR or LF", code: 554, status: "5.6.0"))
    }

    @Test(arguments: [
        ("exit 0", Self.queued), ("exit 1", Self.again),
        (
            "echo '554 Unexpected end of file'; echo 'Transaction started in line 1'; exit 2",
            .deny("Unexpected end of file", code: 554, status: "5.3.0")
        ),
        (
            "echo '452 4.3.1 Disk full'; exit 2", .denysoft("Disk full", code: 452, status: "4.3.1")
        ),
        (
            "echo '421 Too much load'; exit 2",
            .denysoft("Too much load", code: 451, status: "4.3.0")
        ),
        ("echo '501 <a: bad'; exit 2", .deny("<a: bad", code: 554, status: "5.3.0")),
        ("echo 550; exit 2", .deny("refused by Exim", code: 550, status: "5.3.0")),
        ("echo 250 OK; exit 2", Self.again), ("echo what; exit 2", Self.again),
        ("echo 5500; exit 2", Self.again), ("exit 2", Self.again), ("exit 3", Self.again),
        ("echo '550 no'; exit 70", Self.again),
    ])
    func `Exim's reply keeps its class`(script: String, answer: Answer) async throws {
        let path = try self.program("cat >/dev/null; \(script)")
        let session = try await self.session("queue/exim-bsmtp exim_path \(path)")
        #expect(try await session.message(Self.message, at: .queue) == answer)
    }

    // MARK: Any program

    @Test func `a command gets the envelope in words and variables, and no shell reads it`()
        async throws
    {
        let path = try self.program(
            "for w; do echo \"[$w]\"; done >words; cat >message\n"
                + "echo \"$SENDER|$RECIPIENT|$QUEUE_ID|$CLIENT_ADDRESS|$CLIENT_HELO|$CLIENT_PROTOCOL\" >variables"
        )
        let session = try await self.session(
            "queue/command \"\(path) -f<%s> 'a $(id) b' %% %q -- %r\" line_ends crlf",
            ["alice@example.org", "$(touch x)@example.org"]
        )
        #expect(try await session.message(Self.message, at: .queue) == Self.queued)
        #expect(
            try self.text("words").split(separator: "\n") == [
                "[-f<bob@example.net>]", "[a $(id) b]", "[%]", "[test]", "[--]",
                "[alice@example.org]", "[$(touch x)@example.org]",
            ]
        )
        #expect(try self.text("message") == Self.message)
        #expect(
            try self.text("variables") == "bob@example.net||test|192.0.2.1|client.example|ESMTP\n"
        )
        #expect(!self.scratch.files(".").contains("x"))
    }

    @Test(arguments: [
        ("exit 67", Answer.deny("No such user", code: 550, status: "5.1.1")),
        ("exit 75", Self.again), ("exit 111", Self.again), ("exit 64", Self.again),
        ("exit 70", Self.again), ("exit 78", Self.again),
        ("exit 100", .deny("The message was refused", code: 554, status: "5.3.0")),
        ("exit 77", .deny("Permission denied", code: 550, status: "5.7.0")),
        ("echo '5.2.2 Full'; exit 67", .deny("Full", code: 550, status: "5.2.2")),
        ("echo '4.2.2 Full'; exit 67", .deny("4.2.2 Full", code: 550, status: "5.1.1")),
        ("echo '4.2.2 Full'; exit 75", .denysoft("Full", code: 451, status: "4.2.2")),
        ("echo 5.2.2; exit 67", .deny("No such user", code: 550, status: "5.2.2")),
        ("echo a >&2; exit 67", .deny("a", code: 550, status: "5.1.1")),
        ("echo a >&2; echo b; exit 67", .deny("b", code: 550, status: "5.1.1")),
        (
            "printf '\\n \\na\\001\\n\\303\\274\\r\\n'; exit 67",
            .deny("a?\n??", code: 550, status: "5.1.1")
        ),
        ("kill -TERM $$", Self.again),
    ])
    func `exit codes and words become the reply`(script: String, answer: Answer) async throws {
        let path = try self.program("cat >/dev/null; \(script)")
        let session = try await self.session("queue/command \(path)")
        #expect(try await session.message(Self.message, at: .queue) == answer)
    }

    @Test func `words are few and short, and can be left out`() async throws {
        let path = try self.program(
            "cat >/dev/null; for i in 1 2 3 4 5 6 7; do head -c 2000 /dev/zero | tr '\\0' a; echo; done; exit 67"
        )
        let session = try await self.session("queue/command \(path)")
        let reply = try await session.message(Self.message, at: .queue).reply
        #expect(
            reply.map { $0.text.count <= 5 && $0.text.allSatisfy { $0.utf8.count < 512 } } == true
        )
        let silent = try await self.session("queue/command \(path) output no")
        let answer = try await silent.message(Self.message, at: .queue)
        #expect(answer == .deny("No such user", code: 550, status: "5.1.1"))
    }

    @Test func `an address that could be an option is refused where it could be one`() async throws
    {
        let path = try self.program("cat >/dev/null")
        let refused = Answer.deny("The address begins with a hyphen", code: 553, status: "5.1.3")
        for (words, recipient, answer) in [
            ("%r", "-x@example.org", refused), ("-d %r", "-x@example.org", refused),
            ("-- %r", "-x@example.org", Self.queued), ("%r", "x@example.org", Self.queued),
            ("%s", "-x@example.org", Self.queued),
        ] {
            let session = try await self.session("queue/command \"\(path) \(words)\"", [recipient])
            #expect(try await session.message(Self.message, at: .queue) == answer, "\(words)")
        }
    }

    @Test func `each recipient has its run and, where the client hears of it, its reply`()
        async throws
    {
        let path = try self.program(
            "cat >/dev/null; echo \"$1 $RECIPIENT\" >>runs\n"
                + "case $1 in to=eve*) exit 67;; to=dave*) exit 75;; esac"
        )
        let names = ["alice", "eve", "dave", "carol"].map { "\($0)@example.org" }
        let line = "queue/command \"\(path) to=%r\" each yes"
        let one = try await self.session(line, names)
        let answer = try await one.message(Self.message, at: .queue)
        #expect(answer == .deny("No such user", code: 550, status: "5.1.1"))
        #expect(
            try self.text("runs") == "to=\(names[0]) \(names[0])\nto=\(names[1]) \(names[1])\n"
        )
        let each = try await self.session(line, names)
        each.repliesEach = true
        #expect(try await each.message(Self.message, at: .queue) == Self.queued)
        #expect(each.refusedRecipients.map { "\($0.recipient.address)" } == [names[1], names[2]])
        #expect(
            each.refusedRecipients.map(\.answer) == [
                .deny("No such user", code: 550, status: "5.1.1"), Self.again,
            ]
        )
        let none = try await self.session(line, [names[1], names[2]])
        none.repliesEach = true
        #expect(try await none.message(Self.message, at: .queue).verdict == .denysoft)
    }

    // MARK: Parts

    @Test func `lines are the same however the message is split`() throws {
        let body = "\r\na\r\r\n\r\nb\rc\nd\r"
        try self.scratch.write(Array(("X: y\r\n" + body).utf8), "spool")
        let message = Message(
            headers: [HeaderField(id: 1, name: "A", space: "", value: " b\r\n\tc")],
            file: MessageReference(
                path: "\(self.scratch.path)/spool",
                size: Int64(6 + body.utf8.count),
                bodyOffset: 6
            )
        )
        func all(_ form: MessageFeed.Form) throws -> String {
            let feed = try MessageFeed(message, form, after: [0x3E])
            var octets: [UInt8] = []
            while let piece = try feed.next() { octets += piece }
            return String(decoding: octets, as: UTF8.self)
        }
        #expect(try all(.crlf) == ">A: b\r\n\tc\r\n" + body)
        #expect(try all(.lf) == ">A: b\n\tc\n\na\r\n\nb\rc\nd\r")
        #expect(throws: SMTPForwardError.self) { try all(.smtp) }
        try self.scratch.write([], "spool")
        #expect(throws: PluginError.self) { try all(.crlf) }
    }

    @Test func `commands are read by their pieces`() {
        let template = CommandTemplate("/a/b  'c d'%s\t%r ''", isForEach: false)
        #expect(
            template?.words == [
                [.text("/a/b")], [.text("c d"), .sender], [.recipient], [.text("")],
            ]
        )
        #expect(
            template?.arguments(sender: "s", recipients: ["x", "y"], queueID: "q") == [
                "c ds", "x", "y", "",
            ]
        )
        #expect(CommandTemplate("/a x%r", isForEach: true) != nil)
        for text in ["", " ", "''", "%r", "/a %", "/a %z", "/a 'b", "/a x%r"] {
            #expect(CommandTemplate(text, isForEach: false) == nil, "\(text)")
        }
    }
}

private struct AcceptEach: RcptHook {
    static let name = "accept_each"
    init(configuration: PluginConfiguration) {}
    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }
}
