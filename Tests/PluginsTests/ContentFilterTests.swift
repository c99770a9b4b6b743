import Archives
import Octets
import PolicyKit
import PolicyKitTesting
import Synchronization
import Testing

@testable import StandardPlugins

/// Makes zip files as APPNOTE.TXT says, without compression.
private struct ZipFile {
    private var files: [UInt8] = []
    private var directory: [UInt8] = []
    private var count = 0

    mutating func add(
        _ name: String,
        _ content: [UInt8] = Array("x".utf8),
        isEncrypted: Bool = false
    ) {
        let offset = self.files.count
        let flags = isEncrypted ? 1 : 0
        let sizes =
            Self.number(Self.checksum(content), 4) + Self.number(content.count, 4)
            + Self.number(content.count, 4)
            + Self.number(name.utf8.count, 2)
        let common =
            Self.number(20, 2) + Self.number(flags, 2) + Self.number(0, 2) + Self.number(0, 4)
            + sizes
        self.files +=
            Self.number(0x0403_4B50, 4) + common + Self.number(0, 2) + Array(name.utf8) + content
        self.directory +=
            Self.number(0x0201_4B50, 4) + Self.number(20, 2) + common + Self.number(0, 12)
        self.directory += Self.number(offset, 4) + Array(name.utf8)
        self.count += 1
    }

    var octets: [UInt8] {
        let end =
            Self.number(0x0605_4B50, 4) + Self.number(0, 4) + Self.number(self.count, 2)
            + Self.number(self.count, 2)
            + Self.number(self.directory.count, 4) + Self.number(self.files.count, 4)
            + Self.number(0, 2)
        return self.files + self.directory + end
    }

    private static func number(_ value: Int, _ octets: Int) -> [UInt8] {
        (0..<octets).map { $0 < 8 ? UInt8(truncatingIfNeeded: value >> (8 * $0)) : 0 }
    }

    private static func checksum(_ octets: [UInt8]) -> Int {
        var sum: UInt32 = 0xFFFF_FFFF
        for octet in octets {
            sum ^= UInt32(octet)
            for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
        }
        return Int(~sum)
    }
}

func zip(_ names: [String]) -> [UInt8] {
    var file = ZipFile()
    for name in names { file.add(name) }
    return file.octets
}

/// `inner` in so many zip files.
private func nested(_ inner: [UInt8], _ times: Int) -> [UInt8] {
    (0..<times).reduce(inner) { content, _ in
        var file = ZipFile()
        file.add("inner.zip", content)
        return file.octets
    }
}

struct GzipFileTests {
    @Test(arguments: [0, 1, 100_000]) func `octets become a file of gzip, the same each time`(
        count: Int
    ) {
        let octets = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* $0) }
        let file = GzipFile.octets(of: octets)
        #expect(file?.prefix(8) == [0x1F, 0x8B, 8, 0, 0, 0, 0, 0])
        #expect(file == GzipFile.octets(of: octets))
        // RFC 1952 §2.3.1: the last octets are the count.
        #expect(
            file?.suffix(4) == (0..<4).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }[...]
        )
    }
}

struct ArchiveListingTests {
    private func list(
        _ octets: [UInt8],
        _ change: (inout ArchiveListing.Limits) -> Void = { _ in }
    ) -> (names: [String], troubles: Set<ArchiveListing.Trouble>)? {
        var limits = ArchiveListing.Limits()
        change(&limits)
        return ArchiveListing.of(octets, limits: limits, until: .now + .seconds(60)).map {
            ($0.names.map { String(decoding: $0, as: UTF8.self) }, $0.troubles)
        }
    }

    @Test func `names are listed, also those of an archive in an archive`() throws {
        let whole = try #require(self.list(nested(zip(["a/b.exe", "c"]), 1)))
        #expect(whole.names == ["inner.zip", "a/b.exe", "c"] && whole.troubles.isEmpty)
        let flat = try #require(self.list(nested(zip(["a"]), 1)) { $0.depth = 1 })
        #expect(flat.names == ["inner.zip"] && flat.troubles == [.deep])
        let deep = try #require(self.list(nested(zip(["a"]), 3)))
        #expect(deep.names == ["inner.zip", "inner.zip"] && deep.troubles == [.deep])
    }

