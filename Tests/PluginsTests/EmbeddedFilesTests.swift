import Octets
import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

/// Makes a TNEF, attribute by attribute.
private struct TNEFFile {
    static func number(_ value: Int, _ size: Int) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    static func attribute(_ level: Int, _ id: Int, _ value: [UInt8]) -> [UInt8] {
        let sum = value.reduce(0) { $0 + Int($1) }
        return Self.number(level, 1) + Self.number(id, 4) + Self.number(value.count, 4) + value
            + Self.number(sum, 2)
    }

    /// A property with one value of a size that it says itself.
    static func property(_ type: Int, _ id: Int, _ value: [UInt8]) -> [UInt8] {
        let padding = [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
        return Self.number(type, 2) + Self.number(id, 2) + Self.number(1, 4)
            + Self.number(value.count, 4) + value + padding
    }

    static func properties(_ properties: [[UInt8]]) -> [UInt8] {
        self.attribute(2, 0x6_9005, self.number(properties.count, 4) + properties.joined())
    }

    static let attachment = Self.attribute(2, 0x6_9002, [UInt8](repeating: 0, count: 14))

    static func title(_ name: String) -> [UInt8] {
        self.attribute(2, 0x1_8010, Array(name.utf8) + [0])
    }

    static func data(_ octets: [UInt8]) -> [UInt8] { self.attribute(2, 0x6_800F, octets) }

    static func wide(_ text: String) -> [UInt8] {
        text.utf16.flatMap { self.number(Int($0), 2) } + [0, 0]
    }

    static func file(_ attributes: [UInt8]...) -> [UInt8] {
        self.number(0x223E_9F78, 4) + self.number(7, 2)
            + self.attribute(1, 0x8_9006, self.number(0x1_0000, 4)) + attributes.joined()
    }
}

struct EmbeddedFilesTests {
    @Test(arguments: [
        ("begin 644 a.exe\n#0V%T\n`\nend\n", ["a.exe"], ["Cat"]),
        ("x\r\nbegin 0755 a b.exe\r\n#0V%T\r\n \r\nend\r\ny", ["a b.exe"], ["Cat"]),
        ("begin 644 a\n#0V%T\n#0V%T\nbegin 600 b\n\"0V$\n`\n", ["a", "b"], ["CatCat", "Ca"]),
        ("begin  644\t a\n", ["a"], [""]),
        ("begin 644 a\nend\n#0V%T\n", ["a"], [""]),
        ("begin 644 a\n#0V%T0000000\n", ["a"], [""]),
        ("begin 64 a\n#0V%T\n", [], []), ("begin 689 a\n#0V%T\n", [], []),
        ("begin 644\n#0V%T\n", [], []), (" begin 644 a\n", [], []), ("beginning 644 a\n", [], []),
        ("", [], []), ("begin", [], []),
    ])
    func `uuencoded files are found`(text: String, names: [String], contents: [String]) {
        let found = UUEncoding.files(in: Array(text.utf8))
        #expect(found.files.map(\.names) == names.map { [$0] })
        #expect(found.files.map { String(decoding: $0.content, as: UTF8.self) } == contents)
        #expect(!found.isDamaged)
    }

    @Test func `a text cannot say more than it has`() {
        let many = (0...EmbeddedFiles.maximumFiles).map { "begin 644 \($0)\n" }.joined()
        let found = UUEncoding.files(in: Array(many.utf8))
        #expect(found.files.count == EmbeddedFiles.maximumFiles && found.isDamaged)
        let bloated = "begin 644 a\n" + String(repeating: "_\n", count: 10_000)
        let large = UUEncoding.files(in: Array(bloated.utf8))
        #expect(large.isDamaged && (large.files.first?.content.count ?? 0) <= bloated.utf8.count)
    }

    private static var whole: [UInt8] {
        let named =
            TNEFFile.number(0x1E, 2) + TNEFFile.number(0x8000, 2)
            + [UInt8](repeating: 1, count: 16) + TNEFFile.number(1, 4) + TNEFFile.number(4, 4)
            + TNEFFile.wide("x") + TNEFFile.number(1, 4) + TNEFFile.number(2, 4) + [65, 0, 0, 0]
        let inner = TNEFFile.file(TNEFFile.attachment, TNEFFile.title("inner.scr"))
        return TNEFFile.file(
            TNEFFile.attachment,
            TNEFFile.title("SHORT.EXE"),
            TNEFFile.data([1, 2]),
            TNEFFile.properties([
                TNEFFile.number(0x03, 2) + TNEFFile.number(0x3705, 2) + TNEFFile.number(1, 4),
                TNEFFile.number(0x1003, 2) + TNEFFile.number(0x3706, 2) + TNEFFile.number(2, 4)
                    + [UInt8](repeating: 9, count: 8),
                named, TNEFFile.property(0x1F, 0x3707, TNEFFile.wide("läng.exe")),
                TNEFFile.property(0x1E, 0x3704, Array("SHORT.EXE".utf8) + [0]),
            ]),
            TNEFFile.attachment,
            TNEFFile.title("message"),
            TNEFFile.properties([
                TNEFFile.property(0x0D, 0x3701, [UInt8](repeating: 2, count: 16) + inner)
            ])
        )
    }

