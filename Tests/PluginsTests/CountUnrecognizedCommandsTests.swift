import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

struct CountUnrecognizedCommandsTests {
    private func session(_ line: String) async throws -> TestSession {
        try await TestSession([CountUnrecognizedCommands.self], plugins: line)
    }

    @Test(arguments: [
        ("count_unrecognized_commands 4", 4), ("count_unrecognized_commands", 4),
        ("count_unrecognized_commands 0", 4), ("count_unrecognized_commands 1", 1),
    ])
    func `the Nth unknown command ends the session`(line: String, limit: Int) async throws {
        let session = try await self.session(line)
        for _ in 1..<limit {
            #expect(try await session.unrecognizedCommand("FOO bar") == .declined)
        }
        let text =
            "Closing connection, \(limit) unrecognized commands. Perhaps you should read RFC 5321?"
        #expect(
            try await session.unrecognizedCommand("") == .denyDisconnect(text, status: "5.5.1")
        )
    }

    @Test func `commands of other servers do not count`() async throws {
        let session = try await self.session("count_unrecognized_commands 1")
        #expect(try await session.unrecognizedCommand("starttls") == .declined)
        #expect(try await session.unrecognizedCommand("AUTH PLAIN") == .declined)
        #expect(try await session.unrecognizedCommand("X").verdict == .deny_disconnect)
    }

    @Test(arguments: ["count_unrecognized_commands four", "count_unrecognized_commands 4 5"])
    func `what cannot be meant is an error`(line: String) async throws {
        await #expect(throws: PluginProblems.self) { try await self.session(line) }
    }
}
