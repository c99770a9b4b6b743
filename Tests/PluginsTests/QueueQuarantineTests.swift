import Glibc
import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

@Suite struct QueueQuarantineTests {
    private static let note = NoteKey<JSONValue>("quarantine", in: .transaction)
    private static let message = "Subject: a\r\n\r\n.dot\r\n\u{FC}\r\n"

    private let scratch: ScratchFolder

    init() throws { self.scratch = try ScratchFolder() }

    private var folder: QuarantineFolder { QuarantineFolder(path: "\(self.scratch.path)/q/") }

    private func session(_ arguments: String = "") async throws -> TestSession {
        let session = try await TestSession(
            [QueueQuarantine.self, QueueDiscard.self, AcceptEvery.self],
            plugins:
                "accept_every\nqueue/quarantine \(self.scratch.path)/q \(arguments)\nqueue/discard"
        )
        try await session.ehlo("client.example")
        try await session.mail(
            from: "bob@example.net",
            parameters: ["BODY=8BITMIME", "SIZE=99", "SMTPUTF8"]
        )
        try await session.rcpt(to: "alice@example.org")
        try await session.rcpt(to: "J\u{FC}rgen@example.org")
        return session
    }

    @Test func `a noted message is stored with its envelope and its reason`() async throws {
        let session = try await self.session()
        session.setNote(Self.note, to: .string("spam\r\n\u{1B}[1m"))
        let answer = try await session.message(Self.message, at: .queue)
        #expect(answer == .ok("queued as test", code: 250, status: "2.0.0"))
        let (entries, unreadable) = try self.folder.entries()
        let entry = try #require(entries.first)
        #expect(entries.count == 1 && unreadable.isEmpty)
        #expect(entry.reason == "spam   [1m")
        #expect(entry.sender == "bob@example.net")
        #expect(entry.parameters == ["BODY=8BITMIME", "SMTPUTF8"])
        #expect(
            entry.recipients.map(\.address) == ["alice@example.org", "J\u{FC}rgen@example.org"]
        )
        #expect(entry.clientIP == "192.0.2.1" && entry.hello == "client.example")
        #expect(entry.octets == Int64(Self.message.utf8.count) && entry.queueID == "test")
        #expect(entry.storedAt == session.nowMilliseconds / 1_000)
        #expect(try self.scratch.read("q/\(entry.id).eml") == Array(Self.message.utf8))
        #expect(self.scratch.files("q") == ["\(entry.id).eml", "\(entry.id).json"])
        #expect(try self.scratch.mode("q") == 0o700)
        #expect(try self.scratch.mode("q/\(entry.id).eml") == 0o600)
        #expect(QuarantineEntry(id: entry.id, text: entry.text) == entry)
        await session.stop()
    }

    @Test(arguments: [nil, .null, .bool(false), .int(0), .string("")] as [JSONValue?])
    func `what is not noted goes to the next plugin`(note: JSONValue?) async throws {
        let session = try await self.session()
        session.setNote(Self.note, to: note)
        #expect(try await session.message(Self.message, at: .queue) == .ok("Message discarded"))
        #expect(self.scratch.files("q").isEmpty)
        await session.stop()
    }

    @Test(arguments: [
        ("always 1", Answer.ok("queued as test", code: 250, status: "2.0.0")),
        ("always 1 text \"We look at it\"", .ok("We look at it", code: 250, status: "2.0.0")),
        (
            "always 1 then refuse",
            .deny("The message was refused by policy", code: 554, status: "5.7.1")
        ),
        ("always 1 then decline", .ok("Message discarded")),
    ])
    func `always keeps every message, and the client hears what the line says`(
        arguments: String,
        answer: Answer
    ) async throws {
        let session = try await self.session(arguments)
        #expect(try await session.message(Self.message, at: .queue) == answer)
        #expect(try self.folder.entries().entries.map(\.reason) == ["always"])
        await session.stop()
    }

    @Test func `a full folder puts messages off, until there is room`() async throws {
        let session = try await self.session("always 1 max_messages 2")
        for _ in 0..<2 {
            #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        }
        let full = Answer.denysoft("The quarantine is full", code: 452, status: "4.3.1")
        #expect(try await session.message(Self.message, at: .queue) == full)
        #expect(self.scratch.files("q").count == 4)
        await session.stop()
        let octets = try self.folder.use().octets
        let allowance = QuarantineAllowance(self.folder, messages: 10, octets: octets + 10)
        #expect(try !allowance.take(11))
        #expect(try allowance.take(10))
        #expect(try !allowance.take(1))
        for entry in try self.folder.entries().entries { try self.folder.remove(entry.id) }
        #expect(try QuarantineAllowance(self.folder, messages: 1, octets: 10).take(10))
        #expect(try !QuarantineAllowance(self.folder, messages: 1, octets: 10).take(11))
    }

    @Test func `a folder that was removed is made again, and one that cannot be is an error`()
        async throws
    {
        let session = try await self.session("always 1")
        try self.scratch.remove("q")
        #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        try self.scratch.remove("q")
        try self.scratch.write([], "q")
        let answer = try await session.message(Self.message, at: .queue)
        #expect(
            answer
                == .denysoft("Could not store the message, try again", code: 451, status: "4.3.0")
        )
        await session.stop()
    }

    @Test func `no time left stores nothing`() async throws {
        let session = try await self.session("always 1")
        session.deadline = .milliseconds(400)
        let answer = try await session.message(Self.message, at: .queue)
        #expect(
            answer
                == .denysoft("Could not store the message, try again", code: 451, status: "4.3.0")
        )
        #expect(self.scratch.files("q").isEmpty)
        await session.stop()
    }

    @Test func `a second try of an event is the same two files`() async throws {
        try self.scratch.write(Array(Self.message.utf8), "message")
        let message = try Message(file: "\(self.scratch.path)/message")
        try self.folder.make(mode: 0o700)
        var entry = QuarantineEntry(id: QuarantineEntry.id(of: "01JD/../X.1.2"))
        #expect(entry.id == "01JD_.._X.1.2")
        for attempt in 1...2 {
            entry.storedAt = Int64(attempt)
            try self.folder.store(
                entry,
                try MessageFeed(message),
                attempt: attempt,
                mode: 0o600,
                before: .now + .seconds(60)
            )
        }
        #expect(self.scratch.files("q").count == 2)
        #expect(try self.folder.entry(entry.id).storedAt == 2)
        try self.folder.remove(entry.id)
        #expect(self.scratch.files("q").isEmpty)
        #expect(throws: QuarantineFolder.Failure.unknown(entry.id)) {
            try self.folder.remove(entry.id)
        }
    }

    @Test(arguments: ["", ".", "..", "../message", "a/b", ".hidden", "a\0", "\u{FC}"])
    func `an id leads nowhere else`(id: String) throws {
        try self.scratch.write(Array("{}".utf8), "message.json")
        #expect(throws: QuarantineFolder.Failure.unknown(id)) { try self.folder.entry(id) }
        #expect(throws: QuarantineFolder.Failure.unknown(id)) { try self.folder.remove(id) }
        #expect(self.scratch.files(".") == ["message.json"])
    }

    @Test func `damaged entries are named, whatever their damage`() throws {
        var entry = QuarantineEntry(id: "a")
        entry.recipients = [(Bytes(octets: [0x61, 0xFF]), ["NOTIFY=NEVER"])]
        entry.user = "jo"
        let text = entry.text
        #expect(QuarantineEntry(id: "a", text: text) == entry)
        for count in 0..<text.count - 2 {
            #expect(QuarantineEntry(id: "a", text: Array(text[..<count])) == nil)
        }
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2_000 {
            var damaged = text
            for _ in 0..<3 {
                let place = Int.random(in: damaged.indices, using: &generator)
                damaged[place] = UInt8.random(in: .min ... .max, using: &generator)
            }
            _ = QuarantineEntry(id: "a", text: damaged)
        }
        try self.folder.make(mode: 0o700)
        try self.scratch.write(Array("no JSON".utf8), "q/b.json")
        let (entries, unreadable) = try self.folder.entries()
        #expect(entries.isEmpty)
        #expect(unreadable == [.invalid("\(self.folder.path)/b.json")])
    }

    @Test(arguments: [
        "", "q then maybe", "q max_messages 0", "q mode 99", "q threads 0", "q what 1",
    ])
    func `bad arguments keep the worker from starting`(arguments: String) async {
        await #expect(throws: PluginProblems.self) {
            try await TestSession([QueueQuarantine.self], plugins: "queue/quarantine \(arguments)")
        }
    }
}

private struct AcceptEvery: RcptHook {
    static let name = "accept_every"
    init(configuration: PluginConfiguration) {}
    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }
}