    @Test func `a name is UTF-8, or as much as is`() throws {
        let names = try #require(self.list(zip(["\u{FC}.exe", "\u{65E5}.txt"]))).names
        #expect(names == ["\u{FC}.exe", "\u{65E5}.txt"])
        var octets = zip(["??.exe"])
        for index in octets.indices where octets[index] == 0x3F { octets[index] = 0x81 }
        let broken = try #require(self.list(octets)).names.first
        #expect(broken?.hasSuffix(".exe") == true && broken != "??.exe")
        let long = String(repeating: "n", count: 2_000) + ".exe"
        #expect(try #require(self.list(zip([long]))).names.first?.hasSuffix("n.exe") == true)
    }

    @Test(arguments: [
        [], Array("hello, this is no archive\r\n".utf8), [UInt8](repeating: 0x41, count: 10_000),
    ])
    func `what is no archive is none`(octets: [UInt8]) {
        #expect(self.list(octets) == nil)
    }

    @Test func `there are limits`() throws {
        let many = try #require(self.list(zip((0..<20).map { "\($0)" })) { $0.names = 10 })
        #expect(many.names.count == 10 && many.troubles == [.large])
        let large = nested(zip([String(repeating: "n", count: 5_000)]), 1)
        #expect(try #require(self.list(large) { $0.octets = 1_000 }).troubles == [.large])
        let late = ArchiveListing.of(zip(["a"]), until: .now - .seconds(1))
        #expect(late?.troubles == [.large])
        var encrypted = ZipFile()
        encrypted.add("secret.zip", isEncrypted: true)
        #expect(try #require(self.list(encrypted.octets)).troubles == [.encrypted])
    }

    /// A tar file in zstd's form whose one file has 64 GB of zeros: 2 MB.
    private static var bomb: [UInt8] {
        var header = [UInt8](repeating: 0, count: 512)
        header.replaceSubrange(0..<4, with: Array("zero".utf8))
        header.replaceSubrange(100..<107, with: Array("0000644".utf8))
        // The size, as a number of base 256.
        header[124] = 0x80
        header[131] = 16
        header[156] = UInt8(ascii: "0")
        header.replaceSubrange(257..<262, with: Array("ustar".utf8))
        header.replaceSubrange(148..<156, with: [UInt8](repeating: 0x20, count: 8))
        let sum = header.reduce(0) { $0 + Int($1) }
        let digits = String(sum, radix: 8)
        let padded = String(repeating: "0", count: 6 - digits.count) + digits
        header.replaceSubrange(148..<156, with: Array(padded.utf8) + [0, 0x20])
        // A frame with a window of 128 KiB; a block as it is; then blocks of one octet repeated (RFC 8878 §3.1.1).
        var octets: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38, 0x00, 0x10, 0x00] + header
        for _ in 0..<524_288 { octets += [0x02, 0x00, 0x10, 0x00] }
        return octets + [0x03, 0x00, 0x00, 0x00]
    }

    @Test func `a file that unpacks without end is left when the time is over`() throws {
        let begin = ContinuousClock.now
        let found = ArchiveListing.of(Self.bomb, until: .now + .milliseconds(300))
        let listing = try #require(found)
        #expect(listing.names == [Array("zero".utf8)] && listing.troubles == [.large])
        #expect(ContinuousClock.now - begin < .seconds(4))
    }

    @Test func `what is packed twice is not unpacked`() throws {
        // A frame of zstd within another one.
        let inner = Self.bomb.prefix(2_000)
        let size = UInt32(inner.count) << 3 | 1
        let block = [0, 8, 16].map { UInt8(truncatingIfNeeded: size >> $0) }
        let listing = try #require(self.list([0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38] + block + inner))
        #expect(listing.names.isEmpty && listing.troubles == [.deep])
    }

    @Test func `a damaged archive is no crash`() {
        var generator = SystemRandomNumberGenerator()
        let octets = nested(zip(["a.exe", "b/c.txt"]), 1)
        for _ in 0..<3_000 {
            var damaged = octets
            for _ in 0..<Int.random(in: 1...5, using: &generator) {
                damaged[Int.random(in: damaged.indices, using: &generator)] = .random(
                    in: 0...255,
                    using: &generator
                )
            }
            let cut = Int.random(in: 0...damaged.count, using: &generator)
            let listing = self.list(Array(damaged[..<cut]))
            #expect((listing?.names.count ?? 0) <= 2_000)
        }
    }
}

