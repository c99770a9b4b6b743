import Glibc
import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

@Suite struct QueueMaildirTests {
    private let folder: ScratchFolder

    init() throws { self.folder = try ScratchFolder() }

    private func session(_ arguments: String = "", root: String? = nil) async throws -> TestSession
    {
        let root = root ?? "\(self.folder.path)/mail"
        let session = try await TestSession(
            [QueueMaildir.self, AcceptAll.self],
            plugins: "accept_all\nqueue/maildir \(root) \(arguments)",
            files: ["me": "mx.example.org"]
        )
        try await session.mail(from: "bob@example.net")
        return session
    }

    @Test func `one file holds the message octet for octet after our own lines`() async throws {
        let session = try await self.session()
        try await session.rcpt(to: "alice@example.org")
        try await session.rcpt(to: "carol@example.org")
        let body =
            [UInt8]("\r\n.leading dot\r\n..two\r\n\u{FC}\r\n".utf8) + [0xFF, 0x00, 0x0D, 0x0A]
        let message = [UInt8]("Subject: a\r\n\tfolded\r\nX: y\r\n".utf8) + body
        let answer = try await session.message(message, at: .queue)
        #expect(answer == .ok("queued as test", code: 250, status: "2.0.0"))
        let files = self.folder.files("mail/new")
        #expect(files.count == 1)
        let trace = """
            Return-Path: <bob@example.net>\r
            Delivered-To: alice@example.org\r
            Delivered-To: carol@example.org\r

            """
        #expect(try self.folder.read("mail/new/\(files[0])") == [UInt8](trace.utf8) + message)
        #expect(self.folder.files("mail/tmp").isEmpty)
        #expect(try self.folder.mode("mail/new/\(files[0])") == 0o600)
        #expect(try self.folder.mode("mail/new") == 0o700)
        await session.stop()
    }

