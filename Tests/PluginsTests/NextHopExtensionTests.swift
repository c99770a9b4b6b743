import PolicyKitTesting
import Testing

@testable import PolicyKit
@testable import StandardPlugins

/// What a message needs of the hop: BINARYMIME with its chunk, FUTURERELEASE.
@Suite struct NextHopExtensionTests {
    private static let plugins: [any Plugin.Type] = [
        QueueSMTPForward.self, QueueSMTPProxy.self, AcceptAnyone.self,
    ]

    /// A session with one of the plugins that pass messages on.
    private func session(_ plugin: String, _ hop: ServerAddress) async throws -> TestSession {
        try await TestSession(
            Self.plugins,
            plugins: "\(plugin) \(hop) \(patient(""))\naccept_anyone",
            files: ["me": "mx.example.org"]
        )
    }

    private static func hop(_ capabilities: [String]) throws -> FakeHop {
        try FakeHop(FakeHop.Rules(capabilities: capabilities))
    }

    static let names = ["queue/smtp-forward", "queue/smtp-proxy"]

    @Test(arguments: names)
    func `a body in binary goes as one chunk, octet for octet`(plugin: String) async throws {
        let hop = try Self.hop(["PIPELINING", "SIZE", "CHUNKING", "BINARYMIME"])
        defer { hop.server.stop() }
        let session = try await self.session(plugin, hop.server.address)
        let line: [UInt8] = [0x00, 0x0A, 0x0D, 0x2E, 0x0D, 0x0A, 0x2E, 0x0D, 0x0A, 0xFF]
        for count in [0, 1, 60_000] {
            let body = [[UInt8]](repeating: line, count: count).flatMap { $0 }
            let message = Array("Subject: x\r\n\r\n".utf8) + body
            try await session.mail(from: "bob@example.net", parameters: ["BODY=BINARYMIME"])
            try await session.rcpt(to: "alice@example.org")
            #expect(try await session.message(message, at: .queue).verdict == .ok)
            #expect(hop.messages.last == message)
            #expect(hop.commands.last == "BDAT \(message.count) LAST\r\n")
            try await session.notify(.reset_transaction, ["reason": .string("done")])
        }
        #expect(hop.commands.contains { $0.hasSuffix(" BODY=BINARYMIME\r\n") })
        // A message of lines goes by DATA still.
        try await session.mail(from: "bob@example.net")
        try await session.rcpt(to: "alice@example.org")
        #expect(try await session.message("A: b\r\n\r\n.\r\n", at: .queue).verdict == .ok)
        #expect(hop.messages.last == Array("A: b\r\n\r\n..\r\n.\r\n".utf8))
        #expect(hop.server.connections == 1)
        await session.stop()
    }

    @Test(
        arguments: names,
        [["8BITMIME"], ["8BITMIME", "CHUNKING"], ["8BITMIME", "BINARYMIME"]]
    )
    func `a body in binary is refused where the hop does not take it`(
        plugin: String,
        capabilities: [String]
    ) async throws {
        let hop = try Self.hop(capabilities)
        defer { hop.server.stop() }
        let session = try await self.session(plugin, hop.server.address)
        try await session.mail(from: "bob@example.net", parameters: ["BODY=BINARYMIME"])
        try await session.rcpt(to: "alice@example.org")
        let answer = try await session.message("A: b\r\n\r\nx", at: .queue)
        #expect(answer.reply?.code == 554 && answer.reply?.status == "5.6.3")
        #expect(!hop.commands.contains { $0.hasPrefix("MAIL") })
        await session.stop()
    }

    @Test(arguments: [("452 4.3.1 full", 452, "4.3.1"), ("554 5.6.0 no", 554, "5.6.0")])
    func `a refusal in the middle of a chunk is the client's reply`(
        reply: String,
        code: Int,
        status: String
    ) async throws {
        let server = try TestServer { connection in
            connection.write("220 hop\r\n")
            while let line = connection.readLine() {
                switch line.prefix(4) {
                case "EHLO": connection.write("250-hop\r\n250-CHUNKING\r\n250 BINARYMIME\r\n")
                case "BDAT":
                    _ = connection.read(1_000)
                    connection.write("\(reply)\r\n")
                    return connection.waitForEnd()

                default: connection.write("250 ok\r\n")
                }
            }
        }
        defer { server.stop() }
        let session = try await self.session("queue/smtp-forward", server.address)
        try await session.mail(from: "bob@example.net", parameters: ["BODY=BINARYMIME"])
        try await session.rcpt(to: "alice@example.org")
        let body = [UInt8](repeating: 0, count: 10_000_000)
        let answer = try await session.message(Array("A: b\r\n\r\n".utf8) + body, at: .queue)
        #expect(answer.reply?.code == code && answer.reply?.status == status)
        await session.stop()
    }

    /// RFC 4865: who cannot hold the message does not get it.
    @Test(
        arguments: names,
        [("HOLDFOR=60", true), ("HOLDUNTIL=2040-01-01T00:00:00Z", true), ("HOLDFOR=60", false)]
    )
    func `a message that is to be held goes to a hop that holds it, or to none`(
        plugin: String,
        wish: (parameter: String, isOffered: Bool)
    ) async throws {
        let (parameter, isOffered) = wish
        let keyword = isOffered ? "FUTURERELEASE 3600 2041-01-01T00:00:00Z" : "HELP"
        let hop = try Self.hop(["PIPELINING", keyword])
        defer { hop.server.stop() }
        let session = try await self.session(plugin, hop.server.address)
        session.holdUntilMilliseconds = 2_208_988_800_000
        try await session.mail(from: "bob@example.net", parameters: [parameter])
        try await session.rcpt(to: "alice@example.org")
        let answer = try await session.message("A: b\r\n\r\nx\r\n", at: .queue)
        if isOffered {
            #expect(answer.verdict == .ok)
            #expect(hop.commands.contains("MAIL FROM:<bob@example.net> \(parameter)\r\n"))
            #expect(hop.messages.count == 1)
        } else {
            #expect(answer.reply?.code == 554 && answer.reply?.status == "5.3.3")
            #expect(!hop.commands.contains { $0.hasPrefix("MAIL") })
        }
        await session.stop()
    }

    @Test func `an event that contradicts itself releases nothing`() async throws {
        let hop = try Self.hop(["FUTURERELEASE 3600 2041-01-01T00:00:00Z"])
        defer { hop.server.stop() }
        for (time, parameters) in [(1, []), (nil, ["HOLDFOR=1"])] as [(Int64?, [String])] {
            let session = try await self.session("queue/smtp-forward", hop.server.address)
            session.holdUntilMilliseconds = time
            try await session.mail(from: "bob@example.net", parameters: parameters)
            try await session.rcpt(to: "alice@example.org")
            await #expect(throws: (any Error).self) {
                try await session.message("A: b\r\n\r\nx\r\n", at: .queue)
            }
            await session.stop()
        }
        #expect(hop.messages.isEmpty)
    }
}