struct AttachmentTests {
    private func session(
        _ arguments: String,
        _ files: [String: String] = [:]
    ) async throws -> TestSession {
        let session = try await TestSession(
            [Attachment.self],
            plugins: "attachment \(arguments)",
            files: files
        )
        try await session.mail(from: "bob@example.net")
        return session
    }

    /// A message with a text and an attachment.
    private static func message(
        _ fields: String,
        _ content: [UInt8] = Array("hello".utf8)
    ) -> String {
        "From: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n"
            + "--b\r\n\(fields)Content-Transfer-Encoding: base64\r\n\r\n"
            + Base64.encode(content) + "\r\n--b--\r\n"
    }

    private static func attached(_ name: String) -> String {
        self.message(
            "Content-Type: application/x-any\r\nContent-Disposition: attachment; \(name)\r\n"
        )
    }

    @Test(arguments: [
        ("filename=evil.exe", "evil.exe"), ("filename=\"EVIL.EXE\"", "EVIL.EXE"),
        ("filename*=utf-8''ev%69l.exe", "evil.exe"),
        ("filename*0=ev; filename*1=il.exe", "evil.exe"),
        ("filename=\"=?utf-8?B?ZXZpbC5leGU=?=\"", "evil.exe"),
        ("filename=\"evil.exe. . \"", "evil.exe"),
        ("filename=\"C:\\\\x\\\\evil.exe\"", "evil.exe"),
        ("filename*=utf-8''evil.%00exe", "evil.exe"),
        ("filename*=utf-8''evil.e%E2%80%AExe", "evil.exe"),
        ("filename=fine.txt\r\nContent-Type: application/x-any; name=evil.exe", "evil.exe"),
    ])
    func `a forbidden end of a name is found however it is written`(
        parameter: String,
        name: String
    ) async throws {
        let session = try await self.session("extensions .exe,scr")
        let parts = parameter.split(separator: "\r\n").map { String($0) }
        let type = parts.count > 1 ? parts[1] : "Content-Type: application/x-any"
        let answer = try await session.message(
            Self.message("\(type)\r\nContent-Disposition: attachment; \(parts[0])\r\n")
        )
        #expect(answer == .deny("The attachment \(name) is not accepted", status: "5.7.1"))
        #expect(session.note(.attachments)?.contains(name) == true)
        #expect(session.note(.karma) == -1)
    }

    @Test(arguments: ["fine.txt", "exe", "evil.exe.txt", "evil.exec"])
    func `other names pass`(name: String) async throws {
        let session = try await self.session("extensions exe")
        #expect(try await session.message(Self.attached("filename=\(name)")) == .declined)
        #expect(session.note(.attachments) == [name])
    }

    @Test func `the files have patterns for names, names in archives and types`() async throws {
        let files = [
            "attachment.filename.regex": "# a comment\n^invoice.*\\.pdf$\n",
            "attachment.archive.filename.regex": "\\.js$\n",
            "attachment.ctype.regex": "^application/x-ms\n",
        ]
        let session = try await self.session("", files)
        for (message, text) in [
            (
                Self.attached("filename=Invoice-1.PDF"),
                "The attachment Invoice-1.PDF is not accepted"
            ),
            (Self.attached("filename=my-invoice.pdf"), nil), (Self.attached("filename=a.js"), nil),
            (
                Self.message("Content-Type: Application/X-MSDownload\r\n"),
                "Attachments of type application/x-msdownload are not accepted"
            ),
            (
                Self.message("Content-Type: image/png; name=x.png\r\n", zip(["d/run.JS"])),
                "d/run.JS is in an archive and not accepted"
            ),
            (
                Self.message("Content-Type: image/png\r\n", nested(zip(["run.js"]), 1)),
                "run.js is in an archive and not accepted"
            ),
        ] as [(String, String?)] {
            #expect(try await session.message(message).reply?.text.first == text)
        }
    }