    @Test(arguments: [
        ("", ""), ("\r\n", "\r\n"), ("X: y\r\n", "X: y\r\n"), ("X: y\r\n\r\n", "X: y\r\n\r\n"),
        ("X : y\r\nZ\t: z\r\n\r\n", "X : y\r\nZ\t: z\r\n\r\n"),
        ("no header\r\n", "\r\nno header\r\n"),
        ("X: y\r\nbad line\r\nZ: z\r\n", "X: y\r\n\r\nbad line\r\nZ: z\r\n"),
    ])
    func `odd messages come out as they went in, with a border`(
        message: String,
        stored: String
    ) async throws {
        let session = try await self.session()
        try await session.rcpt(to: "alice@example.org")
        try await session.message(message, at: .queue)
        let file = try #require(self.folder.files("mail/new").first)
        let octets = try self.folder.read("mail/new/\(file)")
        #expect(
            String(decoding: octets, as: UTF8.self).hasSuffix(
                "Delivered-To: alice@example.org\r\n" + stored
            )
        )
        await session.stop()
    }

    @Test func `a message larger than any buffer is whole, with either line end`() async throws {
        let line = String(repeating: "0123456789", count: 99) + "\r\n"
        let message = "A: b\r\n\r\n" + String(repeating: line, count: 300)
        for ends in ["crlf", "lf"] {
            let session = try await self.session(
                "line_ends \(ends)",
                root: "\(self.folder.path)/\(ends)"
            )
            try await session.rcpt(to: "alice@example.org")
            try await session.message(message, at: .queue)
            let file = try #require(self.folder.files("\(ends)/new").first)
            let octets = try self.folder.read("\(ends)/new/\(file)")
            let text =
                "Return-Path: <bob@example.net>\r\nDelivered-To: alice@example.org\r\n" + message
            let expected =
                ends == "lf" ? [UInt8](text.utf8).filter { $0 != 0x0D } : [UInt8](text.utf8)
            #expect(octets == expected)
            await session.stop()
        }
    }

    @Test func `each recipient gets a copy of his own`() async throws {
        let session = try await self.session("%d/%l 770")
        for recipient in ["alice@EXAMPLE.org", "Bob@example.org", "a/../b@example.org"] {
            try await session.rcpt(to: recipient)
        }
        try await session.message("X: y\r\n\r\nhello\r\n", at: .queue)
        for (name, address) in [
            ("alice", "alice@EXAMPLE.org"), ("Bob", "Bob@example.org"),
            ("a_.._b", "a/../b@example.org"),
        ] {
            let file = try #require(self.folder.files("mail/example.org/\(name)/new").first)
            let octets = try self.folder.read("mail/example.org/\(name)/new/\(file)")
            #expect(
                String(decoding: octets, as: UTF8.self) == """
                    Return-Path: <bob@example.net>\r
                    Delivered-To: \(address)\r
                    X: y\r
                    \r
                    hello\r

                    """
            )
            #expect(try self.folder.mode("mail/example.org/\(name)/new/\(file)") == 0o660)
            #expect(try self.folder.mode("mail/example.org/\(name)") == 0o770)
        }
        await session.stop()
    }

    @Test(arguments: [
        ("%d/%l", ["example.org/JO", "example.org/jo"]), ("%d/%m", ["example.org/jo"]),
        ("%u", ["JO@example.org", "jo@example.org"]), ("%m", ["jo"]),
    ])
    func `a local part in lower case is one mailbox and one copy`(
        template: String,
        folders: [String]
    ) async throws {
        let session = try await self.session(template)
        for recipient in ["JO@example.org", "jo@example.org", "jo@EXAMPLE.org"] {
            try await session.rcpt(to: recipient)
        }
        #expect(try await session.message("X: y\r\n", at: .queue).verdict == .ok)
        for folder in folders { #expect(self.folder.files("mail/\(folder)/new").count == 1) }
        #expect(self.folder.files("mail").count == (template == "%u" ? 2 : 1))
        await session.stop()
    }

    @Test func `Postmaster without a domain is this host's`() async throws {
        let session = try await self.session("%d/%l")
        try await session.rcpt(to: "PostMaster")
        try await session.rcpt(to: "postmaster@mx.example.org")
        #expect(try await session.message("X: y\r\n", at: .queue).verdict == .ok)
        #expect(self.folder.files("mail/mx.example.org/postmaster/new").count == 1)
        await session.stop()
    }

    @Test func `Maildirs are made up to their maximum`() async throws {
        let session = try await self.session("%d/%l max_maildirs 2")
        for name in ["a", "b", "c", "a"] {
            try await session.mail(from: "bob@example.net")
            try await session.rcpt(to: "\(name)@\(name).example.org")
            let answer = try await session.message("X: y\r\n", at: .queue)
            #expect(answer.reply?.code == (name == "c" ? 452 : 250))
        }
        #expect(self.folder.files("mail").sorted() == ["a.example.org", "b.example.org"])
        await session.stop()
        // Another worker counts those that are there.
        let other = try await self.session("%d/%l max_maildirs 2")
        try await other.rcpt(to: "d@example.org")
        #expect(try await other.message("X: y\r\n", at: .queue).reply?.code == 452)
        await other.stop()
    }

    @Test func `with create no only a Maildir that is there takes mail`() async throws {
        let maker = try await self.session("%l")
        try await maker.rcpt(to: "alice@example.org")
        #expect(try await maker.message("X: y\r\n", at: .queue).verdict == .ok)
        await maker.stop()
        let session = try await self.session("%l create no")
        for (name, code) in [("alice", 250), ("bob", 550)] {
            try await session.mail(from: "bob@example.net")
            try await session.rcpt(to: "\(name)@example.org")
            #expect(try await session.message("X: y\r\n", at: .queue).reply?.code == code)
        }
        #expect(self.folder.files("mail") == ["alice"])
        await session.stop()
    }

    @Test func `two recipients of one folder are two files`() async throws {
        let session = try await self.session("%d")
        try await session.rcpt(to: "alice@example.org")
        try await session.rcpt(to: "bob@example.org")
        try await session.message("X: y\r\n", at: .queue)
        #expect(self.folder.files("mail/example.org/new").count == 2)
        await session.stop()
    }

    @Test func `many messages at once are as many files`() async throws {
        let root = "\(self.folder.path)/mail"
        let folders = MaildirFolders(root: root, mode: 0o700)
        try self.folder.write([], "spool")
        let spool = "\(self.folder.path)/spool"
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<100 {
                group.addTask {
                    let delivery = MaildirDelivery.test(
                        folders,
                        spool: spool,
                        header: "A: \(index)\r\n"
                    )
                    let copy = MaildirDelivery.Copy(maildir: root, name: "n\(index)", trace: [])
                    #expect(throws: Never.self) {
                        try delivery.stage(copy)
                        try delivery.commit([copy])
                    }
                }
            }
        }
        #expect(self.folder.files("mail/new").count == 100)
        #expect(self.folder.files("mail/tmp").isEmpty)
    }

    @Test func `errors of the file system are told apart`() {
        #expect(MaildirError("write x", code: ENOSPC).isStorageFull)
        #expect(MaildirError("write x", code: EDQUOT).isStorageFull)
        #expect(!MaildirError("fsync x", code: EIO).isStorageFull)
        #expect(!MaildirError("fsync x", code: EIO).isPermanent)
        #expect(MaildirError("mkdir x", code: ENAMETOOLONG).isPermanent)
    }

    @Test func `a spool file that is not there leaves nothing behind`() async throws {
        let root = "\(self.folder.path)/mail"
        let folders = MaildirFolders(root: root, mode: 0o700)
        let delivery = MaildirDelivery.test(folders, spool: "\(self.folder.path)/absent", size: 10)
        let copy = MaildirDelivery.Copy(maildir: root, name: "n", trace: [])
        #expect(throws: MaildirError.self) { try delivery.stage(copy) }
        #expect(self.folder.files("mail/tmp").isEmpty)
    }

    @Test func `a spool file that is too short is a temporary failure and no file`() async throws {
        try self.folder.write([0x61, 0x62], "spool")
        let root = "\(self.folder.path)/mail"
        let delivery = MaildirDelivery.test(
            MaildirFolders(root: root, mode: 0o700),
            spool: "\(self.folder.path)/spool",
            size: 3
        )
        let copy = MaildirDelivery.Copy(maildir: root, name: "n", trace: [])
        let error = #expect(throws: MaildirError.self) { try delivery.stage(copy) }
        #expect(error?.code == MaildirError.messageTruncated)
        delivery.discard([copy])
        #expect(self.folder.files("mail/tmp").isEmpty)
        #expect(self.folder.files("mail/new").isEmpty)
    }

    @Test func `what is not possible is answered 451`() async throws {
        let session = try await self.session()
        try await session.rcpt(to: "alice@example.org")
        try self.folder.remove("mail/new")
        try self.folder.write([], "mail/new")
        let answer = try await session.message("X: y\r\n", at: .queue)
        #expect(answer.verdict == .denysoft)
        #expect(answer.reply?.code == 451 && answer.reply?.status == "4.3.0")
        #expect(self.folder.files("mail/tmp").isEmpty)
        await session.stop()
    }

    @Test func `a name that no file system takes is refused for good`() async throws {
        let session = try await self.session("%u")
        try await session.rcpt(to: String(repeating: "a", count: 300) + "@example.org")
        let answer = try await session.message("X: y\r\n", at: .queue)
        #expect(answer.verdict == .deny && answer.reply?.status == "5.1.3")
        await session.stop()
    }

    @Test func `if one copy fails no copy is left`() async throws {
        let session = try await self.session("%d/%l")
        try await session.rcpt(to: "alice@example.org")
        try await session.rcpt(to: String(repeating: "a", count: 300) + "@example.org")
        let answer = try await session.message("X: y\r\n", at: .queue)
        #expect(answer.verdict == .deny)
        #expect(self.folder.files("mail/example.org/alice/new").isEmpty)
        #expect(self.folder.files("mail/example.org/alice/tmp").isEmpty)
        await session.stop()
    }

    @Test func `no recipients, no file, no ok`() async throws {
        for arguments in ["", "%l"] {
            let session = try await self.session(arguments)
            let answer = try await session.message("X: y\r\n", at: .queue)
            #expect(answer.verdict == .deny)
            #expect(self.folder.files("mail/new").isEmpty)
            await session.stop()
        }
    }

    @Test func `a Maildir that was removed is made again`() async throws {
        let session = try await self.session()
        try await session.rcpt(to: "alice@example.org")
        try self.folder.remove("mail")
        let answer = try await session.message("X: y\r\n", at: .queue)
        #expect(answer.verdict == .ok)
        #expect(self.folder.files("mail/new").count == 1)
        await session.stop()
    }
}

