import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

struct RelayTests {
    private func session(
        _ ip: String,
        _ files: [String: String],
        _ line: String = "relay"
    ) async throws -> TestSession {
        let session = try await TestSession([Relay.self], plugins: line, files: files)
        session.clientIP = ip
        return session
    }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("192.0.2.0/24", "192.0.2.0"), ("192.0.2.0/24", "192.0.2.255"),
        ("192.0.2.1/32", "192.0.2.1"), ("192.0.2.", "192.0.2.77"), ("2001:db8::/32", "2001:db8::1"),
        ("2001:db8::1/128", "2001:db8::1"), ("# none", "::1"),
    ])
    func `a listed client may relay`(entry: String, ip: String) async throws {
        for file in ["relayclients", "morerelayclients"] {
            let session = try await self.session(ip, [file: entry])
            #expect(try await session.connect() == .declined)
            #expect(session.relay)
        }
    }

    @Test(arguments: [
        ("192.0.2.0/24", "192.0.3.0"), ("192.0.2.1", "192.0.2.10"), ("10.", "11.0.0.1"),
        ("# none", "127.0.0.1"),
    ])
    func `any other client may not`(entry: String, ip: String) async throws {
        let session = try await self.session(ip, ["relayclients": entry])
        try await session.connect()
        #expect(!session.relay)
    }

    @Test func `norelayclients wins`() async throws {
        let files = ["relayclients": "192.0.2.0/24", "norelayclients": "192.0.2.1"]
        let session = try await self.session("192.0.2.1", files)
        try await session.connect()
        #expect(!session.relay)
    }

    @Test(arguments: ["relay only 1", "relay_only"])
    func `only refuses recipients of everybody else`(line: String) async throws {
        let session = try await self.session("192.0.2.1", ["relayclients": "192.0.2.1"], line)
        try await session.mail(from: "bob@example.net")
        #expect(
            try await session.rcpt(to: "a@example.com") == .deny("Relaying denied", status: "5.7.1")
        )
        try await session.connect()
        #expect(try await session.rcpt(to: "a@example.com") == .declined)
    }

    /// A certificate and the fingerprints of `relayclientcerts`, then whether its client may relay.
    static let certificates: [(String?, String?, String, Bool)] = {
        let (one, two) = (String(repeating: "0a", count: 32), String(repeating: "f1", count: 32))
        let colons = Array(repeating: "0A", count: 32).joined(separator: ":")
        return [
            (one, two, "\(one) branch office", true), (one, two, colons, true),
            (one, two, "\(two)\n", true), (one, nil, two, false), (two, one, "# none", false),
            (nil, nil, one, false),
        ]
    }()

    @Test(arguments: certificates)
    func `a client with a listed certificate may relay`(
        fingerprint: String?,
        key: String?,
        list: String,
        isListed: Bool
    ) async throws {
        let files = ["relayclientcerts": list, "norelayclients": "192.0.2.9"]
        for (ip, isRefused) in [("192.0.2.1", false), ("192.0.2.9", true)] {
            let session = try await self.session(ip, files, "relay certificates relayclientcerts")
            session.encrypt(fingerprint: fingerprint, keyFingerprint: key)
            try await session.connect()
            #expect(!session.relay)
            #expect(try await session.mail(from: "bob@example.net") == .declined)
            #expect(session.relay == (isListed && !isRefused))
        }
        let other = try await self.session("192.0.2.1", files)
        other.encrypt(fingerprint: fingerprint, keyFingerprint: key)
        try await other.mail(from: "bob@example.net")
        #expect(!other.relay)
    }

    @Test(arguments: [
        String(repeating: "a", count: 63), String(repeating: "g", count: 64), "10.0.0.1",
    ])
    func `what is no fingerprint keeps the worker from starting`(line: String) async throws {
        let error = await #expect(throws: PluginProblems.self) {
            let files = ["relayclientcerts": line]
            return try await self.session("192.0.2.1", files, "relay certificates relayclientcerts")
        }
        #expect(
            error?.description.contains("relayclientcerts:1: \(line) is no fingerprint") == true
        )
    }

    @Test func `a line that is no address keeps the worker from starting`() async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await self.session("192.0.2.1", ["relayclients": "10.0.0.1\n192.168.1"])
        }
        #expect(error?.description.contains("relayclients:2: 192.168.1 is no address") == true)
    }
}