    @Test(arguments: [
        ("extensions exe", ["a.txt", "x/b.exe"], 0, "x/b.exe is in an archive and not accepted"),
        ("extensions exe archive_depth 0", ["b.exe"], 0, nil), ("", ["b.exe"], 0, nil),
        ("", ["a"], 2, "The archive a.zip has archives in archives, which are not accepted"),
        ("deep_archives pass", ["a"], 2, nil), ("archive_depth 3", ["a"], 2, nil),
        ("", (0..<2_001).map { "\($0)" }, 0, "The archive a.zip is too large"),
        ("large_archives pass", (0..<2_001).map { "\($0)" }, 0, nil),
    ])
    func `archives are opened`(
        arguments: String,
        names: [String],
        depth: Int,
        text: String?
    ) async throws {
        let session = try await self.session(arguments)
        let fields = "Content-Type: application/zip; name=a.zip\r\n"
        let answer = try await session.message(Self.message(fields, nested(zip(names), depth)))
        #expect(answer.reply?.text.first == text)
    }

    @Test func `encrypted and damaged archives are refused where that is wanted`() async throws {
        var encrypted = ZipFile()
        encrypted.add("secret.txt", isEncrypted: true)
        var damaged = ZipFile()
        damaged.add("inner.zip", zip(["a"]))
        let cut = Array(damaged.octets.prefix(60))
        let fields = "Content-Type: application/zip; name=a.zip\r\n"
        for (arguments, octets, text) in [
            ("", encrypted.octets, nil), ("", cut, nil),
            (
                "encrypted_archives reject", encrypted.octets,
                "The archive a.zip is encrypted, which is not accepted"
            ),
            ("damaged_archives reject", cut, "a.zip cannot be read to its end"),
        ] as [(String, [UInt8], String?)] {
            let session = try await self.session(arguments)
            #expect(
                try await session.message(Self.message(fields, octets)).reply?.text.first == text
            )
        }
    }

    @Test func `immune clients and large messages are left alone, and reject tells`() async throws {
        let evil = Self.attached("filename=evil.exe")
        for (arguments, relay, verdict) in [
            ("extensions exe", true, Verdict.declined),
            ("extensions exe relayclient scan", true, .deny),
            ("extensions exe size_limit 100", false, .declined),
            ("extensions exe reject 0", false, .declined),
            ("extensions exe reject_type temp", false, .denysoft),
            ("extensions exe reject naughty", false, .declined),
        ] {
            let session = try await self.session(arguments)
            session.relay = relay
            #expect(try await session.message(evil).verdict == verdict, "\(arguments)")
            #expect((session.note(.naughty) != nil) == arguments.contains("naughty"))
        }
    }

    @Test(arguments: [
        ("extensions a.b", [:]), ("extensions ,", [:]), ("archive_depth 11", [:]),
        ("deep_archives maybe", [:]),
        ("", ["attachment.filename.regex": "("]),
    ])
    func `what is wrong is an error at start`(arguments: String, files: [String: String]) async {
        await #expect(throws: (any Error).self) { _ = try await self.session(arguments, files) }
    }
}

struct BodyMatchTests {
    private func session(_ rules: String, _ arguments: String = "") async throws -> TestSession {
        let session = try await TestSession(
            [BodyMatch.self],
            plugins: "body_match \(arguments)",
            files: ["body_match": rules]
        )
        try await session.mail(from: "bob@example.net")
        return session
    }

    private static let usual = "The message has content that is not accepted"

