import PolicyKitTesting
import Testing

@testable import PolicyKit
@testable import StandardPlugins

@Suite struct SeveralNextHopsTests {
    private static let message = "Subject: x\r\n\r\n.dot\r\nline\r\n"

    /// Two hops, of which the first says `reply` to what begins with `prefix`; `close`: it ends there.
    private func twoHops(_ prefix: String, _ reply: String) throws -> (FakeHop, FakeHop) {
        let first = FakeHop.Rules(replies: [(prefix, reply)])
        return (try FakeHop(first), try FakeHop())
    }

    @Test(arguments: [
        ("EHLO", "close"), ("EHLO", "421 4.3.2 no\r\n"), ("EHLO", "nonsense\r\n"),
        ("MAIL", "close"), ("MAIL", "421 4.3.2 no\r\n"), ("RCPT", "close"),
        ("RCPT", "421 4.3.2 no\r\n"), ("DATA", "close"), ("DATA", "421 4.3.2 no\r\n"),
        ("EHLO", ""), ("MAIL", ""), ("DATA", ""),
    ])
    func `a hop that fails before it wants the content is passed over`(
        prefix: String,
        reply: String
    ) async throws {
        let (first, second) = try self.twoHops(prefix, reply)
        defer {
            first.server.stop()
            second.server.stop()
        }
        let route = "\(first.server.address),\(second.server.address)"
        let isSilent = reply.isEmpty
        let session = try await forwarding(to: route, isSilent ? "hop_timeout 1" : "")
        for count in 1...2 {
            #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
            #expect(first.messages.isEmpty && second.messages.count == count)
            // Then it rests.
            #expect(first.server.connections == 1)
        }
        await session.stop()
    }