@Suite struct MaildirDeliveryTests {
    private let folder: ScratchFolder
    private let folders: MaildirFolders
    private let copy: MaildirDelivery.Copy

    init() throws {
        self.folder = try ScratchFolder()
        try self.folder.write([UInt8]("body\r\n".utf8), "spool")
        let root = "\(self.folder.path)/mail"
        self.folders = MaildirFolders(root: root, mode: 0o700)
        self.copy = MaildirDelivery.Copy(maildir: root, name: "1.K2R3.host", trace: [])
    }

    private func delivery(
        attempt: Int = 1,
        header: String = "A: b\r\n",
        time: Duration = .seconds(10)
    ) -> MaildirDelivery {
        .test(
            self.folders,
            spool: "\(self.folder.path)/spool",
            size: 6,
            header: header,
            attempt: attempt,
            time: time
        )
    }

    @Test func `a second try of the same event finds the first one's file`() throws {
        try self.delivery().stage(self.copy)
        try self.delivery().commit([self.copy])
        let second = self.delivery(attempt: 2)
        try second.stage(self.copy)
        try second.commit([self.copy])
        #expect(self.folder.files("mail/new") == ["1.K2R3.host"])
        #expect(self.folder.files("mail/tmp").isEmpty)
    }

    @Test func `a second try finds the file that a reader has moved to cur`() throws {
        try self.delivery().stage(self.copy)
        try self.delivery().commit([self.copy])
        try self.folder.move("mail/new/1.K2R3.host", "mail/cur/1.K2R3.host:2,S")
        let second = self.delivery(attempt: 2)
        try second.stage(self.copy)
        try second.commit([self.copy])
        #expect(self.folder.files("mail/new").isEmpty)
        #expect(self.folder.files("mail/tmp").isEmpty)
    }