    @Test func `the files of a TNEF are found`() {
        let found = TNEF.files(in: Self.whole)
        #expect(!found.isDamaged)
        #expect(
            found.files == [
                EmbeddedFile(names: ["SHORT.EXE", "läng.exe"], content: [1, 2]),
                EmbeddedFile(names: ["inner.scr"]), EmbeddedFile(names: ["message"]),
            ]
        )
    }

    @Test func `a TNEF that ends early is read as far as it goes`() {
        let whole = Self.whole
        for end in whole.indices {
            let found = TNEF.files(in: Array(whole[..<end]))
            #expect(found.files.count <= 3)
        }
        #expect(TNEF.files(in: Array(whole.dropLast())).isDamaged)
        #expect(TNEF.files(in: [1, 2, 3]).isDamaged && !TNEF.begins([1, 2, 3]))
    }

    @Test func `damage is no trouble`() {
        let whole = Self.whole
        var state: UInt64 = 7
        func next() -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33)
        }
        for _ in 0..<5_000 {
            var damaged = whole
            for _ in 0...(next() % 4) {
                let octet = [0, 0xFF, 0x7F, UInt8(truncatingIfNeeded: next())][next() % 4]
                damaged[next() % damaged.count] = octet
            }
            let found = TNEF.files(in: damaged)
            #expect(found.files.allSatisfy { $0.content.count <= whole.count })
        }
    }

    @Test func `messages in messages are read to a depth`() {
        var octets = TNEFFile.file(TNEFFile.attachment, TNEFFile.title("deep.exe"))
        var names: [Bool] = []
        for _ in 0..<5 {
            let found = TNEF.files(in: octets)
            names.append(found.files.contains { $0.names == ["deep.exe"] })
            #expect(found.isDamaged != names.last)
            octets = TNEFFile.file(
                TNEFFile.attachment,
                TNEFFile.properties([
                    TNEFFile.property(0x0D, 0x3701, [UInt8](repeating: 2, count: 16) + octets)
                ])
            )
        }
        #expect(names == [true, true, true, true, false])
    }

    private func answer(_ message: String, _ arguments: String) async throws -> Answer {
        let session = try await TestSession([Attachment.self], plugins: "attachment \(arguments)")
        try await session.mail(from: "bob@example.net")
        return try await session.message(message)
    }

    private static let refusal = Answer.deny(
        "The attachment evil.exe is not accepted",
        status: "5.7.1"
    )

    @Test(arguments: ["", "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"])
    func `a file in a text is an attachment`(fields: String) async throws {
        let message =
            "From: a@b.test\r\n\(fields)\r\nhello\r\nbegin 644 evil.exe\r\n#0V%T\r\n`\r\nend\r\n"
        #expect(try await self.answer(message, "extensions exe") == Self.refusal)
        #expect(try await self.answer(message, "extensions com") == .declined)
    }

    @Test func `so is one with that transfer encoding`() async throws {
        let message =
            "From: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
            + "Content-Transfer-Encoding: X-UUencode\r\n\r\nbegin 644 evil.exe\r\n#0V%T\r\n`\r\nend\r\n"
        #expect(try await self.answer(message, "extensions exe") == Self.refusal)
    }

    @Test func `so is one in a TNEF`() async throws {
        func message(_ octets: [UInt8]) -> String {
            "From: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=x.dat\r\n"
                + "Content-Transfer-Encoding: base64\r\n\r\n" + Base64.encode(octets) + "\r\n"
        }
        let octets = TNEFFile.file(TNEFFile.attachment, TNEFFile.title("evil.exe"))
        #expect(try await self.answer(message(octets), "extensions exe") == Self.refusal)
        #expect(try await self.answer(message(octets), "extensions com") == .declined)
        let cut = message(octets.dropLast(1))
        #expect(
            try await self.answer(cut, "extensions com damaged_archives reject")
                == .deny("x.dat cannot be read to its end", status: "5.7.1")
        )
        let archive = TNEFFile.file(
            TNEFFile.attachment,
            TNEFFile.title("a.zip"),
            TNEFFile.data(zip(["d/evil.exe"]))
        )
        #expect(
            try await self.answer(message(archive), "extensions exe")
                == .deny("d/evil.exe is in an archive and not accepted", status: "5.7.1")
        )
    }
}