    @Test(arguments: [
        ("Content-Type: text/plain\r\n\r\nbuy CHEAP  watches\r\n", usual),
        ("Content-Transfer-Encoding: base64\r\n\r\nY2hlYXAgd2F0Y2hlcw==\r\n", usual),
        ("Content-Transfer-Encoding: quoted-printable\r\n\r\nche=\r\nap w=61tches\r\n", usual),
        ("Content-Type: text/html\r\n\r\n<b>cheap watches</b>\r\n", usual),
        ("Subject: =?utf-8?Q?cheap_watches?=\r\n\r\nx\r\n", usual),
        ("Content-Type: text/plain; charset=iso-8859-1\r\n\r\ncaf\u{E9}\r\n", nil),
        ("Content-Type: application/x\r\n\r\ncheap watches\r\n", nil),
        ("\r\ncheap\r\nwatchmen\r\n", nil),
    ])
    func `decoded texts and the subject are matched`(message: String, text: String?) async throws {
        let session = try await self.session("# a comment\n/cheap\\s+watches/\n")
        #expect(try await session.message("From: a@b.test\r\n" + message).reply?.text.first == text)
        #expect(session.note(.karma) == (text == nil ? nil : -1))
    }

    @Test func `a line has a reply of its own, or only logs`() async throws {
        let session = try await self.session("/a/ log\n/b\\/c/ Go / away\n/b/\n")
        #expect(try await session.message("\r\na b/c\r\n") == .deny("Go / away", status: "5.7.1"))
        #expect(try await session.message("\r\na\r\n") == .declined)
        #expect(try await session.message("\r\nb\r\n").reply?.text == [Self.usual])
    }

    @Test(arguments: [
        ("subject no", false, Verdict.declined), ("reject 0", false, .declined),
        ("reject_type temp", false, .denysoft),
        ("size_limit 10", false, .declined), ("", true, .declined),
        ("relayclient scan", true, .deny),
    ])
    func `arguments count`(arguments: String, relay: Bool, verdict: Verdict) async throws {
        let session = try await self.session("/hello/\n", arguments)
        session.relay = relay
        #expect(try await session.message("Subject: hello\r\n\r\nx\r\n").verdict == verdict)
    }

    @Test func `a pattern that would take for ever is a failure`() async throws {
        let session = try await self.session("/(a+)+$/\n")
        await #expect(throws: TestFailure.self) {
            try await session.message("\r\n" + String(repeating: "a", count: 60) + "b\r\n")
        }
    }

    @Test(arguments: ["cheap", "/", "//", "/(/", "/a/ \u{FC}"])
    func `a wrong line is an error at start`(rule: String) async {
        await #expect(throws: (any Error).self) { _ = try await self.session(rule + "\n") }
    }
}

struct SubjectEditTests {
    private static let spf = NoteKey<JSONValue>("spf", in: .transaction)

    private func subjects(
        _ arguments: String,
        _ header: String,
        note: JSONValue? = nil
    ) async throws -> [String] {
        let session = try await TestSession([SubjectEdit.self], plugins: "subject \(arguments)")
        try await session.mail(from: "bob@example.net")
        session.setNote(Self.spf, to: note)
        try await session.message("From: a@b.test\r\n\(header)\r\nx\r\n")
        return session.headers.filter { $0.name.equalsIgnoringASCIICase("Subject") }
            .map { String(decoding: $0.value.octets, as: UTF8.self) }
    }

    @Test(arguments: [
        ("Subject: hello\r\n", [" [x] hello"]), ("Subject:hello\r\n", [" [x] hello"]),
        ("", [" [x] "]),
        ("Subject: a\r\nsubject: b\r\n", [" [x] a"]), ("Subject: [x] hello\r\n", [" [x] hello"]),
        ("Subject: =?utf-8?Q?=C3=A9?=\r\n", [" [x] =?utf-8?Q?=C3=A9?="]),
        ("Subject: one\r\n two\r\n", [" [x] one\r\n two"]),
    ])
    func `there is one subject, and it is marked once`(
        header: String,
        expected: [String]
    ) async throws {
        #expect(try await self.subjects("prefix \"[x] \"", header) == expected)
    }