    @Test func `another message of the same name is never replaced`() throws {
        try self.delivery().stage(self.copy)
        try self.delivery().commit([self.copy])
        let other = self.delivery(attempt: 2, header: "A: c\r\n")
        try other.stage(self.copy)
        let error = #expect(throws: MaildirError.self) { try other.commit([self.copy]) }
        #expect(error?.code == MaildirError.nameTaken)
        let kept = try self.folder.read("mail/new/1.K2R3.host")
        #expect(kept == [UInt8]("A: b\r\nbody\r\n".utf8))
    }

    @Test func `after the deadline nothing becomes visible`() throws {
        let late = self.delivery(time: .zero)
        try late.stage(self.copy)
        let error = #expect(throws: MaildirError.self) { try late.commit([self.copy]) }
        #expect(error?.code == MaildirError.deadlinePassed)
        late.discard([self.copy])
        #expect(self.folder.files("mail/new").isEmpty)
        #expect(self.folder.files("mail/tmp").isEmpty)
    }

    @Test func `a copy that cannot be named takes back those that were`() throws {
        let other = MaildirDelivery.Copy(
            maildir: "\(self.folder.path)/mail/b",
            name: "x",
            trace: []
        )
        let delivery = self.delivery()
        try delivery.stage(self.copy)
        try delivery.stage(other)
        try self.folder.remove("mail/b/new")
        #expect(throws: MaildirError.self) { try delivery.commit([self.copy, other]) }
        #expect(self.folder.files("mail/new").isEmpty)
    }

    @Test func `what a crashed try left in tmp does not matter`() throws {
        try self.folders.prepare(self.copy.maildir)
        try self.folder.write([1, 2, 3], "mail/tmp/1.K2R3.host.P\(getpid())A1")
        try self.delivery().stage(self.copy)
        try self.delivery().commit([self.copy])
        #expect(self.folder.files("mail/tmp").isEmpty)
        #expect(try self.folder.read("mail/new/1.K2R3.host") == [UInt8]("A: b\r\nbody\r\n".utf8))
    }

    @Test func `line ends are converted over any split`() {
        let text = [UInt8]("a\r\n\r\r\nb\r".utf8)
        for cut in 0...text.count {
            var output: [UInt8] = []
            var first = Array(text[..<cut]) + [0]
            var count = cut
            let held = MaildirLineEnds.lf.convert(&first, count: &count, isLast: false)
            output += first[..<count]
            var second = (held ? [0x0D] : []) + Array(text[cut...])
            count = second.count
            #expect(!MaildirLineEnds.lf.convert(&second, count: &count, isLast: true))
            output += second[..<count]
            #expect(output == [UInt8]("a\n\r\nb\r".utf8), "cut at \(cut)")
        }
    }
}

@Suite struct MaildirTemplateTests {
    @Test(arguments: [
        ("%d/%l", "a.b", "Example.ORG", "example.org/a.b"), ("%u", "a", "b", "a@b"),
        ("x%ly/%d", "a", "b", "xay/b"), ("%l", "..", "b", "__"), ("%l", ".", "b", "_"),
        ("%l", "", "b", "_"), ("%l", "a/b\\c\u{0}d", "b", "a_b_c_d"), ("%d/%l", "l", "..", "__/l"),
        ("%l", "ü", "b", "__"), (".%l", ".", "b", "__"), ("%l.", "", "x", "_"),
    ])
    func `what is put in cannot leave the folder`(
        template: String,
        local: String,
        domain: String,
        folder: String
    ) throws {
        let template = try #require(MaildirTemplate(template))
        #expect(template.folder(local: Array(local.utf8), domain: Array(domain.utf8)) == folder)
    }

    @Test(arguments: [
        "", "plain", "%", "%x", "%l/%", "/%l", "%l/", "a//%l", "../%l", "./%l", "%l/..",
    ])
    func `a template that could is an error at start`(template: String) {
        #expect(MaildirTemplate(template) == nil)
    }
}

/// Accepts every recipient.
private struct AcceptAll: RcptHook {
    static let name = "accept_all"
    init(configuration: PluginConfiguration) {}
    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }
}

extension MaildirDelivery {
    fileprivate static func test(
        _ folders: MaildirFolders,
        spool: String,
        size: Int64 = 0,
        header: String = "",
        attempt: Int = 1,
        time: Duration = .seconds(10)
    ) -> Self {
        MaildirDelivery(
            folders: folders,
            header: Array(header.utf8),
            spoolPath: spool,
            bodyOffset: 0,
            fileSize: size,
            lineEnds: .crlf,
            fileMode: 0o600,
            attempt: attempt,
            deadline: .now + time
        )
    }
}
