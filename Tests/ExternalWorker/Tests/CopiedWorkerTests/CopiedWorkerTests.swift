import PolicyKit
import PolicyKitTesting
import Testing

@testable import CopiedWorker

/// What an author outside Gatepost tests a plugin with: no frontend, no DNS, no spamd.
@Suite struct CopiedWorkerTests {
    @Test func `a sender's domain is looked up in a DNS for tests`() async throws {
        let resolver = TestResolver { name, type in
            switch (name, type) {
            case ("example.net", .mx): .records([.mx(10, "mx.example.net")])
            case ("mx.example.net", .a): .records([.address("192.0.2.1")])
            default: .nxdomain
            }
        }
        let session = try await TestSession(
            [ResolvableFromhost.self],
            plugins: "resolvable_fromhost",
            resolver: resolver
        )
        #expect(try await session.mail(from: "bob@example.net") == .declined)
        #expect(try await session.mail(from: "bob@absent.example").verdict == .denysoft)
        #expect(resolver.questions.contains(.init(name: "absent.example", type: .mx)))
    }

    @Test func `a server for tests answers as spamd`() async throws {
        let spamd = try TestServer { connection in
            var length = 0
            while let line = connection.readLine(), line != "\r\n" {
                if line.hasPrefix("Content-length:") {
                    length = Int(line.filter(\.isNumber)) ?? 0
                }
            }
            _ = connection.read(length)
            connection.write("SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.2 / 5.0\r\n\r\n\r\n")
        }
        defer { spamd.stop() }
        let session = try await TestSession(
            [SpamAssassin.self],
            plugins: "spamassassin reject 12 spamd_socket \(spamd.address)"
        )
        try await session.mail(from: "bob@example.net")
        #expect(try await session.message(Array("A: b\r\n\r\nbody\r\n".utf8)).verdict == .deny)
        #expect(spamd.connections == 1)
    }
}