    @Test func `what is not ASCII becomes encoded words`() async throws {
        let subject = try #require(
            try await self.subjects("prefix \"[é]\"", "Subject: a\r\n").first
        )
        #expect(
            subject.utf8.allSatisfy { $0 < 0x80 } && subject.contains("=?")
                && subject.hasSuffix(" a")
        )
    }

    @Test(arguments: [
        ("note spf", nil, false), ("note spf", JSONValue.string("x"), true),
        ("note spf", .int(0), false),
        ("note spf", .bool(false), false), ("note spf=FAIL", .string("fail"), true),
        ("note spf=fail", .string("pass"), false),
        ("note spf=fail", .object(["result": .string("fail")]), true),
        ("note spf=3", .int(3), true),
        ("field X-A", nil, true), ("field x-a=YES", nil, true), ("field X-A=no", nil, false),
        ("field X-B", nil, false),
        ("field X-A note spf", nil, false),
    ])
    func `conditions must all hold`(arguments: String, note: JSONValue?, holds: Bool) async throws {
        let subjects = try await self.subjects(
            "prefix [x] \(arguments)",
            "X-A: yes\r\nSubject: a\r\n",
            note: note
        )
        #expect(subjects == [holds ? " [x] a" : " a"])
    }

    @Test(arguments: ["", "prefix \"\"", "prefix x note a:b", "prefix x field \"a b\"", "x y"])
    func `a wrong argument is an error at start`(arguments: String) async {
        await #expect(throws: PluginProblems.self) { _ = try await self.subjects(arguments, "") }
    }
}

struct MessageArchiveTests {
    private static let message = "From: a@b.test\r\nSubject: kept\r\n\r\nhello\r\n"

    private func session(
        _ arguments: String,
        _ files: [String: String] = [:]
    ) async throws -> TestSession {
        let session = try await TestSession(
            [MessageArchive.self, AcceptAnyone.self],
            plugins: "archive \(arguments)\naccept_anyone",
            files: files
        )
        try await session.mail(from: "bob@example.net")
        try await session.rcpt(to: "alice@example.org")
        return session
    }

    @Test func `a message is a file with its envelope in the folder of its day`() async throws {
        let folder = try ScratchFolder()
        let session = try await self.session("folder \(folder.path)/mail/%Y-%m-%d/%H%%")
        #expect(try await session.message(Self.message) == .declined)
        let names = folder.files("mail/2024-11-23/00%")
        #expect(names.count == 1 && names.allSatisfy { $0.hasSuffix(".eml") && !$0.hasPrefix(".") })
        let name = "mail/2024-11-23/00%/\(names.first ?? "")"
        let octets = try folder.read(name)
        let envelope = "Return-Path: <bob@example.net>\r\nX-Envelope-To: <alice@example.org>\r\n"
        #expect(String(decoding: octets, as: UTF8.self) == envelope + Self.message)
        #expect(try folder.mode(name) == 0o600)
        #expect(try folder.mode("mail/2024-11-23/00%") == 0o700)
    }

    @Test func `a sample and a switch`() async throws {
        let folder = try ScratchFolder()
        let rare = try await self.session("folder \(folder.path)/mail one_of 1000000")
        #expect(try await rare.message(Self.message) == .declined)
        let off = try await self.session(
            "folder \(folder.path)/mail",
            ["content_log_enabled": "False\n"]
        )
        #expect(try await off.message(Self.message) == .declined)
        #expect(folder.files("mail").isEmpty)
        let named = try await self.session("", ["content_log_file": "\(folder.path)/old-%Y\n"])
        #expect(try await named.message(Self.message) == .declined)
        #expect(folder.files("old-2024").count == 1)
    }

    @Test(arguments: [("", Verdict.declined), ("on_error defer", .denysoft)])
    func `a folder that cannot be made hurts no message`(
        arguments: String,
        verdict: Verdict
    ) async throws {
        let folder = try ScratchFolder()
        try folder.write([], "file")
        let session = try await self.session("folder \(folder.path)/file/mail \(arguments)")
        #expect(try await session.message(Self.message).verdict == verdict)
    }
}
