import PolicyKitTesting
import System
import Testing

@testable import PolicyKit

/// Refuses with the lines that count for the recipient.
private struct Lists: RcptHook {
    static let name = "lists"

    private let lists: ControlFile<[Int]>

    init(configuration: PluginConfiguration) throws {
        self.lists = try configuration.controlFile("lists") { line in
            guard let number = Int(line.text) else {
                throw line.problem("\(line.text) is no number")
            }
            return number
        }
    }

    func rcpt(_ event: RcptEvent) async throws -> Answer {
        let own = event.value(of: self.lists, for: event.recipient)
        return .deny("\(own ?? event.value(of: self.lists))")
    }
}

/// Control files that a recipient has of its own.
struct RecipientFileTests {
    private func session(_ toml: String) async throws -> TestSession {
        let session = try await TestSession(
            [Lists.self],
            plugins: "lists",
            files: ["worker.toml": toml, "lists": "1\n"]
        )
        return session
    }

    private func answer(_ session: TestSession, _ recipient: String) async throws -> String? {
        try await session.mail(from: "eve@x.test")
        return try await session.rcpt(to: recipient).reply?.text.first
    }

    @Test func `a recipient's own file counts instead`() async throws {
        let session = try await self.session("recipient_directory = \"config/own/%h/%u\"\n")
        try session.write("2\n3\n", to: "own/a.test/amy/lists")
        #expect(try await self.answer(session, "amy@a.test") == "[2, 3]")
        #expect(try await self.answer(session, "AMY@A.test") == "[2, 3]")
        #expect(try await self.answer(session, "bob@a.test") == "[1]")
        // An edit counts at once; an empty file is a file.
        try session.write("# nothing\n", to: "own/a.test/amy/lists")
        #expect(try await self.answer(session, "amy@a.test") == "[]")
    }

    @Test func `a wrong file of a recipient counts as none`() async throws {
        let session = try await self.session("recipient_directory = \"config/own/%a\"\n")
        for content in ["x\n", "$include ../../lists\n", "$include nosuch\n"] {
            try session.write(content, to: "own/amy@a.test/lists")
            #expect(try await self.answer(session, "amy@a.test") == "[1]", "\(content)")
        }
    }

    @Test func `without the folder recipients have no files`() async throws {
        let session = try await self.session("")
        try session.write("2\n", to: "own/a.test/amy/lists")
        #expect(try await self.answer(session, "amy@a.test") == "[1]")
    }
}