    @Test func `a hop that cannot be reached is passed over, and the order is as written`()
        async throws
    {
        let hops = try (0..<2).map { _ in try FakeHop() }
        defer { for hop in hops { hop.server.stop() } }
        let route = "127.0.0.1:1,\(hops[1].server.address),\(hops[0].server.address)"
        let session = try await forwarding(to: route)
        for _ in 0..<3 {
            #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        }
        #expect(hops[1].messages.count == 3 && hops[0].server.connections == 0)
        await session.stop()
    }

    @Test(arguments: [
        (".", "close", Verdict.denysoft), (".", "", .denysoft), (".", "nonsense\r\n", .denysoft),
        (".", "421 4.3.2 no\r\n", .denysoft), (".", "451 4.3.0 no\r\n", .denysoft),
        (".", "554 5.7.1 no\r\n", .deny), ("MAIL", "451 4.7.1 later\r\n", .denysoft),
        ("MAIL", "550 5.7.1 no\r\n", .deny), ("RCPT", "450 4.2.0 later\r\n", .denysoft),
        ("RCPT", "550 5.1.1 who\r\n", .deny), ("DATA", "554 5.7.1 no\r\n", .deny),
    ])
    func `after the dot, and after an answer, no other hop is tried`(
        prefix: String,
        reply: String,
        verdict: Verdict
    ) async throws {
        let (first, second) = try self.twoHops(prefix, reply)
        defer {
            first.server.stop()
            second.server.stop()
        }
        let route = "\(first.server.address),\(second.server.address)"
        let isSilent = reply.isEmpty
        let session = try await forwarding(to: route, isSilent ? "timeout 4" : "")
        #expect(try await session.message(Self.message, at: .queue).verdict == verdict)
        // On a busy machine the time may be over before the silent hop was given the message.
        if !isSilent { #expect(first.messages.count == (prefix == "." ? 1 : 0)) }
        #expect(second.server.connections == 0)
        await session.stop()
    }

    @Test func `a hop that breaks off in the content gets no second one in its place`() async throws
    {
        let first = try TestServer { connection in
            connection.write("220 hop\r\n")
            while let line = connection.readLine() {
                if line.hasPrefix("DATA") {
                    connection.write("354 go\r\n")
                    _ = connection.read(100_000)
                    return
                }
                connection.write("250 ok\r\n")
            }
        }
        let second = try FakeHop()
        defer {
            first.stop()
            second.server.stop()
        }
        let session = try await forwarding(to: "\(first.address),\(second.server.address)")
        let line = String(repeating: "x", count: 98) + "\r\n"
        let message = "A: b\r\n\r\n" + String(repeating: line, count: 100_000)
        let answer = try await session.message(message, at: .queue)
        #expect(answer.verdict == .denysoft && answer.reply?.status == "4.4.2")
        #expect(second.server.connections == 0)
        // With the client's next try it goes to the other one.
        #expect(try await session.message(Self.message, at: .queue).verdict == .ok)
        #expect(second.messages.count == 1)
        await session.stop()
    }

    @Test func `hops that all rest are all tried`() async throws {
        let closing = [try FakeHop(FakeHop.Rules(replies: [("EHLO", "close")]))]
        let hops = closing + [try FakeHop(FakeHop.Rules(replies: [("EHLO", "close")]))]
        defer { for hop in hops { hop.server.stop() } }
        let route = hops.map { "\($0.server.address)" }.joined(separator: ",")
        let session = try await forwarding(to: route)
        for count in 1...2 {
            let answer = try await session.message(Self.message, at: .queue)
            #expect(answer.verdict == .denysoft && answer.reply?.status == "4.4.2")
            #expect(hops.map(\.server.connections) == [count, count])
        }
        await session.stop()
    }

    /// The recipients that a hop heard of.
    private func recipients(_ hop: FakeHop) -> [String] {
        hop.commands.filter { $0.hasPrefix("RCPT") }.map {
            String($0.dropFirst(9).prefix { $0 != ">" })
        }.sorted()
    }

    private func routed(
        _ routes: [String: FakeHop],
        byDefault hop: FakeHop
    ) async throws
        -> TestSession
    {
        let lines = routes.map { "\($0):\($1.server.address)" }
        let session = try await forwarding(
            to:
                hop.server.address,
            "routes smtproutes",
            files: ["smtproutes": lines.joined(separator: "\n")]
        )
        for recipient in ["b@example.com", "c@sub.example.com", "d@example.com"] {
            try await session.rcpt(to: recipient)
        }
        return session
    }

    @Test func `each recipient's message goes to the hop of its domain`() async throws {
        let hops = try (0..<3).map { _ in try FakeHop() }
        defer { for hop in hops { hop.server.stop() } }
        let session = try await self.routed(
            ["example.com": hops[0], ".example.com": hops[1]],
            byDefault: hops[2]
        )
        #expect(try await session.message(Self.message, at: .queue).reply?.code == 250)
        #expect(self.recipients(hops[0]) == ["b@example.com", "d@example.com"])
        #expect(self.recipients(hops[1]) == ["c@sub.example.com"])
        #expect(self.recipients(hops[2]) == ["alice@example.org"])
        #expect(hops.map(\.messages.count) == [1, 1, 1])
        await session.stop()
    }

    @Test(arguments: [
        ("RCPT", "550 5.1.1 who\r\n", Verdict.deny), ("MAIL", "451 4.3.0 later\r\n", .denysoft),
        ("EHLO", "close", .denysoft), ("DATA", "451 4.3.0 later\r\n", .denysoft),
    ])
    func `if one hop refuses before the content, no hop gets it`(
        prefix: String,
        reply: String,
        verdict: Verdict
    ) async throws {
        // Each place once, for the order in which hops are asked.
        for place in 0..<3 {
            let hops = try (0..<3).map {
                try FakeHop(FakeHop.Rules(replies: $0 == place ? [(prefix, reply)] : []))
            }
            defer { for hop in hops { hop.server.stop() } }
            let session = try await self.routed(
                ["example.com": hops[0], ".example.com": hops[1]],
                byDefault: hops[2]
            )
            #expect(try await session.message(Self.message, at: .queue).verdict == verdict)
            #expect(hops.allSatisfy { $0.messages.allSatisfy { !$0.contains(0x2E) } })
            await session.stop()
        }
    }

    @Test func `after the content one refusal is the answer for all`() async throws {
        for (reply, verdict) in [
            ("554 5.7.1 no\r\n", Verdict.deny), ("451 4.3.0 later\r\n", .denysoft),
            ("close", .denysoft),
        ] {
            let hops = try (0..<3).map {
                try FakeHop(FakeHop.Rules(replies: $0 == 1 ? [(".", reply)] : []))
            }
            defer { for hop in hops { hop.server.stop() } }
            let session = try await self.routed(
                ["example.com": hops[0], ".example.com": hops[1]],
                byDefault: hops[2]
            )
            #expect(try await session.message(Self.message, at: .queue).verdict == verdict)
            await session.stop()
        }
    }
}
