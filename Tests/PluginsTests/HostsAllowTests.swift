import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

struct HostsAllowTests {
    private func answer(
        _ file: String,
        _ ip: String,
        _ line: String = "hosts_allow"
    )
        async throws -> Answer
    {
        let files = ["hosts_allow": file]
        let session = try await TestSession([HostsAllow.self], plugins: line, files: files)
        session.clientIP = ip
        return try await session.connect()
    }

    private static let file = """
        192.0.2.1 DECLINED
        192.0.2.2 OK friends
        192.0.2.3/32 DENYSOFT_DISCONNECT come back later
        192.0.2.0/24 DENY we know you
        2001:db8::/32 denysoft
        192.0.2.9 OK shadowed
        """

    @Test(arguments: [
        ("192.0.2.1", Answer.declined), ("192.0.2.2", .ok),
        ("192.0.2.3", .denysoftDisconnect("come back later", status: "4.7.1")),
        ("192.0.2.9", .deny("we know you", status: "5.7.1")),
        ("2001:db8::5", .denysoft("Connection refused", status: "4.7.1")),
        ("198.51.100.1", .declined),
    ])
    func `the first line that fits decides`(ip: String, answer: Answer) async throws {
        #expect(try await self.answer(Self.file, ip) == answer)
    }

    @Test func `the longest match decides where that is wanted`() async throws {
        let answer = try await self.answer(Self.file, "192.0.2.9", "hosts_allow match longest")
        #expect(answer == .ok)
    }

    @Test(arguments: ["192.0.2.1", "192.0.2.1 MAYBE", "192.0.2 DENY"])
    func `a line that cannot be read is an error`(file: String) async throws {
        await #expect(throws: PluginProblems.self) { try await self.answer(file, "192.0.2.1") }
    }
}
